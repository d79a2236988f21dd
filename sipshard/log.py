"""Logging of all processes: one line per event to standard error, as text or as JSON.

Every line says which process wrote it (``supervisor``, ``signalling:1``, ``control``, …), so that
the interleaved output of a server reads like one story.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

logger = logging.getLogger("sipshard")

_process_name = "sipshard"


def configure(level: str, line_format: str, stream: TextIO | None = None) -> None:
    """Sends the log to ``stream`` (standard error) in ``line_format``, "text" or "json"."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if line_format == "json" else _TextFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def name_process(name: str) -> None:
    """Sets the name that this process puts into every line from now on."""
    global _process_name
    _process_name = name


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = f"{seconds}.{int(record.msecs):03d}Z {record.levelname.lower():<8}{_process_name}"
        return f"{head} {_message(self, record)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "process": _process_name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info:
        message = f"{message}\n{formatter.formatException(record.exc_info)}"
    return message
