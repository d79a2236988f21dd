"""A policy script is checked by an operator's mypy, and its mistakes are found by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

RIGHT = """\
from collections.abc import Sequence

from sipshard import (
    Add, Body, Client, Decision, Edit, Forward, Location, Registered, Reject, Remove, Replace,
    Request, RequestTimeout, Respond, Response, Router, Save, Server, Target
)

router = Router()


@router.request("REGISTER")
def register(request: Request) -> Save:
    return Save(request.to_uri.aor)


@router.request("INVITE", "MESSAGE")
async def initial(request: Request) -> Forward | Reject:
    if request.uri.user is None:
        return Reject(484)
    return Forward("sip:gateway.example.com", record_route=True, on_failure=second_choice)


@router.request("SUBSCRIBE")
def subscribe(request: Request, location: Location, server: Server) -> Decision:
    if not server.serves(request.uri):
        return Reject(403, headers=[("Warning", '399 example.com "not here"')])
    return Forward(best(location.lookup(request.uri)), record_route=True)


def best(bindings: Sequence[Registered]) -> list[str]:
    return [binding.uri for binding in bindings if binding.q_milli == 1000]


async def second_choice(request: Request, response: Response) -> Forward | None:
    return Forward("sip:voicemail.example.com") if response.status in (408, 480, 486) else None


@router.request("PUBLISH")
def publish(request: Request, location: Location) -> Forward:
    slow = Target("sip:archive.example.com", q=0.5, ring_timeout=20, edits=[Body(b"", "")])
    edits: list[Edit] = [Add("X-Edge", "1"), Remove("Subject"), Replace("Priority", "normal")]
    phones = [Target(each, edits=edits) for each in location.lookup(request.uri)]
    return Forward([*phones, slow], response_edits=[Remove("Server")], on_response=mark)


def mark(request: Request, response: Response) -> list[Edit] | None:
    return [Add("X-Early", "1")] if response.status < 200 else None


@router.request("OPTIONS")
async def ping(request: Request, client: Client) -> Respond | Reject:
    try:
        answer = await client.request("OPTIONS", request.uri, headers=[("Accept", "*/*")])
    except RequestTimeout:
        return Reject(504)
    return Respond(answer.status)
"""

WRONG = {
    "a misspelt attribute": RIGHT.replace("request.to_uri", "request.too_uri"),
    "a status code as text": RIGHT.replace("Reject(484)", 'Reject("484")'),
    "an attribute that no binding has": RIGHT.replace("binding.q_milli", "binding.q"),
    "a service that does not exist": RIGHT.replace("location.lookup", "location.find"),
    "an edit without its value": RIGHT.replace('Add("X-Edge", "1")', 'Add("X-Edge")'),
    "an edit that is none": RIGHT.replace('[Remove("Server")]', '["Server"]'),
    "a preference as text": RIGHT.replace("q=0.5", 'q="0.5"'),
    "a response that is not awaited": RIGHT.replace("await client.request", "client.request"),
    "a handler of responses that waits": RIGHT.replace("def mark", "async def mark"),
    "a setting that does not exist": RIGHT.replace("record_route", "recordroute"),
}


def _mypy(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = folder / "route.py"
    path.write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(path)]
    command += ["--cache-dir", str(folder.parent / "cache")]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def test_a_typed_policy_passes(tmp_path: Path) -> None:
    done = _mypy(tmp_path, RIGHT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_are_found(tmp_path: Path) -> None:
    for name, text in WRONG.items():
        assert text != RIGHT
        done = _mypy(tmp_path, text)
        assert done.returncode == 1, f"{name} was not found"
        assert "route.py" in done.stdout
