"""Where the name servers come from."""

from __future__ import annotations

import os
from pathlib import Path

from sipshard.workers.dns.records import NameServers


def servers(path: Path, *written: tuple[str, int]) -> NameServers:
    return NameServers(written, attempt_timeout_s=1, timeout_s=5, resolv_conf=path)


def addresses(asked: NameServers) -> list[str]:
    asked._follow_resolv_conf()
    return [str(each) for each in asked._resolver.nameservers]


def test_resolv_conf_is_followed_but_for_its_patience(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.53\noptions timeout:30\n")
    asked = servers(path)
    assert addresses(asked) == ["192.0.2.53"]
    assert (asked._resolver.timeout, asked._resolver.lifetime) == (1, 5)
    path.write_text("nameserver 192.0.2.54\nnameserver 192.0.2.55\n")
    os.utime(path, ns=(0, 0))
    assert addresses(asked) == ["192.0.2.54", "192.0.2.55"]
    path.unlink()
    assert addresses(asked) == []


def test_servers_of_the_configuration_count_alone(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.53\n")
    assert addresses(servers(path, ("127.0.0.1", 5353))) == ["Do53:127.0.0.1@5353"]
