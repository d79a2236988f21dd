"""SIGKILL between any two steps of a commit: what was acknowledged is there, and it is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sipshard.registrar.location import LocationService

ROUNDS = 8
SEED = 20_260

# The child acknowledges a group by writing the number of its last user, after the commit.
CHILD = """
import os, sys
from pathlib import Path
from sipshard.registrar.binding import Binding
from sipshard.registrar.location import LocationService

location = LocationService(Path(sys.argv[1]), durability=sys.argv[2])
number = int(sys.argv[3])
while True:
    group = range(number, number + 7)

    def work(transaction):
        for each in group:
            key = b"user%d@example.com" % each
            bindings = tuple(Binding(f"sip:{n}@192.0.2.1", 1000, 2**32, "c", 1) for n in range(2))
            transaction.store(key, transaction.load(key), bindings)

    location.write(work)
    number += 7
    os.write(1, b"%d\\n" % (number - 1))
"""


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_what_was_acknowledged_survives(tmp_path: Path, durability: str) -> None:
    chance = random.Random(SEED)
    last = -1
    for _ in range(ROUNDS):
        last = _run_and_kill(tmp_path, durability, last + 1, chance.uniform(0.0, 0.05))
        location = LocationService(tmp_path, durability=durability)
        page = location.page(limit=1_000_000)
        numbers = sorted(int(aor.removeprefix("user").partition("@")[0]) for aor, _ in page)
        assert numbers[: last + 1] == list(range(last + 1))
        assert all(len(bindings) == 2 for _, bindings in page)
        statistics = location.statistics()
        assert statistics.aors == len(page)
        assert statistics.bindings == 2 * len(page)
        entries = location.write(lambda transaction: transaction.due(2**40, 1_000_000))
        assert {key.decode() for _, key in entries} == {aor for aor, _ in page}
        location.close()
        last = numbers[-1]
    assert last > 0


def _run_and_kill(folder: Path, durability: str, start: int, after_s: float) -> int:
    """The last user that a writing process acknowledged, killed some time after its first."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), durability, str(start)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    with child:
        acknowledged = child.stdout.readline()
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read()
    return int(acknowledged.split()[-1])
