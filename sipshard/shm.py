"""Shared memory, and what ties the processes around it together: the façade over the extension.

``Region`` is one segment with a page per worker (heartbeat, counters, samples) and the mailboxes
between them. It has no name for longer than its creation takes: the children inherit the mapping,
and the memory goes when the last process does, whatever kills it.
"""

from __future__ import annotations

import os
import secrets

import posix_ipc

from sipshard._rust import COUNTER_NAMES, Region, die_with_parent, pin_to_cpu

__all__ = ["COUNTER_NAMES", "Region", "create_region", "die_with_parent", "pin_to_cpu"]


def create_region(workers: int, mailbox_bytes: int) -> Region:
    """Makes and maps the region of one server.

    ``mailbox_bytes`` is the size of one ring, a power of two; there are ``workers`` squared. Raises
    OSError when the kernel gives no memory (look at the size of ``/dev/shm``).
    """
    segment = _unnamed_segment(Region.size(workers, mailbox_bytes))
    try:
        return Region.create(segment, workers, mailbox_bytes)
    finally:
        os.close(segment)


def _unnamed_segment(size_bytes: int) -> int:
    """A new POSIX segment's descriptor, its name already removed."""
    name = f"/sipshard-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        segment = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600, size=size_bytes)
    except posix_ipc.Error as error:
        raise OSError(f"no shared memory of {size_bytes} bytes: {error}") from error
    segment.unlink()
    try:
        # Reserve the pages now: a full /dev/shm would otherwise be a SIGBUS in a worker later.
        os.posix_fallocate(segment.fd, 0, size_bytes)
    except OSError:
        segment.close_fd()
        raise
    return int(segment.fd)
