"""The child's end of the pipe, and the log of a process."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator

import msgpack
import pytest

from sipshard import log
from sipshard.workers.base import REPORT_BYTES, TAKE_OVER, ChildPipe


@pytest.fixture
def ends() -> Iterator[tuple[ChildPipe, socket.socket]]:
    child, supervisor = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor.setblocking(False)
    with child, supervisor:
        yield ChildPipe(child), supervisor


def test_reports_are_one_packet_each(ends: tuple[ChildPipe, socket.socket]) -> None:
    pipe, supervisor = ends
    pipe.report_failure(4, "x" * 100_000)
    pipe.report_ready()
    failure = msgpack.unpackb(supervisor.recv(REPORT_BYTES))
    assert (failure["event"], failure["exit_code"]) == ("failed", 4)
    assert 1000 < len(failure["message"]) < REPORT_BYTES
    assert msgpack.unpackb(supervisor.recv(REPORT_BYTES)) == {"event": "ready"}


def test_the_longest_failure_fits_in_any_alphabet(
    ends: tuple[ChildPipe, socket.socket],
) -> None:
    pipe, supervisor = ends
    pipe.report_failure(4, "\U0001f4de" * 100_000)
    assert msgpack.unpackb(supervisor.recv(REPORT_BYTES))["exit_code"] == 4


def test_a_supervisor_that_does_not_read_costs_a_heartbeat_and_no_worker(
    ends: tuple[ChildPipe, socket.socket],
) -> None:
    pipe, supervisor = ends
    for _ in range(10_000):
        pipe.heartbeat()
    supervisor.close()
    pipe.heartbeat()


def test_commands_are_taken_without_waiting(ends: tuple[ChildPipe, socket.socket]) -> None:
    pipe, supervisor = ends
    assert pipe.commands() == []
    for _ in range(2):
        supervisor.send(msgpack.packb({"command": TAKE_OVER}))
    assert pipe.commands() == [TAKE_OVER, TAKE_OVER]
    assert pipe.commands() == []
    supervisor.close()
    assert pipe.commands() == []


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = log.logger.handlers[:], log.logger.level
    yield stream
    log.logger.handlers[:] = handlers
    log.logger.setLevel(level)
    log.logger.propagate = True
    log.name_process("sipshard")


def test_a_line_of_text_names_its_process(lines: io.StringIO) -> None:
    log.configure("info", "text", lines)
    log.name_process("signalling:1")
    log.logger.debug("not shown")
    log.logger.warning("%d calls", 3)
    line = lines.getvalue()
    assert line.endswith("Z warning signalling:1 3 calls\n")
    assert line.count("\n") == 1


def test_a_line_of_json_is_one_object_with_its_traceback(lines: io.StringIO) -> None:
    log.configure("debug", "json", lines)
    log.name_process("janitor")
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("sipshard").exception("went\nwrong")
    (line,) = lines.getvalue().splitlines()
    record = json.loads(line)
    assert (record["level"], record["process"]) == ("error", "janitor")
    assert record["message"] == "went\nwrong"
    assert "KeyError: 'lost'" in record["traceback"]
