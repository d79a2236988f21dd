"""The secret of an installation, from which the hash that shards calls starts."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from sipshard.log import logger

SECRET_BYTES = 16


def installation_secret(location: Path) -> bytes:
    """Reads the secret beside the location's data, or makes it there the first time.

    Where that cannot be done the server gets one for this run: nothing on disk depends on it yet,
    and a location that cannot be written must not keep calls from going on.
    """
    path = location / "installation.key"
    try:
        return _read_or_make(path)
    except (OSError, ValueError) as error:
        logger.warning("using a secret for this run only: %s: %s", path, error)
        return secrets.token_bytes(SECRET_BYTES)


def _read_or_make(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"has {len(secret)} bytes instead of {SECRET_BYTES}")
    return secret


def _make(path: Path) -> None:
    """Writes a new secret under another name first: nobody must read half of one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(SECRET_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
