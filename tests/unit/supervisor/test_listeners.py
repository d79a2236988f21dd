"""The sockets of a listen address."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sipshard.config import ListenAddress
from sipshard.errors import AddressInUseError, BootError
from sipshard.supervisor.listeners import open_listener
from sipshard.supervisor.steering import steer

ANY_PORT = ListenAddress("udp", "127.0.0.1", 0)


def test_one_socket_per_worker_on_one_port(tmp_path: Path) -> None:
    with open_listener(ANY_PORT, None, 3, tmp_path) as listener:
        names = {endpoint.getsockname() for endpoint in listener.sockets}
        assert names == {("127.0.0.1", listener.port)}
        assert len({endpoint.fileno() for endpoint in listener.sockets}) == 3
        assert not any(endpoint.getblocking() for endpoint in listener.sockets)
        assert (listener.advertised_host, listener.advertised_port) == ("127.0.0.1", listener.port)
        assert str(listener) == f"udp:127.0.0.1:{listener.port}"
    assert all(endpoint.fileno() == -1 for endpoint in listener.sockets)


def test_what_is_advertised_is_kept_apart_from_what_is_bound(tmp_path: Path) -> None:
    with open_listener(ANY_PORT, ("sip.example.com", 5070), 1, tmp_path) as listener:
        assert (listener.advertised_host, listener.advertised_port) == ("sip.example.com", 5070)
        assert listener.host == "127.0.0.1"


def test_ipv6_leaves_ipv4_alone(tmp_path: Path) -> None:
    with open_listener(ListenAddress("udp", "::1", 0), None, 1, tmp_path) as listener:
        (endpoint,) = listener.sockets
        assert endpoint.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert str(listener) == f"udp:[::1]:{listener.port}"


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    with open_listener(ANY_PORT, None, 1, tmp_path) as listener:
        taken = ListenAddress("udp", "127.0.0.1", listener.port)
        with pytest.raises(AddressInUseError):
            open_listener(taken, None, 1, tmp_path).__enter__()


def test_a_stranger_that_shares_its_port_is_noticed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        taken = ListenAddress("udp", "127.0.0.1", stranger.getsockname()[1])
        with pytest.raises(AddressInUseError, match="by another process"):
            open_listener(taken, None, 1, tmp_path).__enter__()


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    elsewhere = ListenAddress("udp", "192.0.2.1", 5060)
    with pytest.raises(BootError, match=r"udp:192\.0\.2\.1:5060.*an address of this machine"):
        open_listener(elsewhere, None, 1, tmp_path).__enter__()


def test_steering_is_attached_once_per_group(tmp_path: Path) -> None:
    attached: list[tuple[int, int, bytes]] = []
    with open_listener(ANY_PORT, None, 2, tmp_path) as listener:
        assert steer([listener], b"s" * 16, lambda *call: attached.append(call))
        assert attached == [(listener.sockets[0].fileno(), 2, b"s" * 16)]


def test_a_kernel_that_refuses_gets_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_descriptor: int, _workers: int, _secret: bytes) -> None:
        raise OSError("not here")

    with (
        open_listener(ANY_PORT, None, 2, tmp_path) as first,
        open_listener(ANY_PORT, None, 2, tmp_path) as second,
    ):
        caplog.clear()
        assert not steer([first, second], b"s" * 16, refuse)
    assert ["not here" in record.message for record in caplog.records] == [True]
