"""A server that listens on every transport, with a certificate of its own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import trustme

from loadtest.link import Address, Transport
from loadtest.phone import Phone
from tests.integration.installation import Installation

DOMAIN = "example.com"
LOOPBACKS: Mapping[int, str] = {4: "127.0.0.1", 6: "::1"}
HOSTS: Mapping[int, str] = {4: "127.0.0.1", 6: "[::1]"}
STREAMS: tuple[Transport, ...] = ("tcp", "tls", "ws", "wss")
TRANSPORTS: tuple[Transport, ...] = ("udp", *STREAMS)
# Where nobody is: what phones behind a NAT say of themselves.
UNROUTABLE = "10.255.255.1:5060"


class StreamServer(Installation):
    """A server of two workers. ``families`` are those of the addresses that it listens on."""

    def __init__(self, folder: Path, families: Sequence[int] = (4,)) -> None:
        super().__init__(folder)
        self.authority = trustme.CA()
        self.folder.mkdir(parents=True, exist_ok=True)
        pem = str(self.folder / "server.pem")
        self.authority.issue_cert(DOMAIN).private_key_and_cert_chain_pem.write_to_path(pem)
        udp = {4: f"udp:{self.address}", 6: "udp:[::1]:0"}
        listen = [udp[family] for family in families]
        listen += [f"{each}:{HOSTS[family]}:0" for family in families for each in STREAMS]
        self.tables = {
            "server": {"listen": listen, "domains": [DOMAIN]},
            "tls": {"certificates": [{"certificate": pem, "key": pem}]},
        }

    def client_context(self) -> ssl.SSLContext:
        """What a client needs that trusts our authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def listener(self, transport: Transport, family: int = 4) -> Address:
        """Where the server listens for that transport."""
        prefix = f"{transport}:{HOSTS[family]}:"
        listening: list[str] = self.status()["listen"]
        port = next(each.removeprefix(prefix) for each in listening if each.startswith(prefix))
        return LOOPBACKS[family], int(port)

    def phone(
        self, user: str, transport: Transport = "tcp", family: int = 4, **settings: object
    ) -> Phone:
        """A phone of that transport; the caller closes it."""
        given: dict[str, object] = {"timeout_s": 5.0, "context": self.client_context(), **settings}
        return Phone(
            user,
            DOMAIN,
            self.listener(transport, family),
            host=LOOPBACKS[family],
            transport=transport,
            **given,  # type: ignore[arg-type]  # as given
        )

    def connections(self) -> list[int]:
        """How many each worker has."""
        return [worker["connections"] for worker in self.workers_now()]

    def count(self, name: str) -> int:
        """One counter, of all workers."""
        return sum(self.counter(name))
