"""A file of the system that others may change while we run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final


@final
class WatchedFile:
    """Tells when ``path`` has another content than at the last look.

    A look is one system call that touches no disk, and there is one per lookup at most.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = (-1, -1, -1)

    def has_changed(self) -> bool:
        """Whether it was replaced, changed, made or removed since the last call; at first: yes."""
        try:
            status = os.stat(self.path)
            now = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            now = None
        has_changed = now != self._seen
        self._seen = now
        return has_changed
