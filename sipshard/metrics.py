"""Counters: plain numbers that only grow, kept per worker and added up by whoever shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def total(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Adds up the counters of several workers, by name, in the order of first appearance."""
    sums: dict[str, int] = {}
    for each in counters:
        for name, value in each.items():
            sums[name] = sums.get(name, 0) + value
    return sums
