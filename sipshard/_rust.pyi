"""Types of the Rust extension."""

from collections.abc import Sequence
from typing import final

__all__ = [
    "COUNTER_NAMES",
    "Contact",
    "Engine",
    "Region",
    "Request",
    "Response",
    "Tls",
    "Uri",
    "attach_steering",
    "check_edits",
    "check_response_headers",
    "die_with_parent",
    "pin_to_cpu",
    "raise_descriptor_limit",
    "shard_of",
]

COUNTER_NAMES: tuple[str, ...]

@final
class Uri:
    """A SIP URI (RFC 3261 §19.1). Equality is §19.1.4's."""
    @staticmethod
    def parse(text: str) -> Uri: ...  # ValueError
    @property
    def scheme(self) -> str: ...
    @property
    def user(self) -> str | None: ...  # as written, escapes kept
    @property
    def host(self) -> str: ...  # lower case; IPv6 in brackets
    @property
    def port(self) -> int | None: ...
    @property
    def aor(self) -> str: ...  # "user@host", RFC 3261 §10.3 step 5
    def parameter(self, name: str) -> str | None: ...  # "" for a flag parameter
    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Contact:
    """One Contact of a REGISTER (RFC 3261 §10.2.1). Malformed ones make Request.contacts raise ValueError."""
    @property
    def uri(self) -> str: ...
    @property
    def q_milli(self) -> int: ...  # 0..1000, 1000 when absent
    @property
    def expires_s(self) -> int | None: ...  # its own expires parameter
    @property
    def instance(self) -> str | None: ...
    @property
    def reg_id(self) -> int | None: ...
    @property
    def parameters(self) -> str: ...  # other header parameters, as written, "" if none

@final
class Request:
    """A request as it was received; nobody can change it. Its header fields are found in any case and compact form."""
    @staticmethod
    def parse(
        data: bytes,
        source: tuple[str, int] = ...,
        transport: str = ...,
        peer_names: Sequence[str] = ...,
    ) -> Request: ...  # ValueError
    @property
    def method(self) -> str: ...
    @property
    def uri(self) -> Uri: ...
    @property
    def from_uri(self) -> Uri: ...
    @property
    def to_uri(self) -> Uri: ...
    @property
    def from_tag(self) -> str | None: ...
    @property
    def to_tag(self) -> str | None: ...
    @property
    def call_id(self) -> str: ...
    @property
    def cseq(self) -> int: ...
    @property
    def max_forwards(self) -> int | None: ...
    @property
    def source(self) -> tuple[str, int]: ...
    @property
    def transport(self) -> str: ...  # "udp" "tcp" "tls" "ws" "wss"
    @property
    def peer_names(self) -> list[str]: ...  # what its sender has proven by a TLS certificate
    @property
    def flow(self) -> str | None: ...  # the connection that it came through, as a binding keeps it
    @property
    def body(self) -> bytes: ...
    @property
    def contacts(self) -> list[Contact]: ...  # ValueError if malformed; the star form gives []
    @property
    def has_star_contact(self) -> bool: ...
    @property
    def expires_s(self) -> int | None: ...  # the Expires header field; malformed counts as absent
    @property
    def path(self) -> list[str]: ...  # RFC 3327
    def header(self, name: str) -> str | None: ...
    def headers(self, name: str) -> list[str]: ...
    def __bytes__(self) -> bytes: ...

