"""Every setting, declared once: name, default, validator and documentation.

The ``description`` of a field is what the reference page says about it; the docstring of a class is
the introduction of its table. A validator raises ``problem(what, remedy)``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from sipshard.config.address import (
    ListenAddress,
    parse_domain,
    parse_host_port,
    parse_listen_address,
)
from sipshard.config.connections import Connections
from sipshard.config.dns import Dns
from sipshard.config.overload import Overload
from sipshard.config.problem import problem
from sipshard.config.table import Number, RelativePath, Table
from sipshard.config.tls import Tls

# State is cut into this many partitions, and a worker without a partition would never get a call.
PARTITIONS = 256

Domain = Annotated[str, BeforeValidator(parse_domain)]
Address = Annotated[ListenAddress, BeforeValidator(parse_listen_address)]


def _worker_number(value: object) -> int | str:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (is_number and value in range(1, PARTITIONS + 1)):
        return value  # type: ignore[return-value]  # the line above has narrowed it
    raise problem(
        f'{json.dumps(value, default=str)} is neither "auto" nor a number from 1 to {PARTITIONS}',
        'write workers = "auto" for one per CPU, or a number such as workers = 2',
    )


Workers = Annotated[int | Literal["auto"], BeforeValidator(_worker_number)]
HostPort = Annotated[tuple[str, int], BeforeValidator(parse_host_port)]


def _somewhere(addresses: tuple[ListenAddress, ...]) -> tuple[ListenAddress, ...]:
    if not addresses:
        raise problem("is empty", 'write at least one, as listen = ["udp:127.0.0.1:5060"]')
    return addresses


class Server(Table):
    """Where the server listens, for whom, and with how many workers."""

    listen: Annotated[tuple[Address, ...], AfterValidator(_somewhere)] = Field(
        default=(ListenAddress("udp", "127.0.0.1", 5060),),
        description="Addresses to listen on, as `transport:address:port`; IPv6 in brackets. "
        "Transports are `udp`, `tcp`, `tls`, `ws` and `wss`; a `tcp` or `tls` port also serves "
        "WebSocket clients. Port 0 takes any free port.",
    )
    advertise: Mapping[StrictStr, HostPort] = Field(
        default={},
        description="What a listener calls itself towards its peers (Via, Record-Route): a table "
        "from an address in `listen` to `host:port`. A wildcard (`0.0.0.0`, `[::]`) needs one; an "
        "address behind a static NAT wants one.",
    )
    workers: Workers = Field(
        default="auto",
        description='Signalling processes, 1 to 256, or `"auto"` for one per usable CPU.',
    )
    runtime_dir: RelativePath = Field(
        default=Path("run"),
        description="Directory of the control socket and the pid file; made if it is missing.",
    )
    domains: tuple[Domain, ...] = Field(
        default=(),
        description="Domains this server is responsible for. Its own listen addresses always are.",
    )
    policy: RelativePath | None = Field(
        default=None, description="Python file with the policy. Without it, the built-in one."
    )
    steering: Literal["kernel", "off"] = Field(
        default="kernel",
        description="`kernel` lets a program in the kernel hand each datagram to the worker of its "
        "call; with `off` the kernel spreads by address and the workers pass messages on. Both are "
        "correct; the first is faster.",
    )
    pin: StrictBool = Field(default=True, description="Keep every worker on one CPU.")
    batch_delay_us: StrictInt = Field(
        default=4000,
        ge=0,
        le=10_000,
        description="How long, in microseconds, a busy worker lets messages gather before it "
        "takes them together. It saves CPU under load and adds up to that much delay for each "
        "worker that a message passes; a quiet worker never waits. `0` turns it off.",
    )
    stop_timeout_s: Number = Field(
        default=10.0,
        ge=0,
        description="How long open transactions may take to finish when the server stops.",
    )

    @property
    def worker_count(self) -> int:
        """The number of signalling workers, with "auto" resolved for this process."""
        if self.workers == "auto":
            return min(len(os.sched_getaffinity(0)), PARTITIONS)
        return self.workers

    @model_validator(mode="after")
    def _addresses_fit(self) -> Self:
        written = [str(address) for address in self.listen]
        _share_no_port(self.listen)
        for address in self.listen:
            if written.count(str(address)) > 1 and address.port != 0:
                raise problem(f'listen names "{address}" twice', "keep one of them", "listen")
            if address.is_wildcard and str(address) not in self.advertise:
                raise problem(
                    f'"{address}" is every address of the machine, and peers need one to answer to',
                    f'add [server.advertise] "{address}" = "<public address>:{address.port}", '
                    "or listen on one address",
                    "listen",
                )
        for name in self.advertise:
            if name not in written:
                raise problem(
                    f'advertise names "{name}", which is not in listen',
                    f"use one of: {', '.join(written)}",
                    "advertise",
                )
        return self


def _share_no_port(addresses: tuple[ListenAddress, ...]) -> None:
    """All transports but UDP need a TCP port of their own."""
    taken: dict[tuple[str, int], ListenAddress] = {}
    for address in addresses:
        if not address.is_stream or address.port == 0:
            continue
        other = taken.setdefault((address.host, address.port), address)
        if other is not address and other.transport != address.transport:
            raise problem(
                f'"{other}" and "{address}" are the same TCP port',
                "keep one: a tcp port serves ws clients, too, and a tls port wss clients",
                "listen",
            )


class Location(Table):
    """Where registrations are kept, and the bounds of one."""

    path: RelativePath = Field(
        default=Path("var/location"),
        description="Directory of the LMDB environment; made if it is missing.",
    )
    durability: Literal["disk", "process"] = Field(
        default="disk",
        description="What a registration survives once it is answered: `disk` a power failure, "
        "`process` the death of any process but not of the machine; it is faster.",
    )
    max_contacts: StrictInt = Field(
        default=10, ge=1, le=1000, description="Bindings that one address of record may have."
    )
    default_expires_s: StrictInt = Field(
        default=3600, ge=1, description="Lifetime of a binding that asks for none."
    )
    min_expires_s: StrictInt = Field(
        default=60,
        ge=1,
        description="Shortest lifetime; a REGISTER that asks for less gets 423 (RFC 3261 §10.3).",
    )
    max_expires_s: StrictInt = Field(
        default=86400, ge=1, description="Longest lifetime; a wish for more is shortened to it."
    )
    map_size_mb: StrictInt = Field(
        default=1024, ge=1, description="Size the LMDB map starts with; it grows when it must."
    )
    group_commit_ms: Number = Field(
        default=10.0,
        ge=0,
        le=1000,
        description="How long a registration may wait for others to share its commit.",
    )

    @model_validator(mode="after")
    def _lifetimes_are_ordered(self) -> Self:
        if not self.min_expires_s <= self.default_expires_s <= self.max_expires_s:
            raise problem(
                f"min_expires_s = {self.min_expires_s}, default_expires_s = "
                f"{self.default_expires_s} and max_expires_s = {self.max_expires_s} contradict",
                "make them min_expires_s <= default_expires_s <= max_expires_s",
                self._culprit("default_expires_s", "min_expires_s", "max_expires_s"),
            )
        return self


def _nobody_challenged(methods: tuple[str, ...]) -> tuple[str, ...]:
    if methods:
        raise problem("authentication is not in this version", "write required = []")
    return methods


class Auth(Table):
    """Who must prove who he is. This version authenticates nobody, so it insists on `[]`."""

    required: Annotated[tuple[StrictStr, ...], AfterValidator(_nobody_challenged)] = Field(
        default=(), description="Methods that are challenged; only `[]` in this version."
    )
    realm: StrictStr | None = Field(
        default=None, description="Realm of the challenge; no effect in this version."
    )
    algorithms: tuple[Literal["SHA-256", "SHA-512-256", "MD5"], ...] = Field(
        default=("SHA-256", "MD5"),
        description="Digest algorithms in the order they are offered; no effect in this version.",
    )
    credentials: RelativePath | None = Field(
        default=None, description="File with the accounts; no effect in this version."
    )


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        nearest = 1 << value.bit_length()
        raise problem(f"{value} is no power of two", f"write {nearest} or {nearest // 2}")
    return value


class Limits(Table):
    """What the server takes on at most; beyond it new work is answered with 503."""

    max_dialogs: StrictInt = Field(
        default=100_000, ge=1, description="Dialogs; no effect in this version, which keeps none."
    )
    max_transactions: StrictInt = Field(
        default=200_000, ge=1, description="Transactions of one worker at a time; about 3 kB each."
    )
    max_branches: StrictInt = Field(
        default=12,
        ge=1,
        le=64,
        description="Targets that one request may be forked to, redirections included; the least "
        "preferred ones are left out (RFC 5393 §3).",
    )
    mailbox_kb: Annotated[StrictInt, AfterValidator(_power_of_two)] = Field(
        default=256,
        ge=128,
        le=65536,
        description="Size of the ring from one worker to another, a power of two in KiB. It must "
        "hold a whole message of 64 KiB.",
    )


class Transaction(Table):
    """The timers of RFC 3261 §17 and §16.6, and what is too large for a datagram (§18.1.1)."""

    t1_ms: StrictInt = Field(default=500, ge=1, le=60_000, description="T1, the round-trip time.")
    t2_ms: StrictInt = Field(
        default=4000, ge=1, le=60_000, description="T2, the longest pause between retransmissions."
    )
    t4_ms: StrictInt = Field(
        default=5000, ge=1, le=60_000, description="T4, the longest life of a message on the way."
    )
    timer_c_s: Number = Field(
        default=180.0, gt=0, description="Timer C: how long a proxied INVITE may go unanswered."
    )
    ring_timeout_s: Number = Field(
        default=0.0,
        ge=0,
        description="How long a target may ring before the next one is tried; 0 for Timer C.",
    )

    udp_max_bytes: StrictInt = Field(
        default=1300,
        ge=0,
        description="A request that may be longer goes by TCP where its target did not ask for "
        "`transport=udp`, and by UDP after all where TCP fails; 0 for never. It needs a `tcp` "
        "listener.",
    )

    @model_validator(mode="after")
    def _timers_are_ordered(self) -> Self:
        if self.t1_ms > self.t2_ms:
            raise problem(
                f"t1_ms = {self.t1_ms} is above t2_ms = {self.t2_ms}",
                "make t2_ms at least t1_ms (RFC 3261 §17.1.2.1)",
                self._culprit("t1_ms", "t2_ms"),
            )
        return self


class Watchdog(Table):
    """When a worker is replaced.

    Memory means anonymous resident memory: what the process allocated itself. Pages of the
    location's file and of the shared segment belong to no worker and do not count.
    """

    interval_s: Number = Field(
        default=1.0, ge=0.05, le=60, description="Time between two looks at every process."
    )
    soft_limit_mb: StrictInt = Field(
        default=512,
        ge=0,
        description="Memory above which a worker is replaced after it has finished its "
        "transactions; 0 for never.",
    )
    hard_limit_mb: StrictInt = Field(
        default=1024,
        ge=0,
        description="Memory above which a process is ended at once; 0 for never.",
    )
    drain_timeout_s: Number = Field(
        default=60.0, gt=0, description="How long a worker that is being replaced may take."
    )
    heartbeat_timeout_s: Number = Field(
        default=10.0, gt=0, description="Silence after which a process counts as stuck."
    )

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if 0 < self.hard_limit_mb <= self.soft_limit_mb:
            raise problem(
                f"soft_limit_mb = {self.soft_limit_mb} is not below "
                f"hard_limit_mb = {self.hard_limit_mb}",
                "lower soft_limit_mb, or raise hard_limit_mb",
                self._culprit("soft_limit_mb", "hard_limit_mb"),
            )
        if self.heartbeat_timeout_s < 2 * self.interval_s:
            raise problem(
                f"heartbeat_timeout_s = {self.heartbeat_timeout_s:g} is below twice "
                f"interval_s = {self.interval_s:g}",
                "raise heartbeat_timeout_s, or lower interval_s",
                self._culprit("heartbeat_timeout_s", "interval_s"),
            )
        return self


class Log(Table):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is written."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for collectors: one object a line."
    )


class Configuration(Table):
    """All settings of one server."""

    server: Server = Field(default_factory=Server)
    location: Location = Field(default_factory=Location)
    auth: Auth = Field(default_factory=Auth)
    limits: Limits = Field(default_factory=Limits)
    overload: Overload = Field(default_factory=Overload)
    transaction: Transaction = Field(default_factory=Transaction)
    dns: Dns = Field(default_factory=Dns)
    connections: Connections = Field(default_factory=Connections)
    tls: Tls = Field(default_factory=Tls)
    watchdog: Watchdog = Field(default_factory=Watchdog)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _secure_listeners_have_a_certificate(self) -> Self:
        for address in self.server.listen:
            if address.is_secure and not self.tls.certificates:
                raise problem(
                    f'listen names "{address}", and there is no certificate',
                    "add [tls] certificates = [{ certificate = FILE, key = FILE }]",
                    "server",
                )
        return self

    @classmethod
    def of(cls, tables: Mapping[str, Any], directory: Path) -> Self:
        """Checks parsed TOML; relative paths start from ``directory``. Raises ValidationError."""
        # Absent tables are checked, too, so that their paths are resolved like written ones.
        whole = {name: tables.get(name, {}) for name in cls.model_fields} | dict(tables)
        return cls.model_validate(whole, context={"directory": directory})
