"""The location over the network: RFC 3261 §10.3, and a disk that does not take it."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.integration.conftest import MakePhone, StartServer
from tests.integration.installation import Installation


def _bindings(server: Installation, aor: str) -> list[dict[str, Any]]:
    entries = server.ask("registrations", aor)["registrations"]
    return [binding for entry in entries for binding in entry["bindings"]]


def test_two_phones_of_one_user_both_ring(server: Installation, make_phone: MakePhone) -> None:
    desk, mobile = make_phone(server, "bob", behaviour="ring"), make_phone(server, "bob")
    assert desk.register().status == 200
    listed = mobile.register()
    assert {desk.contact, mobile.contact} <= {
        value.partition(">")[0].lstrip("<") for value in _contacts(listed.all("Contact"))
    }
    assert make_phone(server, "alice").call("sip:bob@127.0.0.1").status == 200
    # RFC 3261 §16.7 step 10: the phone that only rang is cancelled.
    server.wait_for("the desk phone stops ringing", lambda: not desk.is_ringing)


def _contacts(values: list[str]) -> list[str]:
    return [one.strip() for value in values for one in value.split(",")]


def test_a_phone_takes_its_binding_back(server: Installation, make_phone: MakePhone) -> None:
    bob = make_phone(server, "bob")
    bob.register()
    assert len(_bindings(server, "bob@127.0.0.1")) == 1
    assert bob.register(expires_s=0).status == 200
    assert _bindings(server, "bob@127.0.0.1") == []


def test_star_removes_all(server: Installation, make_phone: MakePhone) -> None:
    desk, mobile = make_phone(server, "bob"), make_phone(server, "bob")
    desk.register()
    mobile.register()
    star = (("Contact", "*"), ("Expires", "0"))
    response = desk.request("REGISTER", "sip:127.0.0.1", to=desk.aor, extra=star)
    assert response.status == 200
    assert _bindings(server, "bob@127.0.0.1") == []


def test_limits_of_a_registration(start_server: StartServer, make_phone: MakePhone) -> None:
    server = start_server({"location": {"min_expires_s": 60, "max_contacts": 2}})
    bob = make_phone(server, "bob")
    brief = bob.register(expires_s=5)
    assert brief.status == 423
    assert brief.header("Min-Expires") == "60"
    assert bob.register().status == 200
    assert make_phone(server, "bob").register().status == 200
    assert make_phone(server, "bob").register().status >= 400
    assert len(_bindings(server, "bob@127.0.0.1")) == 2


def test_expired_bindings_are_swept(start_server: StartServer, make_phone: MakePhone) -> None:
    server = start_server({"location": {"min_expires_s": 1, "default_expires_s": 60}})
    bob = make_phone(server, "bob")
    bob.register(expires_s=1)
    server.wait_for("the binding is gone", lambda: server.status()["registrations"] == 0)
    assert make_phone(server, "alice").invite(bob.aor).status == 480


def test_a_full_disk_refuses_registrations_only(
    server: Installation, make_phone: MakePhone
) -> None:
    """A file-size limit set from outside stands for the full disk: the map cannot grow."""
    bob, alice = make_phone(server, "bob"), make_phone(server, "alice")
    assert bob.register().status == 200
    _limit_files(server, (server.folder / "location" / "data.mdb").stat().st_size)
    # Enough new users that no free page of the map is left for them.
    statuses = [make_phone(server, f"new{number}").register().status for number in range(60)]
    assert statuses[-1] == 500
    assert set(statuses) <= {200, 500}
    assert alice.call(bob.aor).status == 200
    server.wait_for("status says so", lambda: server.status()["location"]["state"] != "ok")
    assert server.status()["location"]["error"]
    assert sum(server.counter("location_write_failures")) > 0
    _limit_files(server, resource.RLIM_INFINITY)
    assert make_phone(server, "later").register().status == 200


def test_an_unwritable_location(
    start_server: StartServer, make_phone: MakePhone, tmp_path: Path
) -> None:
    """The path leads through a file, which not even root can write below."""
    (tmp_path / "occupied").write_text("a file, no directory")
    server = start_server({"location": {"path": str(tmp_path / "occupied" / "location")}})
    alice = make_phone(server, "alice")
    assert alice.register().status == 500
    assert alice.request("OPTIONS", f"sip:{server.address}").status == 200
    assert server.status()["location"]["state"] != "ok"
    assert [worker["generation"] for worker in server.workers_now()] == [1, 1]


def _limit_files(server: Installation, size_bytes: int) -> None:
    for process in server.descendants():
        with suppress(psutil.NoSuchProcess):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size_bytes, -1))
