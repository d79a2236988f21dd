"""The wheel holds what the folders hold, and nothing that could collide with other packages."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LINKED = ("workers", "supervisor")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built as ``make wheel`` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.executable).parent / "maturin"
    command = [str(maturin), "build", "--release", "--locked", "--quiet", "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=900)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("folder", LINKED)
def test_linked_folders_are_packed_as_they_are(wheel: zipfile.ZipFile, folder: str) -> None:
    """They are real folders at the top and links below sipshard/, which maturin does not follow."""
    prefix = f"sipshard/{folder}/"
    packed = {
        name.removeprefix(prefix): wheel.read(name)
        for name in wheel.namelist()
        if name.startswith(prefix)
    }
    assert packed == _files_of(ROOT / folder)


def test_the_library_is_packed_whole(wheel: zipfile.ZipFile) -> None:
    on_disk = {f"sipshard/{name}" for name in _files_of(ROOT / "sipshard")}
    packed = {name for name in wheel.namelist() if _is_ours(name)}
    assert on_disk == packed


def test_nothing_generic_lands_in_site_packages(wheel: zipfile.ZipFile) -> None:
    """PyPI has a ``supervisor``; two packages of one name overwrite each other in silence."""
    tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sipshard"}


def test_one_extension_for_every_python_from_3_11(wheel: zipfile.ZipFile) -> None:
    extensions = [name for name in wheel.namelist() if name.endswith(".so")]
    assert extensions == ["sipshard/_rust.abi3.so"]
    assert wheel.filename is not None
    assert "-cp311-abi3-" in wheel.filename


def test_the_types_are_packed(wheel: zipfile.ZipFile) -> None:
    """PEP 561: without the marker no type checker reads them."""
    assert {"sipshard/py.typed", "sipshard/_rust.pyi"} <= set(wheel.namelist())


def _is_ours(name: str) -> bool:
    linked = tuple(f"sipshard/{folder}/" for folder in LINKED)
    return name.startswith("sipshard/") and not name.startswith(linked) and not name.endswith(".so")


def _files_of(folder: Path) -> dict[str, bytes]:
    """Path below the folder to contents; links are not followed, what is built is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".so")
    }
