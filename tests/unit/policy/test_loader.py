"""A policy file is imported, or the operator is told what is wrong with it and where."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sipshard.errors import ExitCode, PolicyError
from sipshard.policy.loader import load

HANDLER = '@{0}.request("INVITE")\ndef call(request):\n    return Reject(480)\n'
HEAD = "from sipshard import Reject, Router\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "route.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["router", "mine"])
def test_the_router_is_found(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, f"{HEAD}{name} = Router()\n{HANDLER.format(name)}")
    assert load(path).methods == ("INVITE",)


def test_neighbours_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "neighbour_of_the_policy.py").write_text("CODE = 480\n")
    path = written(
        tmp_path,
        f"import neighbour_of_the_policy\n{HEAD}router = Router()\n{HANDLER.format('router')}",
    )
    assert load(path).methods == ("INVITE",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\ndef broken(:\n", r"route\.py:2: "),
        ("import nothing_like_this\n", r"route\.py:1: ModuleNotFoundError: .*nothing_like_this"),
        ("\n\n1 / 0\n", r"route\.py:3: ZeroDivisionError"),
        ("raise SystemExit(7)\n", r"route\.py:1: SystemExit"),
        ("x = 1\n", "no router; write router = Router"),
        ("router = 1\n", "router is a int"),
        (f"{HEAD}a = Router()\nb = Router()\n", "several routers"),
        (f"{HEAD}router = Router()\n", "no handler"),
        (
            f'{HEAD}router = Router()\n@router.request("INVITE")\ndef f(request, databse): ...\n',
            r"route\.py:3: TypeError: .*'databse'",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem) as caught:
        load(written(tmp_path, text))
    assert caught.value.exit_code is ExitCode.POLICY_CANNOT_LOAD


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"No such file or directory; check server\.policy"):
        load(tmp_path / "route.py")


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"must end in \.py"):
        load(tmp_path / "route.cfg")
