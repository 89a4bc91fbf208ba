"""Owns the command line of the simulation: many seeds in some processes, or one seed with all that happened.

python -m tests.simulation --seeds 10000 --processes 2
python -m tests.simulation --replay 4711
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import repeat

from tests.simulation.life import Outcome, live
from tests.simulation.planted_bugs import PLANTED
from tests.simulation.transitions import ALL

SEEDS_PER_TURN = 10
FAILURES_SHOWN_MAX = 20
HASH_SEED = "0"
COVERING_SEEDS = 100
"""In so many lives every kind of step must have happened."""


@dataclass(slots=True)
class Lives:
    """What many lives were like together; `failed` are seeds with the first rule that each has broken."""

    seeds: int = 0
    virtual_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    violations: int = 0

    def add(self, one: Outcome) -> None:
        """Count a life."""
        self.seeds += 1
        self.virtual_seconds += one.virtual_seconds
        self.faults += one.faults
        self.counts += one.counts
        self.transitions += one.transitions
        self.violations += len(one.violations)
        if one.violations:
            self.failed[one.seed] = str(one.violations[0])

    def join(self, other: "Lives") -> None:
        """Count others' lives."""
        self.seeds += other.seeds
        self.virtual_seconds += other.virtual_seconds
        self.faults += other.faults
        self.counts += other.counts
        self.transitions += other.transitions
        self.violations += other.violations
        self.failed |= other.failed

    def told(self, seconds: float) -> str:
        """All of it in one line."""
        covered = sum(bool(self.transitions[step]) for step in ALL)
        return (
            f"{self.seeds:,} seeds, {self.virtual_seconds:,.0f} virtual seconds, {self.faults.total():,} faults of "
            f"{len(self.faults)} kinds, {self.transitions.total():,} transitions ({covered} of {len(ALL)} kinds), "
            f"{self.counts['records']:,} records, {self.violations:,} violations in {len(self.failed):,} seeds, "
            f"{self.seeds / seconds:.1f} seeds/s"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1: a rule was broken, or some kind of step never happened in many lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many lives")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--planted", choices=PLANTED, help="plant a bug, and stop at the first seed that finds it")
    parser.add_argument("--replay", type=int, help="live through one seed, and print all that happened")
    wanted = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    if wanted.replay is not None:
        return _replay(wanted.replay, wanted.planted)
    began = time.monotonic()
    together = Lives()
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    for lives in _lives(seeds, wanted.processes, wanted.planted):
        together.join(lives)
        if wanted.planted and together.failed:
            break
    for seed, rule in list(together.failed.items())[:FAILURES_SHOWN_MAX]:
        print(f"seed {seed}: {rule}\n    python -m tests.simulation --replay {seed}")
    if missed := [step for step in ALL if not together.transitions[step]]:
        print(f"never happened: {', '.join(missed)}")
    print(together.told(time.monotonic() - began))
    return 1 if together.failed or (missed and len(seeds) >= COVERING_SEEDS) else 0


def _lives(seeds: range, processes: int, planted: str | None) -> Iterator[Lives]:
    turns = [seeds[start : start + SEEDS_PER_TURN] for start in range(0, len(seeds), SEEDS_PER_TURN)]
    if processes == 1:
        yield from (_live_through(turn, planted) for turn in turns)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_live_through, turns, repeat(planted))


def _live_through(seeds: range, planted: str | None) -> Lives:
    logging.disable(logging.CRITICAL)
    lives = Lives()
    with PLANTED[planted]() if planted else nullcontext():
        for seed in seeds:
            lives.add(live(seed))
            if planted and lives.failed:
                break
    return lives


def _replay(seed: int, planted: str | None) -> int:
    with PLANTED[planted]() if planted else nullcontext():
        outcome = live(seed)
    print("\n".join(outcome.trace))
    print(f"seed {seed}: {len(outcome.violations)} violations in {outcome.virtual_seconds:.1f} s")
    for violation in outcome.violations:
        print(f"  {violation}")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # In which order a set of names is gone through depends on their hashes, and Python draws these anew every time.
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    sys.exit(main())
