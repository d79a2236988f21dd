"""A table in a temporary folder, and a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipshard.registrar.location import LocationService
from tests.unit.fakes import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def location(tmp_path: Path, clock: Clock) -> Iterator[LocationService]:
    service = LocationService(
        tmp_path / "location", durability="process", map_size_bytes=1 << 22, clock=clock
    )
    yield service
    service.close()
