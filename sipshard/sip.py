"""SIP as the rest of the library sees it: messages, URIs and the engine, all from the extension.

This is one of two modules that may import :mod:`sipshard._rust` (the other is
:mod:`sipshard.shm`), so that everything above it can be read without knowing Rust.
"""

from __future__ import annotations

from sipshard._rust import (
    COUNTER_NAMES,
    Contact,
    Engine,
    Request,
    Response,
    Tls,
    Uri,
    attach_steering,
    check_edits,
    check_response_headers,
    raise_descriptor_limit,
    shard_of,
)

__all__ = [
    "COUNTER_NAMES",
    "Contact",
    "Engine",
    "Request",
    "Response",
    "Tls",
    "Uri",
    "attach_steering",
    "check_edits",
    "check_response_headers",
    "raise_descriptor_limit",
    "shard_of",
]
