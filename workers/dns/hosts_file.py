"""The names that the machine knows by itself: /etc/hosts, and localhost."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import final

from sipshard.log import logger
from sipshard.workers.dns.watched_file import WatchedFile

PATH = Path("/etc/hosts")

MAX_NAMES = 10_000
"""So many names are read from the file; lists of blocked advertisers can be far longer."""

# RFC 6761 §6.3: these names are never asked of a server.
_LOCALHOST = ("127.0.0.1", "::1")


@final
class HostsFile:
    """The addresses in a hosts(5) file, read again when it changes."""

    def __init__(self, path: Path = PATH) -> None:
        self._file = WatchedFile(path)
        self._addresses: dict[str, list[str]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of ``name`` (any case) in the order of the file; none if unknown."""
        if self._file.has_changed():
            self._addresses = self._read()
        name = name.lower().rstrip(".")
        found = self._addresses.get(name)
        if found is None and (name == "localhost" or name.endswith(".localhost")):
            return _LOCALHOST
        return tuple(found or ())

    def _read(self) -> dict[str, list[str]]:
        path = self._file.path
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            logger.warning("%s cannot be read: %s", path, error)
            return {}
        addresses: dict[str, list[str]] = {}
        for line in text.splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if not _is_address(address):
                continue
            for name in (each.lower().rstrip(".") for each in names):
                if name not in addresses and len(addresses) >= MAX_NAMES:
                    logger.warning("%s has more than %d names", path, MAX_NAMES)
                    return addresses
                addresses.setdefault(name, []).append(address)
        return addresses


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
