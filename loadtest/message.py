"""SIP messages as a load generator needs them: strings in, strings out, nothing checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or response: start line, header fields in order, body."""

    start_line: str
    headers: Headers
    body: str = ""

    @classmethod
    def parse(cls, datagram: bytes) -> Message:
        """Splits a datagram. Raises ValueError when there is no start line and empty line."""
        head, separator, body = datagram.decode("utf-8", "replace").partition("\r\n\r\n")
        if not separator:
            raise ValueError("no empty line ends the header")
        start_line, *lines = head.split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = tuple((name.strip(), value.strip()) for name, _, value in fields)
        return cls(start_line, headers, body)

    def __bytes__(self) -> bytes:
        body = self.body.encode()
        headers = (*self.headers, ("Content-Length", str(len(body))))
        lines = [self.start_line, *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode() + body

    @property
    def is_request(self) -> bool:
        """Whether this is a request."""
        return not self.start_line.startswith("SIP/2.0 ")

    @property
    def method(self) -> str:
        """The method of a request; for a response, of the request that it answers."""
        return self.start_line.split(" ")[0] if self.is_request else self.cseq.split()[1]

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start_line.split(" ")[1])

    @property
    def cseq(self) -> str:
        """The value of CSeq, number and method."""
        return self.header("CSeq")

    @property
    def call_id(self) -> str:
        """The value of Call-ID."""
        return self.header("Call-ID")

    def header(self, name: str) -> str:
        """The first header field with that name, in any case; empty when there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """The values of all header fields with that name, in order."""
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def copied(self, *names: str) -> Headers:
        """The header fields with these names, to be repeated in an answer."""
        wanted = {name.lower() for name in names}
        return tuple(field for field in self.headers if field[0].lower() in wanted)


def answer(request: Message, status: str, extra: Iterable[tuple[str, str]] = ()) -> Message:
    """A response to ``request`` (RFC 3261 §8.2.6); ``status`` is code and reason phrase."""
    copied = request.copied("Via", "Record-Route", "From", "To", "Call-ID", "CSeq")
    tagged = tuple(
        (name, f"{value};tag=phone") if name.lower() == "to" and ";tag=" not in value else field
        for field in copied
        for name, value in (field,)
    )
    return Message(f"SIP/2.0 {status}", (*tagged, *extra))


def uri_of(name_addr: str) -> str:
    """The URI inside the angle brackets of a Contact, From or To value."""
    inside = name_addr.partition("<")[2].partition(">")[0]
    return inside or name_addr.partition(";")[0].strip()
