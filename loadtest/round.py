"""One round: one server, started fresh, through the same three phases as the other.

Phase *call*: INVITE 100 180 200 ACK BYE 200 with location lookup and Record-Route, from one source
address to one callee address, over many users. Phase *tcp_call*: the same over TCP, through one
connection of the caller's, to users of their own. Phase *register*: one REGISTER per unit over UDP,
the first pass over the users refreshes their bindings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.server import Server, ServerError, Usage
from loadtest.sipp import (
    HOST,
    Load,
    Sipp,
    SippResult,
    Transport,
    free_port,
    free_udp_port,
    write_users,
)

# What a server does for the last calls after the generator has seen their end.
SETTLE_S = 1.0
# How fast users are registered before they are called.
ENROL_PER_S = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """The load of one round; the same for every server."""

    seconds: int
    calls_per_s: int
    registers_per_s: int
    users: int


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """What one phase gave: the generator's figures, the server's count, the cost of one unit.

    ``cpu_us`` is CPU of all server processes per unit, ``memory_bytes`` their memory at the end.
    ``problems`` are reasons not to use the figures; empty for a good phase.
    """

    units: int
    failures: int
    retransmissions: int
    cpu_us: float
    memory_bytes: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoundResult:
    """All phases of one server in one round."""

    server: str
    call: PhaseResult
    tcp_call: PhaseResult
    register: PhaseResult

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that forbids using this round."""
        return self.call.problems + self.tcp_call.problems + self.register.problems


def run_round(server: Server, plan: Plan) -> RoundResult:
    """Starts the server, runs all phases and stops it. Raises ServerError or SippError."""
    # One for all phases, so that the bindings of the calls are refreshed later.
    port = free_port()
    with server:
        call = _measured_calls(server, plan, "udp", port)
        tcp_call = _measured_calls(server, plan, "tcp", port)
        registered = _measured_registers(server, plan, port)
    return RoundResult(server.name, call, tcp_call, registered)


def register(server: Server, load: Load, contact: str, folder: Path) -> SippResult:
    """Registers the load's users at ``contact`` (``host:port``)."""
    keys = {"domain": HOST, "contact": contact}
    with Sipp("register", free_udp_port(), folder, server.address, load, keys) as sipp:
        return sipp.wait()


def call(remote: str, load: Load, folder: Path, transport: Transport = "udp") -> SippResult:
    """Calls the load's users through ``remote`` (``host:port``)."""
    keys = {"domain": HOST}
    with Sipp("call_uac", free_port(), folder, remote, load, keys, transport) as sipp:
        return sipp.wait()


def check_generator(plan: Plan, folder: Path) -> SippResult:
    """Caller straight to callee, half as fast again as the plan: no bottleneck may show."""
    rate_per_s = plan.calls_per_s * 3 // 2
    folder.mkdir(parents=True, exist_ok=True)
    users = write_users(folder / "users.csv", plan.users)
    with Sipp("call_uas", free_udp_port(), folder / "callee") as phone:
        load = Load(rate_per_s * min(plan.seconds, 5), rate_per_s, users)
        return call(f"{HOST}:{phone.port}", load, folder / "caller")


def _measured_calls(server: Server, plan: Plan, transport: Transport, port: int) -> PhaseResult:
    unit = {"udp": "call", "tcp": "tcp_call"}[transport]
    users = _users(server, plan, transport)
    load = Load(plan.calls_per_s * plan.seconds, plan.calls_per_s, users)
    folder = server.folder / f"{unit}-callee"
    with Sipp("call_uas", port, folder, transport=transport) as phone:
        enrolment = Load(plan.users, ENROL_PER_S, users)
        contact = _contact(port, transport)
        enrolled = register(server, enrolment, contact, server.folder / f"{unit}-enrol")
        if not enrolled.is_clean:
            raise ServerError(f"{server.name} cannot register: {enrolled.errors}")
        before, counted_before = server.usage(), server.counted().invites
        result = call(server.address, load, server.folder / unit, transport)
        time.sleep(SETTLE_S)
        after, counted = server.usage(), server.counted().invites - counted_before
        answered = phone.result()
    problems = _problems(unit, load, result, counted)
    if answered.failed:
        problems += (f"{unit}: {answered.failed} calls failed for the callee",)
    return _phase_result(result, before, after, problems)


def _measured_registers(server: Server, plan: Plan, port: int) -> PhaseResult:
    users = _users(server, plan, "udp")
    load = Load(plan.registers_per_s * plan.seconds, plan.registers_per_s, users)
    before, counted_before = server.usage(), server.counted().registers
    result = register(server, load, _contact(port, "udp"), server.folder / "register")
    time.sleep(SETTLE_S)
    after, counted = server.usage(), server.counted().registers - counted_before
    return _phase_result(result, before, after, _problems("register", load, result, counted))


def _users(server: Server, plan: Plan, transport: Transport) -> Path:
    """The users that are reached over ``transport``: nobody has two bindings, so no call forks."""
    return write_users(server.folder / f"{transport}-users.csv", plan.users, transport[0])


def _contact(port: int, transport: Transport) -> str:
    return f"{HOST}:{port};transport={transport}"


def _problems(phase: str, load: Load, result: SippResult, counted: int) -> tuple[str, ...]:
    problems = []
    if not result.is_clean:
        problems.append(f"{phase}: {result.failed} of {result.created} failed")
    if result.created != load.calls:
        problems.append(f"{phase}: {result.created} made of {load.calls} planned")
    if result.rate_per_s < 0.95 * load.rate_per_s:
        problems.append(f"{phase}: {result.rate_per_s:.0f}/s made of {load.rate_per_s}/s planned")
    # A server that does not tell retransmissions from requests may have counted those, too.
    if not result.created <= counted <= result.created + result.retransmissions:
        problems.append(f"{phase}: the server counted {counted}, SIPp {result.created}")
    return tuple(problems)


def _phase_result(
    result: SippResult, before: Usage, after: Usage, problems: tuple[str, ...]
) -> PhaseResult:
    return PhaseResult(
        units=result.created,
        failures=result.failed,
        retransmissions=result.retransmissions,
        cpu_us=(after.cpu_s - before.cpu_s) * 1e6 / max(result.created, 1),
        memory_bytes=after.memory_bytes,
        problems=problems,
    )
