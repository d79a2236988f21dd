"""kill -9 of a worker: the others never notice, and nothing that was sent is lost."""

from __future__ import annotations

import socket
import statistics
import threading
import time
import uuid
from pathlib import Path

import psutil

from loadtest.sipp import Load, Sipp
from tests.integration.conftest import StartServer
from tests.integration.installation import HOST, Installation

PINGS_PER_S = 200
# Design §10: a dead worker to serving.
RESPAWN_S = 0.150
KILLS = 5


class Pinger:
    """OPTIONS to the server itself with one Call-ID, so always to the same worker; never repeated.

    ``sent`` and ``answered`` map each ping's number to the monotonic time.
    """

    def __init__(self, server: Installation, call_id: str) -> None:
        self.call_id = call_id
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self._server = server
        self._stopped = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(0.05)
        self._threads = [threading.Thread(target=part) for part in (self._send, self._receive)]

    def __enter__(self) -> Pinger:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def ping(self, number: int) -> None:
        """Sends one ping."""
        port = self._socket.getsockname()[1]
        lines = [
            f"OPTIONS sip:{self._server.address} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bK{uuid.uuid4().hex};rport",
            f"From: <sip:pinger@{HOST}>;tag=1",
            f"To: <sip:{self._server.address}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} OPTIONS",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        self.sent[number] = time.monotonic()
        self._socket.sendto("\r\n".join([*lines, "", ""]).encode(), (HOST, self._server.port))

    def _send(self) -> None:
        number = 0
        while not self._stopped.wait(1 / PINGS_PER_S):
            number += 1
            self.ping(number)

    def _receive(self) -> None:
        # Goes on for a moment after the last ping was sent.
        quiet = 0
        while quiet < 10:
            try:
                response = self._socket.recv(65535).decode()
            except TimeoutError:
                quiet += self._stopped.is_set()
                continue
            number = int(response.partition("CSeq:")[2].split()[0])
            self.answered.setdefault(number, time.monotonic())


def _call_id_of_shard(server: Installation, shard: int) -> str:
    """A Call-ID that the server keeps on that shard, found by looking at who counts."""
    for _ in range(64):
        call_id = uuid.uuid4().hex
        before = server.counter("requests")
        with Pinger(server, call_id) as pinger:
            server.wait_for("a ping is answered", lambda: bool(pinger.answered))
        counted = [now - then for now, then in zip(server.counter("requests"), before, strict=True)]
        if counted[shard] > 0 and sum(counted) == counted[shard]:
            return call_id
    raise AssertionError(f"no Call-ID goes to shard {shard} alone")


def test_the_successor_serves_in_time_and_gets_all_datagrams(server: Installation) -> None:
    """What is sent after the death waits in the socket, which is the supervisor's."""
    call_id = _call_id_of_shard(server, 0)
    outages_s = []
    for _ in range(KILLS):
        with Pinger(server, call_id) as pinger:
            time.sleep(0.3)
            killed_at = _kill_and_wait(server, 0)
            time.sleep(0.2)
        later = [number for number, at in pinger.sent.items() if at > killed_at]
        lost = [number for number in later if number not in pinger.answered]
        assert not lost, f"{len(lost)} of {len(later)} pings sent after the death were lost"
        outages_s.append(min(pinger.answered[number] for number in later) - killed_at)
    assert statistics.median(outages_s) <= RESPAWN_S, outages_s
    assert server.socket_drops() == 0


def test_the_other_worker_never_notices(server: Installation) -> None:
    call_id = _call_id_of_shard(server, 1)
    other = server.workers_now()[1]
    with Pinger(server, call_id) as pinger:
        for _ in range(3):
            _kill_and_wait(server, 0)
            time.sleep(0.3)
    assert set(pinger.sent) == set(pinger.answered)
    slowest_s = max(at - pinger.sent[number] for number, at in pinger.answered.items())
    assert slowest_s < 0.25
    now = server.workers_now()[1]
    assert (now["pid"], now["generation"]) == (other["pid"], other["generation"])


def test_registrations_under_load_survive(server: Installation, callee: Sipp) -> None:
    """Clients repeat a REGISTER whose worker died, so every one of them succeeds."""
    users = server.register_users(1_000, callee)
    load = Load(6_000, 1_000, users)
    with server.start_load("register", load, f"{HOST}:{callee.port}") as sipp:
        for shard in (0, 1, 0, 1):
            time.sleep(1.0)
            server.kill_worker(shard)
        result = sipp.wait()
    assert result.is_clean, result
    assert server.status()["registrations"] == 1_000
    assert server.socket_drops() == 0


def test_calls_go_on_after_a_death(server: Installation, callee: Sipp) -> None:
    """Calls that the dead worker was setting up may fail; every call after that succeeds."""
    users = server.register_users(100, callee)
    with server.start_load("call_uac", Load(2_000, 400, users)) as sipp:
        time.sleep(2.0)
        in_flight = server.workers_now()[0]["transactions"]
        server.kill_worker(0)
        result = sipp.wait(extra_s=60.0)
    assert result.created == 2_000
    assert result.failed <= in_flight + 40, result
    assert server.load("call_uac", Load(1_000, 500, users)).is_clean


def test_the_whole_server_ends_with_its_supervisor(
    start_server: StartServer, tmp_path: Path
) -> None:
    """A worker without a supervisor would keep the port for itself."""
    server = start_server()
    processes = server.descendants()
    assert len(processes) >= 4
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.wait_for("every child has ended", lambda: not any(map(_is_alive, processes)))
    # The locks went with the processes, so the next server starts.
    with Installation(tmp_path / "server", workers=2) as successor:
        assert successor.status()["workers"]


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)


def _kill_and_wait(server: Installation, shard: int) -> float:
    """Kills a worker and waits until its successor serves; the monotonic time of the death."""
    killed = server.workers_now()[shard]["generation"]
    server.kill_worker(shard)
    killed_at = time.monotonic()

    def is_served() -> bool:
        worker = server.workers_now()[shard]
        return bool(worker["generation"] > killed and worker["state"] == "serving")

    server.wait_for(f"a successor of shard {shard} serves", is_served)
    return killed_at
