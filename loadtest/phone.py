"""A SIP phone: registers, calls, and answers what rings, over any transport.

Blocking sockets and threads, so that it works in a test as it is and under locust, which turns both
into greenlets. It is a generator, no user agent to copy, but its calls survive a bad network: it
repeats requests (RFC 3261 §17.1), final responses to INVITE until their ACK (§13.3.1.4, §17.2.1),
and ACKs (§13.2.2.4, §17.1.1.2).
"""

from __future__ import annotations

import itertools
import queue
import re
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from loadtest.link import Address, Link, StreamLink, Transport, UdpLink
from loadtest.message import Headers, Message, answer, uri_of
from loadtest.recent import Recent
from loadtest.websocket_link import WebSocketLink

Behaviour = Literal["answer", "ring", "busy"]

# RFC 3261 §17.1.1.1
T1_S = 0.5
# RFC 3261 §17.1.2.2 and table 4, as multiples of T1.
T2_IN_T1 = 8
LIFE_IN_T1 = 64
# Calls that a phone remembers, to repeat what it said in them: far more than it has at a time.
REMEMBERED_CALLS = 1024
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
class Repetition:
    """A final response to an INVITE that is sent again until its ACK comes (RFC 3261 §13.3.1.4)."""

    response: Message
    source: Address
    interval_s: float
    due_s: float
    ends_s: float


