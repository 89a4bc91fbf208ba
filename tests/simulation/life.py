"""Owns a whole life of a simulated world: it begins, things go wrong, it is left in peace, and it comes to rest."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.checker import Violation
from tests.simulation.faults import EVENTS, FAULTS, FORGETTING, Fault, Kinds, drawn
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.world import World

TROUBLED_SECONDS = 60.0
FAULTS_MIN = 20
FAULTS_MAX = 32
EVENTS_MAX = 10
QUIET_SECONDS = 4.0
"""Longer than any lease: what was wrong when the faults ended shows."""
REST_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Outcome:
    """What a life was like."""

    seed: int
    virtual_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)


def live(seed: int) -> Outcome:
    """Live through a seed; the same seed lives the same. With an odd one the store may forget its last seconds."""
    loop = VirtualLoop()
    outcome = Outcome(seed)
    loop.run(_Life(World(loop, seed), outcome, FAULTS | FORGETTING if seed % 2 else FAULTS).run())
    return outcome


class _Life:
    def __init__(self, world: World, outcome: Outcome, faults: Kinds) -> None:
        self._world = world
        self._outcome = outcome
        self._faults = faults

    async def run(self) -> None:
        world, outcome = self._world, self._outcome
        await world.begin()
        under_way = [asyncio.ensure_future(one) for one in self._fates()]
        watching = asyncio.ensure_future(self._watch())
        await asyncio.sleep(TROUBLED_SECONDS)
        for one in under_way:
            one.cancel()
        await asyncio.wait(under_way)
        world.note("faults end")
        await world.leave_in_peace()
        await asyncio.sleep(QUIET_SECONDS)
        await self._come_to_rest()
        watching.cancel()
        outcome.virtual_seconds = world.loop.time()
        outcome.violations = world.checker.violations
        outcome.trace = list(world.trace)
        outcome.counts += world.counts + Counter(records=world.checker.records, terms=world.checker.terms)
        outcome.transitions = world.transitions.counts
        await world.end()
        for failure in world.loop.unhandled:
            world.checker.found("nothing unforeseen happens", failure)

    def _fates(self) -> list[Coroutine[Any, Any, None]]:
        chance = self._world.chance
        fates = drawn(chance, self._faults, chance.randint(FAULTS_MIN, FAULTS_MAX))
        fates += drawn(chance, EVENTS, chance.randint(3, EVENTS_MAX))
        return [self._happen(name, fault, chance.uniform(0.3, TROUBLED_SECONDS - 1)) for name, fault in fates]

    async def _happen(self, name: str, fault: Fault, at_seconds: float) -> None:
        await asyncio.sleep(at_seconds)
        (self._outcome.faults if name in self._faults else self._outcome.counts)[name] += 1
        self._world.note(f"** {name}")
        await fault(self._world)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._world.checker.believed_together()
            for server in self._world.servers:
                for failure in server.failures:
                    self._world.checker.found("nothing unforeseen happens", failure)
                server.failures.clear()

    async def _come_to_rest(self) -> None:
        world = self._world
        give_up_at = world.loop.time() + REST_SECONDS_MAX
        while restless := world.restless():
            if world.loop.time() > give_up_at:
                world.checker.found("in the end all tiles are worked on, and nothing is under way", restless)
                return
            await asyncio.sleep(LOOK_SECONDS)
