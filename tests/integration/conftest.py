"""Servers, callees and phones that end with the test that asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.phone import Phone
from loadtest.sipp import Sipp, free_udp_port
from tests.integration.installation import HOST, Installation, Tables
from tests.integration.torture import TortureServer

StartServer = Callable[..., Installation]
MakePhone = Callable[..., Phone]


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """What is entered here is left in reverse order, whatever the test does."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_server(tmp_path: Path, cleanup: ExitStack) -> StartServer:
    """Starts a server: ``start_server(tables, workers=2)``; it serves when this returns."""

    def start(tables: Tables | None = None, workers: int = 2) -> Installation:
        server = Installation(tmp_path / "server", tables, workers)
        cleanup.enter_context(server)
        return server

    return start


@pytest.fixture
def server(start_server: StartServer) -> Installation:
    """A server of two workers with the default settings."""
    return start_server()


@pytest.fixture
def torture_server(tmp_path: Path, cleanup: ExitStack) -> TortureServer:
    """A server for the torture messages."""
    server = TortureServer(tmp_path / "server")
    cleanup.enter_context(server)
    return server


@pytest.fixture
def callee(tmp_path: Path, cleanup: ExitStack) -> Sipp:
    """A SIPp process that answers calls."""
    sipp = Sipp("call_uas", free_udp_port(), tmp_path / "callee")
    cleanup.enter_context(sipp)
    return sipp


@pytest.fixture
def make_phone(cleanup: ExitStack) -> MakePhone:
    """Makes phones: ``make_phone(server, "alice", behaviour="ring")``."""

    def make(server: Installation, user: str, **settings: object) -> Phone:
        phone = Phone(user, HOST, (HOST, server.port), **settings)  # type: ignore[arg-type]  # as given
        cleanup.enter_context(phone)
        return phone

    return make
