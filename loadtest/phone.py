"""A SIP phone over UDP: registers, calls, and answers what rings.

Blocking sockets and threads, so that it works in a test as it is and under locust, which turns both
into greenlets. It is a generator, no user agent to copy: it retransmits requests (RFC 3261
§17.1), but answers a repeated request simply again.
"""

from __future__ import annotations

import itertools
import queue
import re
import socket
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from loadtest.message import Headers, Message, answer, uri_of

# RFC 3261 §17.1.1.1
T1_S = 0.5
T2_S = 4.0
SDP = (
    "v=0\r\no=phone 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


class NoAnswerError(Exception):
    """A request had no final response in time."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """What either side of an answered call needs for its requests (RFC 3261 §12.2.1.1)."""

    call_id: str
    from_header: str
    to_header: str
    remote_target: str
    routes: tuple[str, ...]

    @property
    def headers(self) -> Headers:
        """The header fields that every request in the dialog has."""
        routes = tuple(("Route", route) for route in self.routes)
        identity = (("From", self.from_header), ("To", self.to_header), ("Call-ID", self.call_id))
        return (*routes, *identity)


@dataclass(slots=True)
class Phone:
    """One user with one socket. ``server`` is (host, port); close it, or use it in a ``with``.

    ``behaviour`` says what an incoming INVITE gets: 180 and 200, only 180 (until :meth:`pick_up`
    or CANCEL), or 486. ``timeout_s`` bounds every request.
    """

    user: str
    domain: str
    server: tuple[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    behaviour: Literal["answer", "ring", "busy"] = "answer"
    timeout_s: float = 32.0
    calls_taken: int = field(default=0, init=False)
    requests_taken: deque[Message] = field(default_factory=lambda: deque(maxlen=64), init=False)
    _socket: socket.socket = field(init=False)
    _waiting: dict[str, queue.SimpleQueue[Message]] = field(default_factory=dict, init=False)
    _taken: Dialog | None = field(default=None, init=False)
    _ringing: dict[str, Message] = field(default_factory=dict, init=False)
    _cseq: itertools.count[int] = field(default_factory=lambda: itertools.count(1), init=False)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((self.host, self.port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._receive, daemon=True).start()

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the phone; calls that ring are left alone."""
        # Wakes the receiver, which a mere close would leave in its system call.
        self._socket.sendto(b"", self._socket.getsockname())
        self._socket.close()

    @property
    def contact(self) -> str:
        """The URI at which this phone is reached."""
        return f"sip:{self.user}@{self._address}"

    @property
    def _address(self) -> str:
        """Host and port as they are written in messages (RFC 3261 §25.1: hostport)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def aor(self) -> str:
        """The user's address of record, as a URI."""
        return f"sip:{self.user}@{self.domain}"

    @property
    def is_ringing(self) -> bool:
        """Whether a call waits for :meth:`pick_up`."""
        return bool(self._ringing)

    def pick_up(self) -> None:
        """Answers everything that rings."""
        while self._ringing:
            _, invite = self._ringing.popitem()
            contact = (("Contact", f"<{self.contact}>"),)
            self._send(answer(invite, "200 OK", contact))
            self.calls_taken += 1

    def register(self, expires_s: int = 3600) -> Message:
        """Registers this phone (RFC 3261 §10.2); 0 removes the binding. The final response."""
        extra = (("Contact", f"<{self.contact}>"), ("Expires", str(expires_s)))
        return self.request("REGISTER", f"sip:{self.domain}", to=self.aor, extra=extra)

    def call(self, uri: str, talk_s: float = 0.0) -> Message:
        """Calls, talks and hangs up. The INVITE's final response; a lost BYE raises."""
        response = self.invite(uri)
        if response.status < 300:
            time.sleep(talk_s)
            self.hang_up(response)
        return response

    def invite(self, uri: str) -> Message:
        """Sends INVITE and acknowledges a 2xx (RFC 3261 §13.2.2.4). The final response."""
        extra = (("Contact", f"<{self.contact}>"), ("Content-Type", "application/sdp"))
        response = self.request("INVITE", uri, extra=extra, body=SDP.format(host=self.host))
        if response.status < 300:
            dialog = _dialog(response)
            cseq = f"{response.cseq.split()[0]} ACK"
            self._send(self._build("ACK", dialog.remote_target, dialog.headers, cseq))
        return response

    def hang_up(self, response: Message) -> Message:
        """Ends the call that ``response`` (a 2xx to our INVITE) has begun. The BYE's response."""
        return self._end(_dialog(response))

    def hang_up_taken(self) -> Message:
        """Ends the call that this phone answered last. The BYE's response."""
        if self._taken is None:
            raise ValueError("no call was answered")
        return self._end(self._taken)

    def _end(self, dialog: Dialog) -> Message:
        cseq = f"{next(self._cseq)} BYE"
        bye = self._build("BYE", dialog.remote_target, dialog.headers, cseq)
        return self._transact(bye)

    def request(
        self, method: str, uri: str, *, to: str = "", extra: Headers = (), body: str = ""
    ) -> Message:
        """Sends a request outside a dialog; the final response. Raises NoAnswerError."""
        identity = (
            ("From", f"<{self.aor}>;tag={uuid.uuid4().hex[:8]}"),
            ("To", f"<{to or uri}>"),
            ("Call-ID", uuid.uuid4().hex),
        )
        cseq = f"{next(self._cseq)} {method}"
        request = self._build(method, uri, (*identity, *extra), cseq)
        return self._transact(Message(request.start_line, request.headers, body))

    def _build(self, method: str, uri: str, headers: Headers, cseq: str) -> Message:
        branch = f"z9hG4bK{uuid.uuid4().hex}"
        via = ("Via", f"SIP/2.0/UDP {self._address};branch={branch};rport")
        return Message(
            f"{method} {uri} SIP/2.0", (via, ("Max-Forwards", "70"), *headers, ("CSeq", cseq))
        )

    def _transact(self, request: Message) -> Message:
        """Retransmits until a response comes, then waits for the final one."""
        key = f"{request.call_id} {request.cseq}"
        arrived = self._waiting[key] = queue.SimpleQueue()
        deadline = time.monotonic() + self.timeout_s
        interval_s = T1_S
        try:
            self._send(request)
            while (left_s := deadline - time.monotonic()) > 0:
                try:
                    response = arrived.get(timeout=min(interval_s, left_s))
                except queue.Empty:
                    self._send(request)
                    interval_s = min(interval_s * 2, T2_S)
                    continue
                if response.status >= 200:
                    self._acknowledge_failure(request, response)
                    return response
                interval_s = self.timeout_s
        finally:
            del self._waiting[key]
        raise NoAnswerError(f"{request.start_line}: no final response in {self.timeout_s:g} s")

    def _acknowledge_failure(self, request: Message, response: Message) -> None:
        """ACK for a non-2xx: the INVITE's branch and URI, the response's To (§17.1.1.3)."""
        if request.method != "INVITE" or response.status < 300:
            return
        copied = request.copied("Via", "Max-Forwards", "From", "Call-ID", "Route")
        cseq = ("CSeq", f"{request.cseq.split()[0]} ACK")
        line = request.start_line.replace("INVITE", "ACK", 1)
        self._send(Message(line, (*copied, ("To", response.header("To")), cseq)))

    def _send(self, message: Message) -> None:
        self._socket.sendto(bytes(message), self.server)

    def _receive(self) -> None:
        while True:
            try:
                datagram, source = self._socket.recvfrom(65535)
                if datagram:
                    self._handle(Message.parse(datagram), source)
            except ValueError:
                continue
            except OSError:
                return

    def _handle(self, message: Message, source: tuple[str, int]) -> None:
        if not message.is_request:
            waiting = self._waiting.get(f"{message.call_id} {message.cseq}")
            if waiting:
                waiting.put(message)
            return
        for response in self._answers_to(message):
            self._socket.sendto(bytes(response), source)

    def _answers_to(self, request: Message) -> list[Message]:
        self.requests_taken.append(request)
        contact = (("Contact", f"<{self.contact}>"),)
        if request.method == "ACK":
            return []
        if request.method == "CANCEL":
            invite = self._ringing.pop(request.call_id, None)
            cancelled = [answer(invite, "487 Request Terminated")] if invite else []
            return [answer(request, "200 OK"), *cancelled]
        if request.method != "INVITE":
            return [answer(request, "200 OK")]
        if self.behaviour == "busy":
            return [answer(request, "486 Busy Here")]
        ringing = answer(request, "180 Ringing", contact)
        if self.behaviour == "ring":
            self._ringing[request.call_id] = request
            return [ringing]
        self.calls_taken += 1
        answered = answer(request, "200 OK", contact)
        self._taken = _taken_dialog(request, answered)
        return [ringing, answered]


def record_routes(message: Message) -> tuple[str, ...]:
    """The Record-Route values, of which one header field may have several (RFC 3261 §7.3.1)."""
    return tuple(
        value.strip()
        for field_value in message.all("Record-Route")
        for value in re.split(r",(?=\s*<)", field_value)
    )


def _dialog(response: Message) -> Dialog:
    return Dialog(
        call_id=response.call_id,
        from_header=response.header("From"),
        to_header=response.header("To"),
        remote_target=uri_of(response.header("Contact")),
        routes=tuple(reversed(record_routes(response))),
    )


def _taken_dialog(invite: Message, response: Message) -> Dialog:
    """The same as the callee sees it (RFC 3261 §12.1.1): From and To change places."""
    return Dialog(
        call_id=invite.call_id,
        from_header=response.header("To"),
        to_header=invite.header("From"),
        remote_target=uri_of(invite.header("Contact")),
        routes=record_routes(invite),
    )
