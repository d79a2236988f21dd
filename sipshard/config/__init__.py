"""The configuration: one TOML file, checked whole before anything starts.

``load(path)`` gives a frozen :class:`Configuration` or raises ConfigurationError with every problem
of the file. The settings are declared once, in :mod:`sipshard.config.model`; the reference page
``docs/config.md`` is generated from them.
"""

from sipshard.config.address import ListenAddress
from sipshard.config.connections import Connections
from sipshard.config.dns import Dns
from sipshard.config.loader import SEARCH_PATH, load, locate
from sipshard.config.model import (
    Auth,
    Configuration,
    Limits,
    Location,
    Log,
    Server,
    Transaction,
    Watchdog,
)

__all__ = [
    "SEARCH_PATH",
    "Auth",
    "Configuration",
    "Connections",
    "Dns",
    "Limits",
    "ListenAddress",
    "Location",
    "Log",
    "Server",
    "Transaction",
    "Watchdog",
    "load",
    "locate",
]
