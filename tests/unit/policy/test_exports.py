"""What a policy script may import."""

from __future__ import annotations

import types

import sipshard


def test_all_is_complete_and_sorted() -> None:
    public = [
        name
        for name, value in vars(sipshard).items()
        if not name.startswith("_")
        and name != "annotations"
        and not isinstance(value, types.ModuleType)
    ]
    assert sipshard.__all__ == sorted(public)
