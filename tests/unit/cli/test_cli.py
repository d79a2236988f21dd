"""The command line: what it prints and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipshard.cli import main, registrations, status
from sipshard.cli.output import duration, mebibytes, printable
from sipshard.control.protocol import RegistrationsRequest, Request, StatusRequest
from sipshard.errors import AddressInUseError, BootError, NotRunningError, SipshardError

STATUS: dict[str, Any] = {
    "listen": ["udp:127.0.0.1:5060"],
    "registrations": 3,
    "location": {"state": "ok", "error": "", "map_used_percent": 1.5, "bindings": 3, "aors": 2},
    "counters": {"requests": 7, "malformed_requests": 0},
    "workers": [
        {
            "shard": 0,
            "pid": 71,
            "generation": 2,
            "state": "serving",
            "uptime_s": 3725.0,
            "rss_bytes": 31_457_280,
            "uss_bytes": 4_194_304,
            "cpu_s": 1.25,
            "descriptors": 20,
            "transactions": 8,
        }
    ],
}

REGISTRATIONS: dict[str, Any] = {
    "registrations": [
        {
            "aor": "alice@example.com",
            "bindings": [{"uri": "sip:alice@192.0.2.1:5060", "q": 0.5, "expires_s": 59}],
        }
    ],
    "next": "alice@example.com",
}

Answers = dict[type[Request], dict[str, Any] | SipshardError]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "sipshard.toml"
    path.write_text('[server]\nworkers = 2\ndomains = ["example.com"]\n', encoding="utf-8")
    return str(path)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """What the server answers to each kind of request; also notes what was asked."""
    table: dict[Any, Any] = {"asked": []}

    def ask(_runtime_dir: Path, request: Request) -> Any:
        table["asked"].append(request)
        answer = table[type(request)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(status, "ask", ask)
    monkeypatch.setattr(registrations, "ask", ask)
    return table


def test_status_without_a_terminal_is_plain_columns(
    file: str, answers: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers[StatusRequest] = STATUS
    assert main(["status", "-c", file]) == 0
    assert capsys.readouterr().out == (
        "listen:        udp:127.0.0.1:5060\n"
        "registrations: 3\n"
        "location:      ok, map 1.5 % used\n"
        "\n"
        "SHARD  PID  GEN  STATE    UPTIME       RSS      USS    CPU  FDS  TRANS\n"
        "0       71    2  serving   1h 2m  30.0 MiB  4.0 MiB  1.2 s   20      8\n"
        "\n"
        "COUNTER   TOTAL\n"
        "requests      7\n"
    )


def test_json_is_what_the_server_said(
    file: str, answers: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers[StatusRequest] = STATUS
    answers[RegistrationsRequest] = REGISTRATIONS
    for verb, expected in (("status", STATUS), ("registrations", REGISTRATIONS)):
        assert main([verb, "-c", file, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == expected


def test_trouble_of_the_location_is_shown(
    file: str, answers: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    location = STATUS["location"] | {"state": "read-only", "error": "disk full"}
    answers[StatusRequest] = STATUS | {"location": location}
    main(["status", "-c", file])
    assert "location:      read-only, map 1.5 % used, disk full\n" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["status", "registrations"])
def test_no_server(
    verb: str, file: str, answers: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    error = NotRunningError("no server is running")
    answers[StatusRequest] = answers[RegistrationsRequest] = error
    assert main([verb, "-c", file]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "sipshard: no server is running\n")
    assert main([verb, "-c", file, "--json"]) == 1
    expected = {"error": "no server is running", "exit_code": 1}
    assert json.loads(capsys.readouterr().out) == expected


def test_registrations(
    file: str, answers: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers[RegistrationsRequest] = REGISTRATIONS
    assert main(["registrations", "-c", file, "alice@example.com", "--limit", "1"]) == 0
    assert answers["asked"] == [RegistrationsRequest("alice@example.com", 1, None)]
    assert capsys.readouterr().out == (
        "AOR                CONTACT                     Q  EXPIRES\n"
        "alice@example.com  sip:alice@192.0.2.1:5060  0.5      59s\n"
        "more: sipshard registrations --after 'alice@example.com'\n"
    )


def test_nobody_is_registered(
    file: str, answers: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers[RegistrationsRequest] = {"registrations": [], "next": None}
    assert main(["registrations", "-c", file]) == 0
    assert capsys.readouterr().out == "no registrations\n"


def test_a_limit_out_of_range(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registrations", "-c", file, "--limit", "5000"]) == 1
    assert "from 1 to 1000" in capsys.readouterr().err


def test_check_of_a_good_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", file]) == 0
    out = capsys.readouterr().out
    assert "workers:       2\n" in out
    assert out.endswith(f"{file}: ok\n")
    assert main(["check", "-c", file, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["problems"] == []
    assert facts["domains"] == ["example.com"]


def test_check_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[server]\nworker = 2\n", encoding="utf-8")
    assert main(["check", "-c", str(path)]) == 2
    assert capsys.readouterr().err == (
        f'sipshard: {path}:2: server.worker: there is no key "worker" here\n'
        '    did you mean "workers"?\n'
    )
    assert main(["check", "-c", str(path), "--json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem == {
        "file": str(path),
        "line": 2,
        "key": "server.worker",
        "problem": 'there is no key "worker" here',
        "remedy": 'did you mean "workers"?',
    }


def test_check_of_a_policy_that_cannot_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "sipshard.toml"
    path.write_text('[server]\npolicy = "route.py"\n', encoding="utf-8")
    (tmp_path / "route.py").write_text("import no_such_module_anywhere\n", encoding="utf-8")
    assert main(["check", "-c", str(path)]) == 4


@pytest.mark.parametrize(("error", "exit_code"), [(BootError("x"), 3), (AddressInUseError("x"), 5)])
def test_run_exits_with_the_errors_code(
    error: SipshardError, exit_code: int, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_configuration: object) -> int:
        raise error

    monkeypatch.setattr("sipshard.supervisor.launch.run", fail)
    assert main(["run", "-c", file]) == exit_code


def test_run_exits_with_what_the_arbiter_says(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipshard.supervisor.launch.run", lambda configuration: 4)
    assert main(["run", "-c", file]) == 4


@pytest.mark.parametrize("arguments", [[], ["fly"], ["status", "--fast"]])
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: sipshard" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "check", "status", "registrations"])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert "--config FILE" in capsys.readouterr().out


def test_a_terminal_gets_tables_and_no_steering_from_the_network(
    file: str,
    answers: dict[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = {"aor": "a\x1b[2J@x", "bindings": [{"uri": "sip:[red]b", "q": 1.0, "expires_s": 1}]}
    answers[RegistrationsRequest] = {"registrations": [entry], "next": None}
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    main(["registrations", "-c", file])
    out = capsys.readouterr().out
    assert "┃" in out
    assert r"a\x1b[2J@x" in out
    assert "sip:[red]b" in out
    assert "\x1b[2J" not in out


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (lambda: duration(0.9), "0s"),
        (lambda: duration(60), "1m 0s"),
        (lambda: duration(3600), "1h 0m"),
        (lambda: duration(90_000), "1d 1h"),
        (lambda: mebibytes(1_572_864), "1.5 MiB"),
        (lambda: printable("plain ü"), "plain ü"),
        (lambda: printable("a\nb\x00\udcff"), r"a\nb\x00\udcff"),
        (lambda: printable("a\nb\r", keep="\n"), "a\nb\\r"),
    ],
)
def test_words_for_people(shown: Callable[[], str], expected: str) -> None:
    assert shown() == expected
