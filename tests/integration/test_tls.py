"""TLS and the PROXY protocol at a running server: what connections prove and are told."""

from __future__ import annotations

import signal
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from loadtest.sipp import free_udp_port
from tests.integration.installation import HOST, Installation
from tests.integration.stream_client import StreamClient

SHOWS = """
from sipshard import Respond, Router

router = Router()


@router.request("*")
def show(request):
    names = ",".join(request.peer_names) or "nobody"
    source = ":".join(map(str, request.source))
    return Respond(200, headers=[("X-Peer", names), ("X-Source", source)])
"""


# TLS 1.3 tells a client that it is refused after its own handshake is over: by an alert, or, when
# it has sent something by then, by the end of the connection.
REFUSED = (ssl.SSLError, ConnectionError)


class Secured:
    """A server with TLS on a port of its own, and the authority that has signed its certificate."""

    def __init__(self, cleanup: ExitStack, folder: Path, **tls: object) -> None:
        self.authority = trustme.CA()
        self.folder = folder
        self.port = free_udp_port()
        self.tcp_port = free_udp_port()
        self.write("server", "server.example.com")
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        (folder / "route.py").write_text(SHOWS)
        identity = {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}
        certificates = [identity, *_list(tls.pop("more", []))]
        policy = {"policy": str(folder / "route.py")} if tls.pop("shows", False) else {}
        connections = _dict(tls.pop("connections", {}))
        self.server = Installation(folder / "server")
        listen = [f"udp:{self.server.address}"]
        listen += [f"tcp:{HOST}:{self.tcp_port}", f"tls:{HOST}:{self.port}"]
        self.server.tables = {
            "server": {"listen": listen, **policy},
            "connections": connections,
            "tls": {
                "certificates": certificates,
                "client_ca": str(folder / "ca.pem"),
                "trusted": str(folder / "ca.pem"),
                **tls,
            },
        }
        cleanup.enter_context(self.server)

    def write(self, name: str, host: str) -> None:
        """Writes a certificate for ``host`` where the server looks for it."""
        issued = self.authority.issue_cert(host)
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(self.folder / f"{name}.pem")

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What a client needs that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _dict(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


@pytest.fixture
def secured(cleanup: ExitStack, tmp_path: Path) -> Callable[..., Secured]:
    def make(**settings: object) -> Secured:
        return Secured(cleanup, tmp_path, **settings)

    return make


def _ask(client: StreamClient) -> dict[str, str | None]:
    client.send("OPTIONS", f"sip:{HOST}")
    response = client.response()
    assert response.status == 200
    return {name: response.header(name) for name in ("X-Peer", "X-Source")}


def _serial(client: StreamClient) -> int:
    assert isinstance(client.socket, ssl.SSLSocket)
    certificate = client.socket.getpeercert()
    assert certificate
    return int(str(certificate["serialNumber"]), 16)


class TestTls:
    def test_sighup_changes_the_certificate_of_new_connections_only(
        self, secured: Callable[..., Secured]
    ) -> None:
        place = secured()
        with StreamClient(place.port, place.context()) as old:
            assert old.register("bob").status == 200
            place.write("server", "server.example.com")
            self._reload(place, "uses the certificates as they are now")
            with StreamClient(place.port, place.context()) as new:
                assert new.register("alice").status == 200
                assert _serial(new) != _serial(old)
                renewed = _serial(new)
            assert old.register("bob").status == 200, "a live connection goes on"
            (place.folder / "server.pem").write_text("no certificate")
            self._reload(place, "the certificates stay as they are")
            with StreamClient(place.port, place.context()) as last:
                assert _serial(last) == renewed

    @staticmethod
    def _reload(place: Secured, line: str) -> None:
        assert place.server.process is not None
        seen = place.server.log.read_text().count(line)
        place.server.process.send_signal(signal.SIGHUP)
        place.server.wait_for(
            line, lambda: place.server.log.read_text().count(line) == seen + place.server.workers
        )

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_session_is_resumed_by_any_worker(
        self, secured: Callable[..., Secured], version: ssl.TLSVersion
    ) -> None:
        place = secured()
        context = place.context(version)
        with StreamClient(place.port, context) as first:
            assert first.register("bob").status == 200
            assert isinstance(first.socket, ssl.SSLSocket)
            session = first.socket.session
        for _ in range(16):
            with StreamClient(place.port, context, session=session) as again:
                assert again.register("bob").status == 200
                assert isinstance(again.socket, ssl.SSLSocket)
                assert again.socket.session_reused
        assert all(place.server.counter("connections_accepted")), "both workers have accepted"

    def test_clients_prove_their_names(self, secured: Callable[..., Secured]) -> None:
        place = secured(client_auth="optional", shows=True)
        with StreamClient(place.port, place.context()) as anybody:
            assert _ask(anybody)["X-Peer"] == "nobody"
        trunk = place.context()
        place.authority.issue_cert("trunk.example.com").configure_cert(trunk)
        for _ in range(4):
            with StreamClient(place.port, trunk) as client:
                assert _ask(client)["X-Peer"] == "trunk.example.com"
        stranger = place.context()
        trustme.CA().issue_cert("trunk.example.com").configure_cert(stranger)
        with pytest.raises(REFUSED), StreamClient(place.port, stranger) as client:
            _ask(client)
        assert sum(place.server.counter("tls_failures")) == 1

    def test_clients_without_a_certificate_are_sent_away_where_one_is_required(
        self, secured: Callable[..., Secured]
    ) -> None:
        place = secured(client_auth="required", shows=True)
        with pytest.raises(REFUSED), StreamClient(place.port, place.context()) as client:
            _ask(client)
        assert sum(place.server.counter("tls_failures")) == 1

    def test_the_name_that_a_client_asks_for_chooses_the_certificate(
        self, secured: Callable[..., Secured], tmp_path: Path
    ) -> None:
        other = {"certificate": str(tmp_path / "other.pem"), "key": str(tmp_path / "other.key")}
        issuer = trustme.CA()
        issued = issuer.issue_cert("other.example.org")
        issued.private_key_pem.write_to_path(tmp_path / "other.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "other.pem")
        place = secured(more=[other])
        context = place.context()
        issuer.configure_trust(context)
        for name in ("server.example.com", "other.example.org"):
            with StreamClient(place.port, context, name=name) as client:
                assert client.register("bob").status == 200


class TestProxyProtocol:
    def test_the_source_is_what_the_load_balancer_says(
        self, secured: Callable[..., Secured]
    ) -> None:
        place = secured(shows=True, connections={"proxy_protocol": True})
        preface = _proxy_header("203.0.113.9", 40404)
        with StreamClient(place.tcp_port, preface=preface) as client:
            assert _ask(client)["X-Source"] == "203.0.113.9:40404"
        with StreamClient(place.port, place.context(), preface=preface) as client:
            assert _ask(client)["X-Source"] == "203.0.113.9:40404"
        with StreamClient(place.tcp_port) as client:
            client.send("OPTIONS", f"sip:{HOST}")
            assert client.is_closed(), "without the header"


def _proxy_header(source: str, port: int) -> bytes:
    """The PROXY protocol, version 2: signature, PROXY over TCP/IPv4, addresses and ports."""
    addresses = bytes(map(int, source.split("."))) + bytes((127, 0, 0, 1))
    ports = struct.pack("!HH", port, 5060)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12) + addresses + ports