@final
class Response:
    """A response as it was received, the best one of all branches for an ``on_failure`` handler (RFC 3261 §16.7 step 6)."""
    @staticmethod
    def parse(data: bytes) -> Response: ...
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def call_id(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    def header(self, name: str) -> str | None: ...
    def headers(self, name: str) -> list[str]: ...
    def __bytes__(self) -> bytes: ...

@final
class Region:
    """The shared memory of one server, mapped."""
    @staticmethod
    def create(fd: int, workers: int, mailbox_bytes: int) -> Region: ...  # OSError
    @staticmethod
    def attach(fd: int) -> Region: ...
    @staticmethod
    def size(workers: int, mailbox_bytes: int) -> int: ...
    @property
    def workers(self) -> int: ...
    def counters(self, shard: int) -> dict[str, int]: ...
    def page(
        self, shard: int
    ) -> dict[
        str, int
    ]: ...  # pid generation started_unix_ms heartbeat_ms state transactions connections unfinished queue_delay_ms rss_bytes uss_bytes cpu_ms descriptors restarts
    def write_sample(
        self, shard: int, rss_bytes: int, uss_bytes: int, cpu_ms: int, descriptors: int
    ) -> None: ...  # supervisor only
    def clear_work(self, shard: int) -> None: ...  # supervisor only
    def write_restarts(self, shard: int, restarts: int) -> None: ...  # supervisor only

@final
class Tls:
    """Certificates and whom to trust, all as PEM, checked when it is made."""
    def __new__(
        cls,
        *,
        identities: Sequence[tuple[bytes, bytes]],  # certificate chain and key
        client_ca: bytes | None,
        client_auth: str,  # "off" "optional" "required"
        trusted: bytes,
        verify: bool,
        min_version: str,  # "1.2" "1.3"
    ) -> Tls: ...  # ValueError

@final
class Engine:
    def __new__(
        cls,
        *,
        shard: int,
        generation: int,
        region: Region,
        wakeups: Sequence[int],
        listeners: Sequence[tuple[int, str, str, int]],  # (fd, transport, advertised host, port)
        domains: Sequence[str],
        secret: bytes,
        max_transactions: int,
        max_branches: int,
        ask_about_strays: bool,  # CANCEL and ACK that belong to nothing here are events, too
        overload_ms: tuple[int, int],  # delay from which new work is refused in part, and in whole
        udp_max_bytes: int,  # a longer request goes by TCP
        timers_ms: tuple[int, int, int, int],  # T1 T2 T4 C
        batch_delay_us: int,
        # most of a worker, of one address; bytes queued; ms to connect, for handshake, message, silence
        connections: tuple[int, int, int, int, int, int, int],
        proxy_protocol: bool,
        tls: Tls | None,
        standby: bool,
    ) -> Engine: ...
    def run(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Serves until a foreign descriptor is ready, an event waits or the timeout has passed. Returns the ready foreign (fd, selectors mask) pairs."""
    def events(self) -> list[tuple[str, int, Request | None, Response | None]]:
        """Takes what waits for a decision.

        ("request", id, request, None), ("failure", id, request, best response),
        ("inspection", id, request, response): a response goes upstream after inspected(),
        ("cancelled", id, request, None): a decision would come too late, ("settled", id, None,
        None): what was forwarded with report_failure or responses is over. With the number of
        send_request: ("response", number, None, final response), ("timeout", number, None, None),
        ("unreachable", number, None, None).
        """
    def lookups(self) -> list[tuple[str, int, str, bool]]:
        """Takes the next hops to locate (RFC 3263): (host, port, transport, secure).

        Port 0 and transport "" say that the URI names none; a secure one is for a sips URI. Each is answered with located() or lookup_failed().
        """
    def located(
        self,
        host: str,
        port: int,
        transport: str,
        secure: bool,
        hops: Sequence[
            tuple[str, str, int, int, int]
        ],  # (transport, address, port, priority, weight)
        ttl_s: int,
    ) -> None: ...  # ValueError: an unknown transport, no IP address
    def lookup_failed(self, host: str, port: int, transport: str, secure: bool) -> None: ...
    def register(self, fd: int, mask: int) -> None: ...
    def modify(self, fd: int, mask: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def respond(
        self,
        id: int,
        status: int,
        reason: str | None,
        headers: Sequence[tuple[str, str]],
        body: bytes,
    ) -> bool:
        """False when the transaction is gone (cancelled, timed out, answered). ValueError: status out of 101..699, CR or LF in a header."""
    def forward(
        self,
        id: int,
        targets: Sequence[
            tuple[
                str,
                int,
                Sequence[str],
                str | None,
                float | None,
                Sequence[tuple[str, str, str | bytes]],
            ]
        ],  # (uri, q_milli, route set, flow, ring_timeout_s, edits)
        record_route: bool,
        ring_timeout_s: float | None,
        report_failure: bool,
        responses: tuple[Sequence[tuple[str, str, str | bytes]], bool]
        | None,  # (edits of responses, ask about each); None: they pass as they are
        recurse: bool,
    ) -> bool: ...  # ValueError: unusable uri
    def forward_stateless(
        self,
        id: int,
        to: tuple[
            str,
            int,
            Sequence[str],
            str | None,
            float | None,
            Sequence[tuple[str, str, str | bytes]],
        ],  # as in forward()
    ) -> bool: ...  # ValueError: unusable uri
    def refuse_merged(self, id: int) -> bool:
        """True when another copy of the request is answered here; this one has got its 482 then (RFC 3261 §8.2.2.2)."""
    def pass_on(self, id: int) -> bool: ...  # after "failure": send the best response upstream
    def inspected(
        self, id: int, changes: Sequence[tuple[str, str, str | bytes]]
    ) -> bool: ...  # after "inspection", in its order; False when the response went on without
    def send_request(
        self,
        method: str,
        uris: tuple[str, str, str],  # Request-URI, From, To
        route: Sequence[str],
        headers: Sequence[tuple[str, str]],
        body: bytes,
    ) -> int:
        """Sends a request of our own; its number. ValueError: it makes no sense, BlockingIOError: too many, OSError: no way to the next hop."""
    def abandon_request(self, id: int) -> None: ...  # nobody waits for it any more
    def count(self, name: str, n: int) -> None: ...
    def stop_accepting(self, retry_after_s: int) -> None: ...  # new work gets 503, the rest goes on
    def use_certificates(self, tls: Tls) -> None: ...  # for connections that begin from now on
    def drain_to_successor(self) -> None: ...
    def take_over(self) -> None: ...  # standby → serving
    @property
    def transactions(self) -> int: ...
    @property
    def unfinished(self) -> int: ...  # those whose outcome somebody still waits for
    def close(self) -> None: ...

def attach_steering(
    fd: int, workers: int, secret: bytes
) -> None: ...  # OSError when the kernel refuses
def check_edits(
    list: Sequence[tuple[str, str, str | bytes]],
) -> None: ...  # ValueError; an edit is ("add", name, value), ("remove", name, ""), ("replace", name, value) or ("body", content type, bytes)
def check_response_headers(headers: Sequence[tuple[str, str]]) -> None: ...  # ValueError
def shard_of(call_id: bytes, workers: int, secret: bytes) -> int: ...
def die_with_parent(signal: int) -> None: ...
def pin_to_cpu(cpu: int) -> None: ...
def raise_descriptor_limit() -> int: ...  # the new soft limit
