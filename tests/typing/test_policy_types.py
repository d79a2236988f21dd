"""A policy script is checked by an operator's mypy, and its mistakes are found by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

RIGHT = """\
from collections.abc import Sequence

from sipshard import (
    Decision, Forward, Location, Registered, Reject, Request, Response, Router, Save, Server
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
"""

WRONG = {
    "a misspelt attribute": RIGHT.replace("request.to_uri", "request.too_uri"),
    "a status code as text": RIGHT.replace("Reject(484)", 'Reject("484")'),
    "an attribute that no binding has": RIGHT.replace("binding.q_milli", "binding.q"),
    "a service that does not exist": RIGHT.replace("location.lookup", "location.find"),
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
