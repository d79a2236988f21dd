"""Locks against a second server on the same address or in the same directory.

SO_REUSEPORT lets two servers of one user share a port without a word, each getting half of the
datagrams. So the supervisor takes a ``flock`` per listen address, in a directory that all servers
of the machine share. A wildcard overlaps every address with its port: it takes the port's lock
alone, a single address takes the port's lock with others and its own alone.

The files stay when the server has gone: removing a lock file races with whoever opens it. The
descriptors are inherited by the children on purpose, because an address is in use as long as any
process holds its sockets.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sipshard.config import ListenAddress
from sipshard.errors import AddressInUseError, BootError

# A supervisor that was killed takes its children along, but they need a moment: until then the
# locks are theirs. Whoever starts the server again at once waits for so long.
ORPHANS_END_S = 3.0
_RETRY_S = 0.02

_SYSTEM_DIRECTORY = Path("/run/lock")


def lock_directory() -> Path:
    """Where the locks of all servers of this machine are."""
    if os.access(_SYSTEM_DIRECTORY, os.W_OK | os.X_OK):
        return _SYSTEM_DIRECTORY
    return Path(tempfile.gettempdir())


@contextmanager
def address_lock(address: ListenAddress, directory: Path) -> Iterator[None]:
    """Holds a listen address.

    Raises AddressInUseError when another process does, BootError when there can be no lock.
    """
    family = "6" if address.is_ipv6 else "4"
    # All streams share the ports of TCP.
    protocol = "tcp" if address.is_stream else "udp"
    port_file = directory / f"sipshard-{protocol}{family}-{address.port}.lock"
    host = address.host.replace(":", "_")
    address_file = port_file.with_name(f"{port_file.stem}-{host}.lock")
    port_mode = fcntl.LOCK_EX if address.is_wildcard else fcntl.LOCK_SH
    what = f"{address} is in use"
    with _held(port_file, port_mode, what), _held(address_file, fcntl.LOCK_EX, what):
        yield


@contextmanager
def pid_file(runtime_directory: Path) -> Iterator[None]:
    """Holds the runtime directory and shows our pid in it.

    Raises AddressInUseError when another supervisor holds it, BootError when it cannot be written.
    """
    path = runtime_directory / "supervisor.pid"
    with _held(path, fcntl.LOCK_EX, f"{runtime_directory} is in use"):
        try:
            yield
        finally:
            with suppress(OSError):
                os.truncate(path, 0)


@contextmanager
def _held(path: Path, mode: int, what: str) -> Iterator[None]:
    try:
        descriptor = _open(path)
    except OSError as error:
        raise BootError(f"lock {path}: {error.strerror}") from None
    try:
        _lock(descriptor, mode, path, what)
        with suppress(OSError):
            os.truncate(path, 0)
            path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, mode: int, path: Path, what: str) -> None:
    """Takes the lock; waits for it only while those that hold it are about to end anyhow."""
    deadline = time.monotonic() + ORPHANS_END_S
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if _is_running(_pid_in(path)) or time.monotonic() >= deadline:
                raise AddressInUseError(f"{what}{_holder(path)}") from None
            time.sleep(_RETRY_S)
        else:
            return


def _is_running(pid: int | None) -> bool:
    """Whether there may be such a process; without a number nobody knows, so yes."""
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # It is there, but another user's.
        return True
    return True


def _open(path: Path) -> int:
    """Opens or makes a lock file; reading is enough for flock, and all that another user may."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        with suppress(FileExistsError):
            made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            # Whatever our umask: a server of another user must be able to try the lock.
            os.fchmod(made, 0o644)
            os.close(made)
        return os.open(path, flags)


def _holder(path: Path) -> str:
    pid = _pid_in(path)
    return "" if pid is None else f" by the server with pid {pid}"


def _pid_in(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    # As long as the kernel's largest (2^22): what is longer is no pid of ours.
    return int(text) if text.isdigit() and len(text) <= 7 else None
