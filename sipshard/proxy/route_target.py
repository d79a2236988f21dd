"""The targets of a decision as the engine takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sipshard.policy.decision import Forward
from sipshard.policy.edit import PlainEdit, plain_edits
from sipshard.policy.target import Destination, Target
from sipshard.sip import Uri

RouteTarget: TypeAlias = tuple[
    str, int, Sequence[str], str | None, float | None, Sequence[PlainEdit]
]
"""(uri, q in thousandths, route set, flow, ring timeout in seconds, edits)."""


def route_targets(decision: Forward) -> list[RouteTarget]:
    """The targets with all that is theirs. Raises TypeError for what is no target or no edit."""
    targets = decision.targets
    edits = plain_edits(decision.edits) if decision.edits else ()
    if isinstance(targets, str | Uri | Target) or hasattr(targets, "uri"):
        return [_route_target(targets, edits)]  # type: ignore[arg-type]  # hasattr does not narrow
    return [_route_target(target, edits) for target in targets]


def route_target(target: Destination) -> RouteTarget:
    """The only target of a request. Raises TypeError for what is none."""
    return _route_target(target, ())


def _route_target(target: Destination, edits: Sequence[PlainEdit]) -> RouteTarget:
    if isinstance(target, Target):
        return _with_settings(target, edits)
    if isinstance(target, str):
        return (target, 1000, (), None, None, edits)
    if isinstance(target, Uri):
        return (str(target), 1000, (), None, None, edits)
    try:
        return (target.uri, target.q_milli, target.path, target.flow, None, edits)
    except AttributeError:
        raise TypeError(f"{target!r} is no target: a URI, a binding or a Target is") from None


def _with_settings(target: Target, edits: Sequence[PlainEdit]) -> RouteTarget:
    """A Target's settings go before those of the binding that it stands for."""
    uri, q_milli, path, flow, _, _ = _route_target(target.uri, ())
    if target.q is not None:
        q_milli = round(target.q * 1000)
    route = path if target.route is None else tuple(target.route)
    edits = [*edits, *plain_edits(target.edits)]
    return (uri, q_milli, route, flow, target.ring_timeout, edits)
