"""An operator's policy in a running server: what it may do wrong, and that others do not notice."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from loadtest.sipp import free_udp_port
from tests.integration.conftest import MakePhone, StartServer
from tests.integration.installation import Installation

POLICY = """\
import asyncio

from sipshard import Forward, Redirect, Reject, Respond, Router, Save

router = Router()


@router.request("REGISTER")
def register(request):
    return Save(request.to_uri.aor)


@router.request("MESSAGE")
async def message(request):
    match request.uri.user:
        case "raises":
            raise RuntimeError("the policy is broken")
        case "raises-later":
            await asyncio.sleep(0.01)
            raise RuntimeError("the policy breaks later")
        case "returns-nonsense":
            return 42
        case "sleeps":
            await asyncio.sleep(3)
            return Respond(200, body=b"awake")
        case "rejects":
            return Reject(488, "Not This One", headers=[("Warning", "399 example.com no")])
        case "redirects":
            return Redirect("sip:there@example.net")
        case user:
            return Respond(200, body=user.encode())


@router.request("INVITE")
def invite(request, location):
    return Forward(location.lookup(request.uri), record_route=True, on_failure=second_choice)


async def second_choice(request, response, location):
    await asyncio.sleep(0)
    if response.status == 486:
        return Forward(location.lookup("sip:second@127.0.0.1"))
"""


@pytest.fixture
def policed(start_server: StartServer, tmp_path: Path) -> Installation:
    """A server with the policy above."""
    path = tmp_path / "route.py"
    path.write_text(POLICY)
    return start_server({"server": {"policy": str(path)}})


@pytest.mark.parametrize("user", ["raises", "raises-later", "returns-nonsense"])
def test_a_broken_policy_costs_one_request(
    policed: Installation, make_phone: MakePhone, user: str
) -> None:
    phone = make_phone(policed, "alice")
    before = [worker["pid"] for worker in policed.workers_now()]
    assert phone.request("MESSAGE", f"sip:{user}@127.0.0.1").status == 500
    assert phone.request("MESSAGE", "sip:fine@127.0.0.1").status == 200
    assert [worker["pid"] for worker in policed.workers_now()] == before
    policed.wait_for("it is counted", lambda: sum(policed.counter("policy_errors")) == 1)
    if user != "returns-nonsense":
        log = policed.log.read_text()
        assert "Traceback" in log
        assert "route.py" in log


def test_decisions_reach_the_wire(policed: Installation, make_phone: MakePhone) -> None:
    phone = make_phone(policed, "alice")
    rejected = phone.request("MESSAGE", "sip:rejects@127.0.0.1")
    assert rejected.start_line == "SIP/2.0 488 Not This One"
    assert rejected.header("Warning") == "399 example.com no"
    redirected = phone.request("MESSAGE", "sip:redirects@127.0.0.1")
    assert redirected.status == 302
    assert "sip:there@example.net" in redirected.header("Contact")
    assert phone.request("MESSAGE", "sip:hello@127.0.0.1").body == "hello"


def test_a_method_without_a_handler(policed: Installation, make_phone: MakePhone) -> None:
    """RFC 3261 §8.2.1: 405 names what would have been accepted."""
    response = make_phone(policed, "alice").request("PUBLISH", "sip:x@127.0.0.1")
    assert response.status == 405
    assert {"INVITE", "MESSAGE", "REGISTER"} <= set(response.header("Allow").split(", "))


def test_a_slow_decision_delays_nobody_else(policed: Installation, make_phone: MakePhone) -> None:
    """Twenty requests wait for a dependency; the two workers answer others meanwhile."""
    sleepers = [make_phone(policed, f"sleeper{number}") for number in range(20)]
    slow: list[str] = []

    def wait(number: int) -> None:
        slow.append(sleepers[number].request("MESSAGE", "sip:sleeps@127.0.0.1").body)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    phone = make_phone(policed, "alice")
    slowest_s = 0.0
    for _ in range(50):
        begun = time.monotonic()
        assert phone.request("MESSAGE", "sip:quick@127.0.0.1").body == "quick"
        slowest_s = max(slowest_s, time.monotonic() - begun)
    assert not slow, "the quick requests took longer than the slow ones sleep"
    for thread in threads:
        thread.join()
    assert slow == ["awake"] * 20
    assert slowest_s < 0.25


def test_on_failure_tries_somebody_else(policed: Installation, make_phone: MakePhone) -> None:
    first = make_phone(policed, "first", behaviour="busy")
    second = make_phone(policed, "second")
    assert first.register().status == second.register().status == 200
    assert make_phone(policed, "alice").call("sip:first@127.0.0.1").status == 200
    assert second.calls_taken == 1


VERBS = """\
from sipshard import (
    Add, Body, Forward, Remove, Replace, RequestFailed, RequestTimeout, Respond, Router, Save,
    Target,
)

