"""What is asked about a next hop, and what the answer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Family = Literal[4, 6]

MIN_TTL_S = 5
"""A shorter time to live would make one query per call; records of 0 are kept for so long."""

MAX_TTL_S = 3_600
"""A longer one would keep a mistake of somebody else's for longer than anybody remembers it."""

MAX_NEGATIVE_TTL_S = 300
"""A name that was just added must not stay unknown for long, whatever its SOA says."""

MAX_HOPS = 32
"""So many ways to one name are remembered, the best ones."""


class Question(NamedTuple):
    """What a URI says about where to go (RFC 3263 §4); its host is a name, no address."""

    host: str
    port: int
    """0 when the URI has none."""
    transport: str
    """"" when the URI names none."""
    is_secure: bool
    """Whether it is a sips URI."""


class Hop(NamedTuple):
    """One way to a server. Of those with the lowest ``priority``, ``weight`` gives the share."""

    transport: str
    address: str
    port: int
    priority: int
    weight: int


class Location(NamedTuple):
    """All ways to a name, the best first; none means that there is no such service."""

    hops: Sequence[Hop]
    ttl_s: int


class LookupFailedError(Exception):
    """Nobody could be asked, or nobody answered: it says nothing about the name."""
