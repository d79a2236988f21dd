"""Every torture message over TCP: the right answers on its connection, which then goes on or ends.

Most messages get the same answer as over UDP, by the connection, whatever their topmost Via calls
the transport (RFC 3261 §18.2.2), and leave a connection that can be used. But a datagram ends where
it ends; in a stream only Content-Length tells (§18.3). What that changes is in ``OVER_TCP``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from itertools import permutations

from tests.integration.torture import (
    ANSWER_S,
    EXPECTED,
    MESSAGE_TIMEOUT_S,
    SILENCE,
    SILENCE_S,
    SWEEP_S,
    VECTORS,
    Datagrams,
    Stream,
    TortureServer,
    is_alive,
    vector_files,
)


class End(Enum):
    """What becomes of the connection."""

    OPEN = "it can be used further"
    CLOSED = "it is closed at once: nobody knows where the next message begins"
    TIMES_OUT = "it is closed when the rest of a message has not come in time"


@dataclass(frozen=True)
class Departure:
    """What a stream makes of a message whose datagram means something else."""

    answers: list[set[int]]
    end: End
    reason: str


OVER_TCP = {
    "baddn": Departure([], End.TIMES_OUT, "the file ends without the blank line: half a message"),
    "clerr": Departure([], End.TIMES_OUT, "RFC 4475 §3.1.2.2: 9,999 bytes are announced, 154 come"),
    "dblreq": Departure(
        [{200}, {480}],
        End.OPEN,
        "RFC 4475 §3.1.1.8: what follows a message is the next one, and the INVITE is as good as "
        "the REGISTER; the five bytes behind it have no Via that an answer could go by",
    ),
    "inv2543": Departure(
        [{480}],
        End.TIMES_OUT,
        "RFC 3261 §20.14 demands a Content-Length in a stream; without one the head is a message, "
        "and the body the beginning of another, which never ends",
    ),
    "mcl01": Departure([{400}], End.CLOSED, "RFC 4475 §3.3.9: two lengths"),
    "ncl": Departure([{400}], End.CLOSED, "RFC 4475 §3.1.2.3: a length that is none"),
}


def test_torture_messages_over_tcp(torture_server: TortureServer) -> None:
    """One server for all of them, so that damage done by one shows in the next."""
    before = torture_server.workers_now()
    wrong = []
    for number, file in enumerate(vector_files(), start=1):
        with Stream(torture_server, f"127.0.79.{number}") as stream:
            fault = _fault(stream, file.stem, file.read_bytes())
        if fault:
            wrong.append(f"{file.stem}: {fault}")
        assert is_alive(torture_server, Datagrams, Stream), f"{file.stem}\n{torture_server.tail()}"
        torture_server.wait_for(
            f"{file.stem} is forgotten", lambda: torture_server.transactions() == 0
        )
    assert not wrong, "\n".join(wrong)
    torture_server.assert_undamaged(before)
    counters = torture_server.status()["counters"]
    assert counters["framing_errors"] == 2
    assert counters["connections_timed_out"] == 3
    torture_server.wait_for(
        "no connection is left",
        lambda: all(worker["connections"] == 0 for worker in torture_server.workers_now()),
    )


def _fault(stream: Stream, name: str, message: bytes) -> str | None:
    """What the server did wrong with one message, if anything."""
    expected, end = [EXPECTED[name]], End.OPEN
    if departure := OVER_TCP.get(name):
        expected, end = departure.answers, departure.end
    stream.send(message)
    sent_at = time.monotonic()
    if expected == [{SILENCE}]:
        expected = []
    answers = stream.final_answers(max(len(expected), 1), ANSWER_S if expected else SILENCE_S)
    statuses = [answer.status for answer in answers]
    if not _are_as_expected(statuses, expected):
        return f"{statuses}, expected {expected}"
    return None if _has_ended(stream, end, sent_at) else f"not so: {end.value}"


def _are_as_expected(statuses: list[int], expected: list[set[int]]) -> bool:
    """In any order: the answer to a REGISTER waits for its commit, others pass it."""
    if len(statuses) != len(expected):
        return False
    return any(
        all(status in allowed for status, allowed in zip(statuses, order, strict=True))
        for order in permutations(expected)
    )


def _has_ended(stream: Stream, end: End, sent_at: float) -> bool:
    if end is End.OPEN:
        return stream.is_answered_a_ping()
    if end is End.CLOSED:
        return stream.is_closed_within(ANSWER_S)
    was_closed = stream.is_closed_within(MESSAGE_TIMEOUT_S + SWEEP_S + ANSWER_S)
    return was_closed and time.monotonic() - sent_at >= MESSAGE_TIMEOUT_S


def test_torture_messages_in_one_stream(torture_server: TortureServer) -> None:
    """All that leave the connection usable, one behind the other in one stream, cut anywhere."""
    before = torture_server.workers_now()
    names = [file for file in vector_files() if file.stem not in OVER_TCP]
    stream_of_all = b"".join(file.read_bytes() for file in names)
    with Stream(torture_server, "127.0.79.200") as stream:
        for start in range(0, len(stream_of_all), 777):
            stream.send(stream_of_all[start : start + 777])
        last = stream.ask()
        answers = stream.final_answers(len(names) + 1, 5 * ANSWER_S)
        assert last in {answer.call_id for answer in answers}, torture_server.tail()
        assert {answer.status for answer in answers} >= {200, 400, 403, 416, 420, 480, 505}
        assert stream.is_answered_a_ping()
    assert is_alive(torture_server, Datagrams, Stream)
    torture_server.assert_undamaged(before)


def test_dblreq_is_two_requests_in_a_stream(torture_server: TortureServer) -> None:
    """RFC 4475 §3.1.1.8: over UDP its second request is thrown away, here it is answered."""
    message = (VECTORS / "rfc4475" / "dblreq.dat").read_bytes()
    with Stream(torture_server, "127.0.79.201") as stream:
        stream.send(message)
        answers = stream.final_answers(2, ANSWER_S)
    assert {answer.call_id: answer.status for answer in answers} == {
        "dblreq.0ha0isndaksdj99sdfafnl3lk233412": 200,
        "dblreq.0ha0isnda977644900765@192.0.2.15": 480,
    }
