"""Logging of all processes: one line per event to standard error, as text or as JSON.

Every line says which process wrote it (``supervisor``, ``signalling:1``, ``control``, …), so that
the interleaved output of a server reads like one story. Each process writes a bounded number of
lines (:class:`LineLimit`): whoever finds a request that makes a policy raise must not be able to
fill the disk with tracebacks.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

logger = logging.getLogger("sipshard")

# More than a server in trouble has to say, less than a disk or a reader cannot take.
LINES_AT_ONCE = 200
LINES_PER_S = 10.0

_process_name = "sipshard"


def configure(level: str, line_format: str, stream: TextIO | None = None) -> None:
    """Sends the log to ``stream`` (standard error) in ``line_format``, "text" or "json"."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(LineLimit(time.monotonic))
    handler.setFormatter(_JsonFormatter() if line_format == "json" else _TextFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def name_process(name: str) -> None:
    """Sets the name that this process puts into every line from now on."""
    global _process_name
    _process_name = name


class LineLimit(logging.Filter):
    """Lets :data:`LINES_AT_ONCE` lines pass, and then :data:`LINES_PER_S`; counts the others.

    The first line that passes again says how many did not. ``clock`` gives seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._allowance = float(LINES_AT_ONCE)
        self._refilled_at = clock()
        self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        now = self._clock()
        refill = (now - self._refilled_at) * LINES_PER_S
        self._allowance = min(LINES_AT_ONCE, self._allowance + refill)
        self._refilled_at = now
        if self._allowance < 1.0:
            self._dropped += 1
            return False
        self._allowance -= 1.0
        if self._dropped:
            record.msg = f"{record.getMessage()} [{self._dropped} lines before this were dropped]"
            record.args = None
            self._dropped = 0
        return True


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
