"""SIGTERM: no new work, open transactions finish within a bound, nothing is left behind."""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import suppress

import psutil
import pytest

from loadtest.message import Message
from loadtest.phone import NoAnswerError, Phone
from tests.integration.conftest import MakePhone, StartServer
from tests.integration.installation import HOST, Installation


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once(server: Installation, number: signal.Signals) -> None:
    processes = server.descendants()
    assert server.process is not None
    begun = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(10) == 0
    assert time.monotonic() - begun < 3.0
    assert not any(process.is_running() for process in processes)
    assert not (server.folder / "run" / "control.sock").exists()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, server.port))


def test_a_stop_that_reaches_every_process_is_quiet(server: Installation) -> None:
    """As systemd does it; the children come first, which is the worst order."""
    assert server.process is not None
    supervisor = psutil.Process(server.process.pid)
    for process in [*server.descendants(), *server.descendants(), supervisor]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    log = server.log.read_text()
    assert " error " not in log
    assert "Exception ignored" not in log
    assert "Traceback" not in log


def test_a_call_that_rings_is_finished_and_new_work_is_refused(
    server: Installation, make_phone: MakePhone
) -> None:
    alice = make_phone(server, "alice")
    bob = make_phone(server, "bob", behaviour="ring")
    bob.register()
    calling = _Call(alice, bob.aor)
    server.wait_for("bob's phone rings", lambda: bob.is_ringing)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    refused = _refused(make_phone(server, "carol", timeout_s=3.0))
    assert refused.status == 503
    assert int(refused.header("Retry-After")) > 0
    bob.pick_up()
    assert calling.response().status == 200
    assert server.process.wait(15) == 0


def test_a_call_that_never_ends_does_not_hold_the_server(
    start_server: StartServer, make_phone: MakePhone
) -> None:
    server = start_server({"server": {"stop_timeout_s": 1.0}})
    bob = make_phone(server, "bob", behaviour="ring")
    bob.register()
    _Call(make_phone(server, "alice", timeout_s=1.0), bob.aor)
    server.wait_for("bob's phone rings", lambda: bob.is_ringing)
    assert server.process is not None
    begun = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    assert 0.9 <= time.monotonic() - begun < 4.0


class _Call:
    """An INVITE that is waited for in a thread."""

    def __init__(self, phone: Phone, uri: str) -> None:
        self._response: Message | None = None
        self._thread = threading.Thread(target=self._run, args=(phone, uri), daemon=True)
        self._thread.start()

    def response(self) -> Message:
        """The final response."""
        self._thread.join(10)
        assert self._response is not None
        return self._response

    def _run(self, phone: Phone, uri: str) -> None:
        try:
            self._response = phone.invite(uri)
        except (NoAnswerError, OSError):
            # The server stopped first, which is what one of the tests wants.
            return


def _refused(phone: Phone) -> Message:
    """The first response that is no success: the signal takes a moment to arrive."""
    for _ in range(50):
        response = phone.request("OPTIONS", f"sip:{HOST}")
        if response.status != 200:
            return response
        time.sleep(0.02)
    raise AssertionError("new work is still accepted")
