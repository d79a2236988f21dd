"""One round: one server, started fresh, through the same two phases as the other.

Phase *call*: INVITE 100 180 200 ACK BYE 200 with location lookup and Record-Route, from one source
address to one callee address, over many users. Phase *register*: one REGISTER per unit, the first
pass over the users refreshes their bindings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.server import Server, ServerError, Usage
from loadtest.sipp import HOST, Load, Sipp, SippResult, free_udp_port, write_users

# What a server does for the last calls after the generator has seen their end.
SETTLE_S = 1.0


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
    """Both phases of one server in one round."""

    server: str
    call: PhaseResult
    register: PhaseResult

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that forbids using this round."""
        return self.call.problems + self.register.problems


def run_round(server: Server, plan: Plan) -> RoundResult:
    """Starts the server, runs both phases and stops it. Raises ServerError or SippError."""
    folder = server.folder
    with server:
        users = write_users(folder / "users.csv", plan.users)
        with callee(folder / "callee") as phone:
            contact = f"{HOST}:{phone.port}"
            enrolled = register(server, Load(plan.users, 1000, users), contact, folder / "enrol")
            if not enrolled.is_clean:
                raise ServerError(f"{server.name} cannot register: {enrolled.errors}")
            call = _measured_calls(server, plan, users, phone)
            registered = _measured_registers(server, plan, users, contact)
    return RoundResult(server.name, call, registered)


def callee(folder: Path) -> Sipp:
    """A callee on a free port, to be used as a context manager."""
    return Sipp("call_uas", free_udp_port(), folder)


def register(server: Server, load: Load, contact: str, folder: Path) -> SippResult:
    """Registers the load's users at ``contact`` (``host:port``)."""
    keys = {"domain": HOST, "contact": contact}
    with Sipp("register", free_udp_port(), folder, server.address, load, keys) as sipp:
        return sipp.wait()


def call(remote: str, load: Load, folder: Path) -> SippResult:
    """Calls the load's users through ``remote`` (``host:port``)."""
    with Sipp("call_uac", free_udp_port(), folder, remote, load, {"domain": HOST}) as sipp:
        return sipp.wait()


def check_generator(plan: Plan, folder: Path) -> SippResult:
    """Caller straight to callee, half as fast again as the plan: no bottleneck may show."""
    rate_per_s = plan.calls_per_s * 3 // 2
    folder.mkdir(parents=True, exist_ok=True)
    users = write_users(folder / "users.csv", plan.users)
    with callee(folder / "callee") as phone:
        load = Load(rate_per_s * min(plan.seconds, 5), rate_per_s, users)
        return call(f"{HOST}:{phone.port}", load, folder / "caller")


def _measured_calls(server: Server, plan: Plan, users: Path, phone: Sipp) -> PhaseResult:
    load = Load(plan.calls_per_s * plan.seconds, plan.calls_per_s, users)
    before, counted_before = server.usage(), server.counted().invites
    result = call(server.address, load, server.folder / "call")
    time.sleep(SETTLE_S)
    after, counted = server.usage(), server.counted().invites - counted_before
    problems = _problems("call", load, result, counted)
    answered = phone.result()
    if answered.failed:
        problems += (f"call: {answered.failed} calls failed for the callee",)
    return _phase_result(result, before, after, problems)


def _measured_registers(server: Server, plan: Plan, users: Path, contact: str) -> PhaseResult:
    load = Load(plan.registers_per_s * plan.seconds, plan.registers_per_s, users)
    before, counted_before = server.usage(), server.counted().registers
    result = register(server, load, contact, server.folder / "register")
    time.sleep(SETTLE_S)
    after, counted = server.usage(), server.counted().registers - counted_before
    return _phase_result(result, before, after, _problems("register", load, result, counted))


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
