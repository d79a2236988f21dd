"""Listen addresses as they are written in the configuration: ``udp:127.0.0.1:5060``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from sipshard.config.problem import problem

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
"""What we listen for; all but the first are streams over TCP."""

SECURE_TRANSPORTS = ("tls", "wss")

_SHAPE = (
    'write transport:address:port, for example "udp:192.0.2.1:5060" or "udp:[2001:db8::1]:5060"'
)
_PUBLIC_SHAPE = 'write the host:port that peers can reach, for example "198.51.100.7:5060"'
_NAME_SERVER_SHAPE = 'write the IP address of the name server, for example "192.0.2.53"'
_DOMAIN_SHAPE = 'write a bare host name or IP address, for example "example.com"'

# RFC 3261 §25.1 hostname, with the underscore that real networks use.
_HOST_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z][a-z0-9_-]*\.?", re.I)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen. ``host`` is an IP literal without brackets; port 0 means any free port."""

    transport: str
    host: str
    port: int

    @property
    def is_wildcard(self) -> bool:
        """Whether this is every address of the machine, which no peer can be told to answer to."""
        return ip_address(self.host).is_unspecified

    @property
    def is_stream(self) -> bool:
        """Whether it takes connections, not datagrams."""
        return self.transport != "udp"

    @property
    def is_secure(self) -> bool:
        """Whether it needs a certificate."""
        return self.transport in SECURE_TRANSPORTS

    @property
    def is_ipv6(self) -> bool:
        """Whether ``host`` is an IPv6 literal."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"{self.transport}:{join_host_port(self.host, self.port)}"


def parse_listen_address(text: object) -> ListenAddress:
    """Reads one item of ``server.listen``; what is read already passes."""
    if isinstance(text, ListenAddress):
        return text
    if not isinstance(text, str):
        raise problem(f"{text!r} is no listen address", _SHAPE)
    transport, separator, rest = text.partition(":")
    if not separator or transport not in TRANSPORTS:
        raise problem(f'"{text}" names no transport', _SHAPE)
    host, port = _split(text, rest, _SHAPE)
    return ListenAddress(transport, str(_ip_literal(text, host)), port)


def parse_host_port(text: object) -> tuple[str, int]:
    """Reads ``host:port`` where host may be a name: an advertised address."""
    if not isinstance(text, str):
        raise problem(f"{text!r} is no address", _PUBLIC_SHAPE)
    host, port = _split(text, text, _PUBLIC_SHAPE)
    if not host or port == 0 or host in ("0.0.0.0", "::"):
        raise problem(f'"{text}" is no address a peer can reach', _PUBLIC_SHAPE)
    return host, port


def parse_domain(text: object) -> str:
    """Reads one item of ``server.domains``: a host name or an IP literal, in lower case."""
    if not isinstance(text, str):
        raise problem(f"{text!r} is no domain", _DOMAIN_SHAPE)
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(text):
        raise problem(f'"{text}" is no domain', _DOMAIN_SHAPE)
    return text.lower().rstrip(".")


def parse_name_server(text: object) -> tuple[str, int]:
    """Reads one item of ``dns.servers``: an IP address, or ``address:port``; the port is 53."""
    if not isinstance(text, str):
        raise problem(f"{text!r} is no name server", _NAME_SERVER_SHAPE)
    try:
        return str(ip_address(text)), 53
    except ValueError:
        pass
    host, port = _split(text, text if text.count(":") else f"{text}:53", _NAME_SERVER_SHAPE)
    try:
        return str(ip_address(host)), port
    except ValueError:
        raise problem(f'"{text}" is no IP address', _NAME_SERVER_SHAPE) from None


def join_host_port(host: str, port: int) -> str:
    """``host:port``, an IPv6 literal in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(whole: str, host_port: str, shape: str) -> tuple[str, int]:
    host, separator, port = host_port.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise problem(f'"{whole}" has no port between 0 and 65535', shape)
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise problem(f'"{whole}": an IPv6 address needs brackets', shape)
    return host, int(port)


def _ip_literal(whole: str, host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        raise problem(f'"{whole}": "{host}" is no IP address', _SHAPE) from None
