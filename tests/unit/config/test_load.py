"""What a configuration file may say, and what one is told when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipshard.config import Configuration, ListenAddress, load, locate
from sipshard.errors import ConfigurationError, ExitCode

# Everything that is wrong here is wrong once: file, line, key, part of the problem, of the remedy.
MISTAKES = [
    ("[server]\nworker = 2", 2, "server.worker", 'no key "worker"', 'did you mean "workers"?'),
    ("[sever]\n", 1, "sever", 'no table "sever"', 'did you mean "server"?'),
    ("[server]\n\nmailbox_kb = 256", 3, "server.mailbox_kb", "no key", "move it to [limits]"),
    ("[log]\nxyzzy = 1", 2, "log.xyzzy", "no key", "known here: format, level"),
    ("server = 3", 1, "server", "3 is not a table", "[server]"),
    ('[server]\nworkers = "two"', 2, "server.workers", '"two" is neither', 'workers = "auto"'),
    ("[server]\nworkers = 0", 2, "server.workers", "0 is neither", "workers = 2"),
    ("[server]\nworkers = 257", 2, "server.workers", "257 is neither", "workers = 2"),
    ("[server]\nworkers = true", 2, "server.workers", "true is neither", "workers = 2"),
    ("[server]\npin = 1", 2, "server.pin", "1 is not true or false", "pin = true"),
    ('[dns]\nservers = ["ns1"]', 2, "dns.servers", '"ns1" is no IP', "192.0.2.53"),
    ('[dns]\nservers = ["[::1]:x"]', 2, "dns.servers", "has no port", "192.0.2.53"),
    ("[dns]\nservers = [53]", 2, "dns.servers", "53 is no name server", "192.0.2.53"),
    (
        "[dns]\nattempt_timeout_s = 6.0",
        2,
        "dns.attempt_timeout_s",
        "is above timeout_s = 5",
        "raise timeout_s",
    ),
    ("[server]\nlisten = []", 2, "server.listen", "is empty", 'listen = ["udp:127.0.0.1:5060"]'),
    ("[server]\nlisten = 5060", 2, "server.listen", "5060 is not a list", "listen = ["),
    ("[server]\nlisten = [5060]", 2, "server.listen", "5060 is no listen", "udp:192.0.2.1:5060"),
    (
        '[server]\nlisten = ["sctp:127.0.0.1:5060"]',
        2,
        "server.listen",
        "names no transport",
        "transport:address:port",
    ),
    (
        '[server]\nlisten = ["tcp:127.0.0.1:5060", "ws:127.0.0.1:5060"]',
        2,
        "server.listen",
        "are the same TCP port",
        "a tcp port serves ws clients",
    ),
    (
        '[server]\nlisten = ["tls:127.0.0.1:5061"]',
        1,
        "server",
        "there is no certificate",
        "certificates = ",
    ),
    (
        '[tls]\nclient_auth = "required"',
        2,
        "tls.client_auth",
        "needs somebody to trust",
        "client_ca",
    ),
    (
        '[server]\nlisten = ["127.0.0.1:5060"]',
        2,
        "server.listen",
        "names no transport",
        "transport:address:port",
    ),
    (
        '[server]\nlisten = ["udp:sip.example.com:5060"]',
        2,
        "server.listen",
        '"sip.example.com" is no IP address',
        "transport:address:port",
    ),
    (
        '[server]\nlisten = ["udp:127.0.0.1:65536"]',
        2,
        "server.listen",
        "no port between 0 and 65535",
        "transport:address:port",
    ),
    (
        '[server]\nlisten = ["udp:::1:5060"]',
        2,
        "server.listen",
        "needs brackets",
        "udp:[2001:db8::1]:5060",
    ),
    (
        '[server]\nlisten = ["udp:127.0.0.1:5060", "udp:127.0.0.1:5060"]',
        2,
        "server.listen",
        "twice",
        "keep one",
    ),
    (
        '[server]\nlisten = ["udp:0.0.0.0:5060"]',
        2,
        "server.listen",
        "every address of the machine",
        "[server.advertise]",
    ),
    (
        '[server]\n[server.advertise]\n"udp:192.0.2.1:5060" = "198.51.100.7:5060"',
        2,
        "server.advertise",
        "not in listen",
        "udp:127.0.0.1:5060",
    ),
    (
        '[server.advertise]\n"udp:127.0.0.1:5060" = "198.51.100.7"',
        2,
        "server.advertise.udp:127.0.0.1:5060",
        "no port",
        "198.51.100.7:5060",
    ),
    (
        '[server.advertise]\n"udp:127.0.0.1:5060" = "0.0.0.0:5060"',
        2,
        "server.advertise.udp:127.0.0.1:5060",
        "no address a peer can reach",
        "198.51.100.7:5060",
    ),
    (
        '[server]\ndomains = ["sip:example.com"]',
        2,
        "server.domains",
        "is no domain",
        'for example "example.com"',
    ),
    (
        '[location]\ndurability = "ram"',
        2,
        "location.durability",
        "no choice",
        '"disk" or "process"',
    ),
    (
        '[server]\ndomains = "example.com"',
        2,
        "server.domains",
        "not a list",
        'write domains = ["example.com"]',
    ),
    ("[limits]\nmax_dialogs = 5e4", 2, "limits.max_dialogs", "whole", "max_dialogs = 50000"),
    ('[server]\npin = "false"', 2, "server.pin", "not true or false", "pin = false"),
    ('[server]\nadvertise = ["a:1"]', 2, "server.advertise", '["a:1"] is not', "docs/config.md"),
    ("[watchdog]\nhard_limit_mb = 100", 2, "watchdog.hard_limit_mb", "not below", "raise hard"),
    ("[location]\npath = 3", 2, "location.path", "3 is not a path", 'path = "var/location"'),
    ("[location]\nmax_contacts = 0", 2, "location.max_contacts", "not at least 1", "= 10"),
    (
        '[location]\nmin_expires_s = "60"',
        2,
        "location.min_expires_s",
        '"60" is not a whole number',
        "min_expires_s = 60",
    ),
    (
        "[location]\nmin_expires_s = 7200",
        2,
        "location.min_expires_s",
        "contradict",
        "min_expires_s <= default_expires_s",
    ),
    (
        '[auth]\nrequired = ["INVITE"]',
        2,
        "auth.required",
        "authentication is not in this version",
        "required = []",
    ),
    ("[limits]\nmailbox_kb = 300", 2, "limits.mailbox_kb", "no power of two", "512 or 256"),
    ("[limits]\nmailbox_kb = 64", 2, "limits.mailbox_kb", "not at least 128", "= 256"),
    ("[limits]\nmax_branches = 65", 2, "limits.max_branches", "not at most 64", "= 12"),
    ("[overload]\nstart_ms = 2000", 2, "overload.start_ms", "not below full_ms", "raise full_ms"),
    ("[transaction]\nt1_ms = 5000", 2, "transaction.t1_ms", "above t2_ms", "at least t1_ms"),
    ("[transaction]\nt1_ms = 0.5", 2, "transaction.t1_ms", "whole number", "t1_ms = 500"),
    ("[transaction]\ntimer_c_s = inf", 2, "transaction.timer_c_s", "finite", "timer_c_s = 180.0"),
    (
        "[watchdog]\nsoft_limit_mb = 2000",
        2,
        "watchdog.soft_limit_mb",
        "not below hard_limit_mb",
        "lower soft_limit_mb",
    ),
    (
        "[watchdog]\nheartbeat_timeout_s = 1",
        2,
        "watchdog.heartbeat_timeout_s",
        "below twice interval_s",
        "raise heartbeat_timeout_s",
    ),
    ("[server\n", 1, "", "is no TOML", "syntax"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sipshard.toml"


@pytest.mark.parametrize(("text", "line", "key", "problem", "remedy"), MISTAKES)
def test_a_mistake_is_named_with_its_remedy(
    file: Path, text: str, line: int, key: str, problem: str, remedy: str
) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    error = caught.value
    assert len(error.problems) == 1
    assert (error.file, error.line, error.key) == (file, line, key)
    assert problem in error.problem
    assert remedy in error.remedy
    assert error.exit_code == ExitCode.CONFIGURATION
    assert str(error).startswith(f"{file}:{line}: ")


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(file: Path) -> None:
    file.write_text('[log]\nlevel = "loud"\n[server]\nworkers = 0\npin = 3\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    keys = [(problem.line, problem.key) for problem in caught.value.problems]
    assert keys == [(2, "log.level"), (4, "server.workers"), (5, "server.pin")]


def test_an_empty_file_is_a_configuration(file: Path) -> None:
    file.write_text("", encoding="utf-8")
    configuration = load(file)
    assert configuration.server.listen == (ListenAddress("udp", "127.0.0.1", 5060),)
    assert configuration.location.durability == "disk"
    assert configuration.server.worker_count >= 1


def test_relative_paths_start_from_the_file(file: Path) -> None:
    file.write_text('[server]\npolicy = "route.py"\n[location]\npath = "/x"\n', encoding="utf-8")
    configuration = load(file)
    assert configuration.server.policy == file.parent / "route.py"
    assert configuration.server.runtime_dir == file.parent / "run"
    assert configuration.location.path == Path("/x")


def test_values_are_read(file: Path) -> None:
    file.write_text(
        '[server]\nlisten = ["udp:0.0.0.0:5060", "udp:[2001:DB8::0:1]:5062"]\nworkers = 3\n'
        'domains = ["Example.COM", "127.0.0.1", "[::1]"]\n'
        '[server.advertise]\n"udp:0.0.0.0:5060" = "sip.example.com:5060"\n'
        "[auth]\nrequired = []\n",
        encoding="utf-8",
    )
    server = load(file).server
    assert [str(address) for address in server.listen] == [
        "udp:0.0.0.0:5060",
        "udp:[2001:db8::1]:5062",
    ]
    assert server.worker_count == 3
    assert server.domains == ("example.com", "127.0.0.1", "::1")
    assert server.advertise == {"udp:0.0.0.0:5060": ("sip.example.com", 5060)}


def test_whole_numbers_do_for_durations(file: Path) -> None:
    file.write_text("[server]\nstop_timeout_s = 3\n", encoding="utf-8")
    assert load(file).server.stop_timeout_s == 3.0


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as caught:
        load(file)
    assert caught.value.line is None


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"[log]\nlevel = '\xff'\n")
    with pytest.raises(ConfigurationError, match="not UTF-8") as caught:
        load(file)
    assert caught.value.line == 2


def test_a_runtime_directory_whose_socket_has_no_room(file: Path) -> None:
    file.write_text(f'[server]\nruntime_dir = "/{"x" * 100}"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="longer than the 107 bytes") as caught:
        load(file)
    assert (caught.value.line, caught.value.key) == (2, "server.runtime_dir")


def test_the_first_file_of_the_search_path_is_used(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    second.touch()
    assert locate(None, (first, second)) == second
    first.touch()
    assert locate(None, (first, second)) == first
    assert locate(tmp_path / "given", (first, second)) == tmp_path / "given"


def test_no_file_on_the_search_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration"):
        locate(None, (tmp_path / "a.toml",))


def test_values_never_change() -> None:
    configuration = Configuration()
    with pytest.raises(ValueError, match="frozen"):
        configuration.log.level = "debug"


def test_every_setting_is_documented() -> None:
    for name, table in Configuration.model_fields.items():
        model = table.annotation
        assert isinstance(model, type)
        assert model.__doc__
        for key, field in model.model_fields.items():
            assert field.description, f"{name}.{key}"
            assert field.description.endswith("."), f"{name}.{key}"


def test_name_servers_with_and_without_a_port(tmp_path: Path) -> None:
    path = tmp_path / "sipshard.toml"
    path.write_text('[dns]\nservers = ["192.0.2.53", "127.0.0.1:5353", "::1", "[::1]:5353"]\n')
    expected = (("192.0.2.53", 53), ("127.0.0.1", 5353), ("::1", 53), ("::1", 5353))
    assert load(path).dns.servers == expected
