"""A world for the arbiter: processes that exist on paper and a clock that only we move."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sipshard.config import Configuration
from sipshard.supervisor.arbiter import Arbiter, Surroundings
from sipshard.supervisor.child import Role
from sipshard.supervisor.events import ChildBeat, ChildExited, ChildReady, Event, SignalReceived
from sipshard.supervisor.watchdog import MEBIBYTE, Sample, Watchdog

WORKERS = (Role("signalling", 0), Role("signalling", 1))
ROLES = (*WORKERS, Role("control"), Role("janitor"))

# A script that forgets to stop the arbiter must fail, not hang.
LONGEST_RUN_S = 600.0


@dataclass
class Spawned:
    """One fork on paper."""

    pid: int
    role: Role
    generation: int
    standby: bool
    at: float


@dataclass
class World:
    """Everything around an arbiter. ``script`` is called before every wait, with the world.

    Children boot in ``boot_s`` unless ``boots`` says otherwise for a pid; they obey SIGKILL and
    SIGTERM at once unless their pid is in ``deaf``.
    """

    settings: Configuration = field(default_factory=Configuration)
    boot_s: float = 0.05
    now: float = 1000.0
    spawned: list[Spawned] = field(default_factory=list)
    signals: list[tuple[float, int, int]] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    living: dict[int, Spawned] = field(default_factory=dict)
    deaf: set[int] = field(default_factory=set)
    allocated_mb: dict[int, int] = field(default_factory=dict)
    pages: dict[int, dict[str, int]] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)
    due: list[tuple[float, Event]] = field(default_factory=list)
    plans: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    on_spawn: Callable[[Spawned], None] | None = None
    announced_at: float | None = None
    fork_error: OSError | None = None
    cleared: list[int] = field(default_factory=list)
    beats: bool = True
    waits: int = 0

    def run(self, roles: tuple[Role, ...] = ROLES) -> int:
        """Runs an arbiter until it ends."""
        watchdog = Watchdog(self.settings.watchdog, self, self)
        surroundings = Surroundings(
            processes=self,
            pages=self,
            watchdog=watchdog,
            clock=lambda: self.now,
            announce=self._announce,
        )
        return Arbiter(roles, self.settings, surroundings).run()

    # What a test plans.

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Does something that many seconds after the beginning."""
        self.plans.append((1000.0 + seconds, action))

    def stop_at(self, seconds: float) -> None:
        """Sends the supervisor SIGTERM that many seconds after the beginning."""
        self.at(seconds, lambda: self.hear(SignalReceived(signal.SIGTERM)))

    def hear(self, event: Event, delay_s: float = 0.0) -> None:
        """Lets the arbiter hear of an event."""
        self.due.append((self.now + delay_s, event))

    def exit(self, pid: int, exit_code: int, delay_s: float = 0.0) -> None:
        """Ends a child."""
        self.hear(ChildExited(pid, exit_code), delay_s)

    def newest(self, role: Role) -> Spawned:
        """The child that was forked last for a role."""
        return [each for each in self.spawned if each.role == role][-1]

    def of(self, role: Role) -> list[Spawned]:
        """All children that were forked for a role."""
        return [each for each in self.spawned if each.role == role]

    # Processes.

    def spawn(self, role: Role, generation: int, *, standby: bool) -> int:
        """Forks on paper."""
        if self.fork_error is not None:
            raise self.fork_error
        child = Spawned(100 + len(self.spawned), role, generation, standby, self.now)
        self.spawned.append(child)
        self.living[child.pid] = child
        if self.on_spawn is not None:
            self.on_spawn(child)
        if not any(_concerns(event, child.pid) for _at, event in self.due):
            self.hear(ChildReady(child.pid), self.boot_s)
        return child.pid

    def send_signal(self, pid: int, number: int) -> None:
        """Notes a signal; SIGKILL and SIGTERM work as they should."""
        assert pid in self.living, f"signal {number} for {pid}, which is gone"
        self.signals.append((self.now, pid, number))
        if number == signal.SIGKILL:
            self.exit(pid, -signal.SIGKILL)
        elif number == signal.SIGTERM and pid not in self.deaf:
            self.exit(pid, 0, delay_s=0.01)

    def command(self, pid: int, command: str) -> None:
        """Notes a command."""
        self.commands.append((pid, command))

    def wait(self, timeout_s: float) -> list[Event]:
        """Moves the clock to what happens next, at most ``timeout_s``."""
        assert timeout_s >= 0
        assert self.now < 1000.0 + LONGEST_RUN_S, "the arbiter was never stopped"
        self.waits += 1
        moments = [at for at, _ in self.due] + [at for at, _ in self.plans]
        self.now = max(self.now, min([self.now + timeout_s, *moments]))
        plans = [plan for plan in self.plans if plan[0] <= self.now]
        self.plans = [plan for plan in self.plans if plan[0] > self.now]
        for _at, action in plans:
            action()
        events = [event for at, event in self.due if at <= self.now]
        self.due = [(at, event) for at, event in self.due if at > self.now]
        return [event for event in events if self._happens(event)] + self._heartbeats()

    def _heartbeats(self) -> list[Event]:
        if not self.beats:
            return []
        return [ChildBeat(each.pid) for each in self.living.values() if not each.role.has_shard]

    def _happens(self, event: Event) -> bool:
        """Whether an event comes true; the dead report nothing."""
        if isinstance(event, SignalReceived):
            return True
        if isinstance(event, ChildExited):
            return self.living.pop(event.pid, None) is not None
        return event.pid in self.living

    # Samples and pages.

    def sample(self, pid: int) -> Sample | None:
        """Measures a child on paper."""
        if pid not in self.living:
            return None
        allocated_bytes = self.allocated_mb.get(pid, 20) * MEBIBYTE
        return Sample(2 * allocated_bytes, allocated_bytes, allocated_bytes, 10, 20)

    def forget(self, pid: int) -> None:
        """Nothing is kept of a child."""

    def page(self, shard: int) -> Mapping[str, int]:
        """The page of a shard; its worker's heart beats unless a test stopped it."""
        if self.beats:
            pids = [each.pid for each in self.living.values() if each.role.shard == shard]
            return {"pid": pids[0] if pids else 0, "heartbeat_ms": int(self.now * 1000)}
        return self.pages.get(shard, {"pid": 0, "heartbeat_ms": 0})

    def write_sample(
        self, shard: int, rss_bytes: int, uss_bytes: int, cpu_ms: int, descriptors: int
    ) -> None:
        """Notes the resident size."""
        self.pages.setdefault(shard, {})["rss_bytes"] = rss_bytes

    def clear_work(self, shard: int) -> None:
        """Notes that nobody works on a shard."""
        self.cleared.append(shard)

    def write_restarts(self, shard: int, restarts: int) -> None:
        """Notes the restarts."""
        self.restarts[shard] = restarts

    def _announce(self) -> None:
        self.announced_at = self.now


def _concerns(event: Event, pid: int) -> bool:
    return not isinstance(event, SignalReceived) and event.pid == pid
