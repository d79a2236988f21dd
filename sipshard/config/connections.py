"""The settings of connections."""

from __future__ import annotations

from pydantic import Field, StrictBool, StrictInt

from sipshard.config.table import Number, Table


class Connections(Table):
    """What connections may do: those of TCP, TLS and WebSocket clients, and those that we open."""

    max: StrictInt = Field(
        default=100_000,
        ge=1,
        description="Connections of one worker; further ones are closed at once. The process's "
        "limit of open files is raised as far as the system allows, and bounds them as well.",
    )
    max_per_source: StrictInt = Field(
        default=10_000,
        ge=1,
        description="Connections of one worker from one address. Whole offices share one behind "
        "NAT.",
    )
    queue_kb: StrictInt = Field(
        default=256,
        ge=64,
        le=65536,
        description="What may wait for a peer that does not read, in KiB; beyond it the connection "
        "is closed.",
    )
    connect_timeout_s: Number = Field(
        default=4.0,
        gt=0,
        description="How long connecting to others, with TLS, may take before the next way is "
        "tried.",
    )
    handshake_timeout_s: Number = Field(
        default=10.0,
        gt=0,
        description="How long the handshakes of those who connect to us may take.",
    )
    message_timeout_s: Number = Field(
        default=10.0,
        gt=0,
        description="How long a message may take from its first byte to its last.",
    )
    idle_timeout_s: Number = Field(
        default=3600.0,
        gt=0,
        description="How long a connection may be silent. Phones keep theirs alive by line ends "
        "(RFC 5626 §4.4.1) or by registering again.",
    )
    proxy_protocol: StrictBool = Field(
        default=False,
        description="Whether every accepted connection begins with a PROXY protocol v2 header, as "
        "load balancers send it. Turn it on only if nobody else can connect.",
    )
