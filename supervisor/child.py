"""One child process as the supervisor sees it, and the slot it fills.

::

                      ready                    recycle: successor is ready
    BOOTING ────────────────────────► SERVING ───────────────────────────► DRAINING
       │  ready, with a predecessor      │ ▲                                  │
       └───────────► STANDBY ────────────┼─┘ predecessor is gone              │
                                         ▼                                    │
    any state ──────────────────────► STOPPING ◄──────────────────────────────┘

Every state but SERVING and STANDBY has a deadline after which the child is killed; a STANDBY child
waits for a DRAINING one, which has one. A child leaves the picture when its exit is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto


class ChildState(Enum):
    """How far a child is in its life."""

    BOOTING = auto()
    STANDBY = auto()
    SERVING = auto()
    DRAINING = auto()
    STOPPING = auto()


_TRANSITIONS = {
    ChildState.BOOTING: {ChildState.STANDBY, ChildState.SERVING, ChildState.STOPPING},
    ChildState.STANDBY: {ChildState.SERVING, ChildState.STOPPING},
    ChildState.SERVING: {ChildState.DRAINING, ChildState.STOPPING},
    ChildState.DRAINING: {ChildState.STOPPING},
    ChildState.STOPPING: set[ChildState](),
}


@dataclass(frozen=True, slots=True)
class Role:
    """What a child is for. ``shard`` is -1 for a kind of which there is one."""

    kind: str
    shard: int = -1

    @property
    def has_shard(self) -> bool:
        """Whether children of this role own a shard: a page, sockets, and a hand-over."""
        return self.shard >= 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.shard}" if self.has_shard else self.kind


@dataclass(slots=True)
class Child:
    """One process. Times are the arbiter's clock in seconds.

    ``deadline`` is when it is killed unless it has moved on. ``alive_at`` is the last proof of
    life that did not come through the shared region.
    """

    pid: int
    role: Role
    generation: int
    is_standby: bool
    alive_at: float
    deadline: float | None
    state: ChildState = ChildState.BOOTING
    serving_since: float | None = None
    failure: str | None = None
    failure_code: int | None = None
    is_killed: bool = False

    def enter(self, state: ChildState, now: float, deadline: float | None = None) -> None:
        """Moves on to ``state``. A move that the picture does not show is a bug here."""
        if state not in _TRANSITIONS[self.state]:
            raise AssertionError(f"{self}: {self.state.name} cannot become {state.name}")
        self.state = state
        self.deadline = deadline
        self.alive_at = now
        if state is ChildState.SERVING:
            self.serving_since = now

    def __str__(self) -> str:
        return f"{self.role} (pid {self.pid}, generation {self.generation})"


# The first successor comes at once; a role that keeps failing is tried ever more rarely.
BACK_OFF_S = (0.0, 0.1, 0.5, 2.0, 5.0)

# Who has served this long has proven that the role can be filled, and failures count anew.
SETTLED_S = 0.5


@dataclass(slots=True)
class Slot:
    """One role, the child that fills it and, during a recycle, the one that is to follow."""

    role: Role
    current: Child | None = None
    successor: Child | None = None
    generation: int = 0
    restarts: int = 0
    failures: int = 0
    respawn_at: float = 0.0
    next_recycle_at: float = 0.0

    def children(self) -> Iterator[Child]:
        """The living children of this role."""
        if self.current is not None:
            yield self.current
        if self.successor is not None:
            yield self.successor

    def count_death(self, child: Child, now: float) -> None:
        """Notes an unplanned end and sets when the role is tried again."""
        served_s = 0.0 if child.serving_since is None else now - child.serving_since
        if served_s >= SETTLED_S:
            self.failures = 0
        self.respawn_at = now + BACK_OFF_S[min(self.failures, len(BACK_OFF_S) - 1)]
        self.failures += 1
        self.restarts += 1

    def forget(self, child: Child) -> None:
        """Takes a child that has exited out; its successor, if there is one, moves up."""
        if child is self.successor:
            self.successor = None
        elif child is self.current:
            self.current, self.successor = self.successor, None