@dataclass(slots=True)
class Phone:
    """One user with one socket. ``server`` is (host, port); close it, or use it in a ``with``.

    ``behaviour`` says what an incoming INVITE gets: 180 and 200, only 180 (until :meth:`pick_up`
    or CANCEL), or 486. ``timeout_s`` bounds every request. ``context`` is needed for TLS, and the
    server's certificate is then for ``domain``. ``claims`` is the host and port that it says it
    has, when that is not where it is: behind a NAT, or in a browser, which has none (RFC 7118 §5).
    Raises OSError when it cannot connect.
    """

    user: str
    domain: str
    server: Address
    host: str = "127.0.0.1"
    port: int = 0
    behaviour: Behaviour = "answer"
    timeout_s: float = 32.0
    transport: Transport = "udp"
    context: ssl.SSLContext | None = None
    claims: str = ""
    t1_s: float = T1_S
    calls_taken: int = field(default=0, init=False)
    requests_taken: deque[Message] = field(default_factory=lambda: deque(maxlen=64), init=False)
    _link: Link = field(init=False)
    _is_lost: bool = field(default=False, init=False)
    _waiting: dict[str, queue.SimpleQueue[Message | None]] = field(default_factory=dict, init=False)
    _taken: Dialog | None = field(default=None, init=False)
    _ringing: dict[str, Message] = field(default_factory=dict, init=False)
    _acks: Recent[Message] = field(default_factory=lambda: Recent(REMEMBERED_CALLS), init=False)
    _answers: Recent[Message] = field(default_factory=lambda: Recent(REMEMBERED_CALLS), init=False)
    _repetitions: dict[str, Repetition] = field(default_factory=dict, init=False)
    _cseq: itertools.count[int] = field(default_factory=lambda: itertools.count(1), init=False)

    def __post_init__(self) -> None:
        local = (self.host, self.port)
        context = self.context if self.transport in ("tls", "wss") else None
        if self.transport == "udp":
            self._link = UdpLink(local)
        elif self.transport in ("ws", "wss"):
            self._link = WebSocketLink(local, self.server, context, self.domain)
            self.claims = self.claims or f"{uuid.uuid4().hex[:12]}.invalid"
        else:
            self._link = StreamLink(local, self.server, context, self.domain)
        self.port = self._link.local[1]
        threading.Thread(target=self._receive, daemon=True).start()

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the phone; calls that ring are left alone."""
        self._link.close()

    @property
    def contact(self) -> str:
        """The URI at which this phone is reached."""
        # RFC 7118 §5.2.1: in a URI both kinds of WebSocket are called ws.
        named = "ws" if self.transport == "wss" else self.transport
        parameter = "" if self.transport == "udp" else f";transport={named}"
        return f"sip:{self.user}@{self._address}{parameter}"

    @property
    def _address(self) -> str:
        """Host and port as they are written in messages (RFC 3261 §25.1: hostport)."""
        if self.claims:
            return self.claims
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
            self._answer_finally(invite, self._success(invite), self.server)
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
        """Sends INVITE and acknowledges the final response (RFC 3261 §13.2.2). The response.

        Raises NoAnswerError after it has tried to cancel the call.
        """
        request = self._new_invite(uri)
        try:
            return self._transact(request)
        except NoAnswerError:
            self._cancel(request)
            raise

    def invite_and_cancel(self, uri: str) -> Message:
        """Calls, and gives up as soon as that is allowed (RFC 3261 §9.1). The final response."""
        request = self._new_invite(uri)
        return self._transact(request, lambda: self._cancel_in_background(request))

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

    def _new_invite(self, uri: str) -> Message:
        extra = (("Contact", f"<{self.contact}>"), ("Content-Type", "application/sdp"))
        return self._new_request("INVITE", uri, extra=extra, body=SDP.format(host=self.host))

    def request(
        self, method: str, uri: str, *, to: str = "", extra: Headers = (), body: str = ""
    ) -> Message:
        """Sends a request outside a dialog; the final response. Raises NoAnswerError."""
        return self._transact(self._new_request(method, uri, to=to, extra=extra, body=body))

    def send(self, method: str, uri: str) -> None:
        """Sends a request once, and lets the answer go."""
        self._link.send(bytes(self._new_request(method, uri)), self.server)

    def _new_request(
        self, method: str, uri: str, *, to: str = "", extra: Headers = (), body: str = ""
    ) -> Message:
        identity = (
            ("From", f"<{self.aor}>;tag={uuid.uuid4().hex[:8]}"),
            ("To", f"<{to or uri}>"),
            ("Call-ID", uuid.uuid4().hex),
        )
        cseq = f"{next(self._cseq)} {method}"
        request = self._build(method, uri, (*identity, *extra), cseq)
        return Message(request.start_line, request.headers, body)

    def _build(self, method: str, uri: str, headers: Headers, cseq: str) -> Message:
        branch = f"z9hG4bK{uuid.uuid4().hex}"
        via = ("Via", f"SIP/2.0/{self.transport.upper()} {self._address};branch={branch};rport")
        return Message(
            f"{method} {uri} SIP/2.0", (via, ("Max-Forwards", "70"), *headers, ("CSeq", cseq))
        )

    def _transact(
        self, request: Message, on_provisional: Callable[[], None] | None = None
    ) -> Message:
        """Retransmits until a response comes, then waits for the final one."""
        key = _key(request)
        arrived = self._waiting[key] = queue.SimpleQueue()
        if self._is_lost:
            arrived.put(None)
        deadline = time.monotonic() + self.timeout_s
        interval_s = self.t1_s if self.transport == "udp" else self.timeout_s
        try:
            self._link.send(bytes(request), self.server)
            while (left_s := deadline - time.monotonic()) > 0:
                try:
                    response = arrived.get(timeout=min(interval_s, left_s))
                except queue.Empty:
                    if interval_s < self.timeout_s:
                        self._link.send(bytes(request), self.server)
                    interval_s = min(interval_s * 2, T2_IN_T1 * self.t1_s)
                    continue
                if response is None:
                    raise NoAnswerError(f"{request.start_line}: the connection is lost")
                if response.status >= 200:
                    self._acknowledge(request, response)
                    return response
                interval_s = self.timeout_s
                if on_provisional:
                    on_provisional()
                    on_provisional = None
        finally:
            del self._waiting[key]
        raise NoAnswerError(f"{request.start_line}: no final response in {self.timeout_s:g} s")

    def _acknowledge(self, request: Message, response: Message) -> None:
        """Sends the ACK, and remembers it in case that the response comes again."""
        if request.method != "INVITE":
            return
        if response.status < 300:
            dialog = _dialog(response)
            cseq = f"{response.cseq.split()[0]} ACK"
            ack = self._build("ACK", dialog.remote_target, dialog.headers, cseq)
        else:
            # The INVITE's branch and URI, the response's To (RFC 3261 §17.1.1.3).
            ack = _same_hop("ACK", request, response.header("To"))
        self._acks.put(_key(request), ack)
        self._link.send(bytes(ack), self.server)

    def _cancel_in_background(self, invite: Message) -> None:
        threading.Thread(target=self._cancel, args=(invite,), daemon=True).start()

    def _cancel(self, invite: Message) -> None:
        """Cancels; who gets no answer to that can do nothing more."""
        try:
            self._transact(_same_hop("CANCEL", invite, invite.header("To")))
        except (NoAnswerError, OSError):
            return

    def _receive(self) -> None:
        while True:
            try:
                arrived = self._link.receive(self.t1_s / 2)
                self._repeat()
                if arrived and arrived[0]:
                    self._handle(Message.parse(arrived[0]), arrived[1])
            except ValueError:
                continue
            except OSError:
                break
        # Before the last look at who waits: who begins to wait after that sees it.
        self._is_lost = True
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _repeat(self) -> None:
        """Sends again what has not been acknowledged."""
        now = time.monotonic()
        for key, repetition in list(self._repetitions.items()):
            if now >= repetition.ends_s:
                self._repetitions.pop(key, None)
            elif now >= repetition.due_s:
                self._link.send(bytes(repetition.response), repetition.source)
                doubled_s = repetition.interval_s * 2
                repetition.interval_s = min(doubled_s, T2_IN_T1 * self.t1_s)
                repetition.due_s = now + repetition.interval_s

    def _handle(self, message: Message, source: Address) -> None:
        if message.is_request:
            self._handle_request(message, source)
            return
        waiting = self._waiting.get(_key(message))
        if waiting:
            waiting.put(message)
            return
        ack = self._acks.get(_key(message))
        if ack and message.status >= 200:
            self._link.send(bytes(ack), self.server)

    def _handle_request(self, request: Message, source: Address) -> None:
        self.requests_taken.append(request)
        if request.method == "ACK":
            self._repetitions.pop(_key(request), None)
        elif request.method == "CANCEL":
            self._link.send(bytes(answer(request, "200 OK")), source)
            invite = self._ringing.pop(request.call_id, None)
            if invite:
                self._answer_finally(invite, answer(invite, "487 Request Terminated"), source)
        elif request.method == "INVITE":
            self._handle_invite(request, source)
        else:
            self._link.send(bytes(answer(request, "200 OK")), source)

    def _handle_invite(self, invite: Message, source: Address) -> None:
        known = self._answers.get(_key(invite))
        if known:
            self._link.send(bytes(known), source)
        elif self.behaviour == "busy":
            self._answer_finally(invite, answer(invite, "486 Busy Here"), source)
        else:
            ringing = answer(invite, "180 Ringing", (("Contact", f"<{self.contact}>"),))
            self._answers.put(_key(invite), ringing)
            if self.behaviour == "ring":
                self._ringing[invite.call_id] = invite
            self._link.send(bytes(ringing), source)
            if self.behaviour == "answer":
                self.calls_taken += 1
                self._answer_finally(invite, self._success(invite), source)

    def _success(self, invite: Message) -> Message:
        response = answer(invite, "200 OK", (("Contact", f"<{self.contact}>"),))
        self._taken = _taken_dialog(invite, response)
        return response

    def _answer_finally(self, invite: Message, response: Message, source: Address) -> None:
        key = _key(invite)
        self._answers.put(key, response)
        now = time.monotonic()
        ends_s = now + LIFE_IN_T1 * self.t1_s
        # Over a stream only a 2xx is repeated, whose ACK goes from end to end (RFC 3261 §17.2.1).
        if self.transport == "udp" or response.status < 300:
            self._repetitions[key] = Repetition(
                response, source, self.t1_s, now + self.t1_s, ends_s
            )
        self._link.send(bytes(response), source)


def _key(message: Message) -> str:
    """What a message has in common with its answers; an ACK with its INVITE (RFC 3261 §17.1.3)."""
    return f"{message.call_id} {message.cseq.replace('ACK', 'INVITE')}"


def _same_hop(method: str, invite: Message, to: str) -> Message:
    """ACK of an INVITE's failure, or its CANCEL: same Via, URI and number (§17.1.1.3, §9.1)."""
    copied = invite.copied("Via", "Max-Forwards", "From", "Call-ID", "Route")
    cseq = ("CSeq", f"{invite.cseq.split()[0]} {method}")
    line = invite.start_line.replace("INVITE", method, 1)
    return Message(line, (*copied, ("To", to), cseq))


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
