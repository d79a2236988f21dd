"""The machine's own names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sipshard.workers.dns import hosts_file
from sipshard.workers.dns.hosts_file import HostsFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hosts"


def test_names_in_any_case_with_several_addresses(path: Path) -> None:
    path.write_text(
        "192.0.2.1 pbx PBX.example.net\n# 192.0.2.9 pbx\n2001:db8::1\tpbx\nnonsense pbx"
    )
    hosts = HostsFile(path)
    assert hosts.addresses("Pbx") == ("192.0.2.1", "2001:db8::1")
    assert hosts.addresses("pbx.example.net.") == ("192.0.2.1",)
    assert hosts.addresses("other") == ()


def test_rfc_6761_localhost_needs_no_file(path: Path) -> None:
    hosts = HostsFile(path)
    assert hosts.addresses("localhost") == ("127.0.0.1", "::1")
    assert hosts.addresses("sip.localhost") == ("127.0.0.1", "::1")
    path.write_text("127.0.0.1 localhost\n")
    assert hosts.addresses("localhost") == ("127.0.0.1",), "what the operator wrote counts"


def test_a_change_is_noticed(path: Path) -> None:
    path.write_text("192.0.2.1 pbx\n")
    hosts = HostsFile(path)
    assert hosts.addresses("pbx") == ("192.0.2.1",)
    path.write_text("192.0.2.2 pbx\n")
    os.utime(path, ns=(0, 0))
    assert hosts.addresses("pbx") == ("192.0.2.2",)
    path.unlink()
    assert hosts.addresses("pbx") == ()


def test_names_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_file, "MAX_NAMES", 2)
    path.write_text("192.0.2.1 a b\n192.0.2.2 a c\n192.0.2.3 a\n")
    hosts = HostsFile(path)
    assert hosts.addresses("a") == ("192.0.2.1", "192.0.2.2")
    assert hosts.addresses("c") == ()
