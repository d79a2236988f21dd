"""Exit codes are an interface (design §3): what stops a start, and with which one."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from loadtest.server import sipshard_command
from loadtest.sipp import free_udp_port
from tests.integration.installation import HOST, Installation

CONFIGURATION = 2
POLICY_CANNOT_LOAD = 4
ADDRESS_IN_USE = 5


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ({"server": {"wrokers": 2}}, "wrokers"),
        ({"server": {"workers": "many"}}, "server.workers"),
        ({"server": {"listen": ["sctp:127.0.0.1:5061"]}}, "server.listen"),
        ({"server": {"listen": ["tls:127.0.0.1:5061"]}}, "no certificate"),
        ({"server": {"listen": ["udp:0.0.0.0:5060"]}}, "advertise"),
        ({"location": {"durability": "maybe"}}, "location.durability"),
        ({"auth": {"required": ["REGISTER"]}}, "auth.required"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "check"])
def test_a_wrong_setting_is_named_with_a_remedy(
    tmp_path: Path, tables: dict[str, dict[str, object]], named: str, verb: str
) -> None:
    installation = Installation(tmp_path, tables)
    path = installation.write_configuration()
    done = _run(verb, path)
    assert done.returncode == CONFIGURATION
    assert str(path) in done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists(), "nothing is made before the configuration is right"


def test_check_accepts_a_right_configuration(tmp_path: Path) -> None:
    assert _run("check", Installation(tmp_path).write_configuration()).returncode == 0


def test_a_missing_configuration_file(tmp_path: Path) -> None:
    done = _run("run", tmp_path / "nowhere.toml")
    assert done.returncode == CONFIGURATION
    assert "nowhere.toml" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "from sipshard import NoSuchThing\n",
        "def broken(:\n",
        "raise RuntimeError('no')\n",
        "x = 1\n",
    ],
    ids=["import", "syntax", "raises", "no router"],
)
def test_a_policy_that_cannot_be_imported(tmp_path: Path, text: str) -> None:
    (tmp_path / "route.py").write_text(text)
    done = Installation(tmp_path, {"server": {"policy": "route.py"}}).run_to_its_end()
    assert done.returncode == POLICY_CANNOT_LOAD
    assert "route.py" in done.stderr


def test_an_address_that_another_program_has(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        installation = Installation(tmp_path)
        installation.port = other.getsockname()[1]
        done = installation.run_to_its_end()
    assert done.returncode == ADDRESS_IN_USE
    assert f"{HOST}:{installation.port}" in done.stderr


def test_two_servers_do_not_share_an_address(server: Installation, tmp_path: Path) -> None:
    """SO_REUSEPORT would let them, and each would get some of the datagrams."""
    second = Installation(tmp_path / "second")
    second.port = server.port
    done = second.run_to_its_end()
    assert done.returncode == ADDRESS_IN_USE
    assert f"{HOST}:{server.port}" in done.stderr
    assert [worker["state"] for worker in server.workers_now()] == ["serving", "serving"]


def test_the_same_configuration_is_not_started_twice(server: Installation) -> None:
    before = server.workers_now()
    assert _run("run", server.configuration).returncode == ADDRESS_IN_USE
    assert [worker["pid"] for worker in server.workers_now()] == [row["pid"] for row in before]


def test_status_without_a_server(tmp_path: Path) -> None:
    done = _run("status", Installation(tmp_path).write_configuration())
    assert done.returncode == 1
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_run_says_where_it_listens_and_then_ready(server: Installation) -> None:
    lines = server.log.read_text().splitlines()
    assert lines.index("ready") > next(
        number for number, line in enumerate(lines) if f"udp:{server.address}" in line
    )


def test_two_listen_addresses(tmp_path: Path) -> None:
    ports = [free_udp_port(), free_udp_port()]
    installation = Installation(
        tmp_path, {"server": {"listen": [f"udp:{HOST}:{port}" for port in ports]}}
    )
    for port in ports:
        installation.port = port
        with installation:
            assert len(installation.status()["listen"]) == 2


def _run(verb: str, configuration: Path) -> subprocess.CompletedProcess[str]:
    command = [sipshard_command(), verb, "-c", str(configuration)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