router = Router()


@router.request("REGISTER")
def register(request):
    return Save(request.to_uri.aor)


@router.request("INVITE")
def invite(request, location):
    first, second = location.lookup("sip:first@127.0.0.1"), location.lookup("sip:second@127.0.0.1")
    targets = [Target(each, edits=[Add("X-Branch", "first")]) for each in first]
    targets += [
        Target(each, q=0.5, ring_timeout=20, edits=[Add("X-Branch", "second")]) for each in second
    ]
    edits = [Remove("subject"), Replace("priority", "urgent"), Body(b"changed", "text/plain")]
    return Forward(
        targets,
        record_route=True,
        edits=edits,
        response_edits=[Add("X-Edge", "1")],
        on_response=seen,
    )


def seen(request, response):
    return [Add("X-Seen", str(response.status))]


@router.request("MESSAGE")
async def message(request, location, client):
    (phone,) = location.lookup(request.uri)
    try:
        answer = await client.request(
            "MESSAGE",
            phone.uri,
            headers=[("Content-Type", "text/plain")],
            body=request.body,
            timeout=0.5 if request.uri.user == "gone" else 5,
        )
    except RequestTimeout:
        return Respond(408)
    return Respond(answer.status, headers=[("X-Asked", answer.call_id)])


@router.request("OPTIONS")
async def options(request, client):
    try:
        await client.request("OPTIONS", "sip:nowhere@192.0.2.1;transport=sctp")
    except RequestFailed:
        return Respond(502)
    return Respond(200)
"""


@pytest.fixture
def verbs(start_server: StartServer, tmp_path: Path) -> Installation:
    """A server whose policy edits what passes and sends requests itself."""
    path = tmp_path / "verbs.py"
    path.write_text(VERBS)
    return start_server({"server": {"policy": str(path)}})


def test_messages_are_edited_branch_by_branch(verbs: Installation, make_phone: MakePhone) -> None:
    first = make_phone(verbs, "first", behaviour="busy")
    second = make_phone(verbs, "second")
    assert first.register().status == second.register().status == 200
    caller = make_phone(verbs, "alice")
    extra = (("Contact", f"<{caller.contact}>"), ("s", "tea"), ("Priority", "normal"))
    response = caller.request("INVITE", "sip:any@127.0.0.1", extra=extra, body="original")
    assert response.status == 200
    assert (response.header("X-Edge"), response.header("X-Seen")) == ("1", "200")
    for phone, name in ((first, "first"), (second, "second")):
        invite = phone.requests_taken[0]
        assert invite.method == "INVITE"
        assert invite.all("X-Branch") == [name]
        assert invite.all("Subject") == invite.all("s") == []
        assert invite.all("Priority") == ["urgent"]
        assert (invite.all("Content-Type"), invite.body) == (["text/plain"], "changed")
    assert sum(verbs.counter("uninspected_responses")) == 0
    assert sum(verbs.counter("policy_errors")) == 0


def test_a_policy_sends_requests_of_its_own(verbs: Installation, make_phone: MakePhone) -> None:
    """Each response finds the worker whose handler waits, whichever socket it comes to."""
    bob = make_phone(verbs, "bob")
    assert bob.register().status == 200
    asked = set()
    for number in range(20):
        alice = make_phone(verbs, f"alice{number}")
        extra = (("Content-Type", "text/plain"),)
        response = alice.request("MESSAGE", "sip:bob@127.0.0.1", extra=extra, body=f"{number}")
        assert response.status == 200
        asked.add(response.header("X-Asked"))
        message = bob.requests_taken[-1]
        assert (message.method, message.body) == ("MESSAGE", str(number))
        assert message.header("From").startswith("<sip:127.0.0.1>;tag=")
        assert len(message.all("Via")) == 1
    assert len(asked) == 20
    verbs.wait_for("they are counted", lambda: sum(verbs.counter("own_requests")) == 20)
    assert all(verbs.counter("own_requests")), "both workers have sent some"


def test_a_request_that_nobody_answers(verbs: Installation, make_phone: MakePhone) -> None:
    alice = make_phone(verbs, "alice")
    nobody = (("Contact", f"<sip:gone@127.0.0.1:{free_udp_port()}>"),)
    registered = alice.request("REGISTER", "sip:127.0.0.1", to="sip:gone@127.0.0.1", extra=nobody)
    assert registered.status == 200
    begun = time.monotonic()
    assert alice.request("MESSAGE", "sip:gone@127.0.0.1").status == 408
    assert 0.4 < time.monotonic() - begun < 3
    assert alice.request("OPTIONS", "sip:x@127.0.0.1").status == 502
