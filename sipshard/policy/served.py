"""Which URIs are ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from sipshard.sip import Request, Uri

SUPPORTED_EXTENSIONS = frozenset({"path"})
"""The option tags that we understand as a UAS (RFC 3261 §19.2)."""


@final
class ServedDomains:
    """The domains of the configuration and the addresses that we listen on.

    A host of ``domains`` is ours without a port and with any port that we listen on; any other
    host:port only if it is one that we listen on or advertise. ``addresses`` are (host, port),
    IPv6 hosts without brackets.
    """

    __slots__ = ("_addresses", "_domains", "_ports")

    def __init__(self, domains: Iterable[str], addresses: Iterable[tuple[str, int]]) -> None:
        self._domains = frozenset(_canonical(domain) for domain in domains)
        self._addresses = frozenset((_canonical(host), port) for host, port in addresses)
        self._ports = frozenset(port for _, port in self._addresses)

    def serves(self, uri: Uri) -> bool:
        """Whether a request for ``uri`` is for us to answer or to route (RFC 3261 §16.4, §16.5)."""
        host = uri.host
        port = uri.port
        if host in self._domains:
            return port is None or port in self._ports
        if port is None:
            port = 5061 if uri.scheme == "sips" else 5060
        return (host, port) in self._addresses


def unsupported_extensions(request: Request) -> list[str]:
    """The option tags of Require that we do not understand (RFC 3261 §8.2.2.3): answer 420."""
    if request.header("Require") is None:
        return []
    tags = [tag.strip() for value in request.headers("Require") for tag in value.split(",")]
    return [tag for tag in tags if tag and tag.lower() not in SUPPORTED_EXTENSIONS]


def _canonical(host: str) -> str:
    """The form of :attr:`Uri.host`: lower case, IPv6 in brackets, no dot at the end."""
    host = host.lower().rstrip(".")
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
