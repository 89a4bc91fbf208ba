"""Owns what goes wrong in a simulated world: each kind of fault happens, lasts, and is over, by the world's dice."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.ids import PodId
from tests.simulation.network import Conditions
from tests.simulation.virtual_time import Process
from tests.simulation.world import World

Fault = Callable[[World], Awaitable[None]]
Kinds = dict[str, tuple[Fault, int]]


async def server_crashes(world: World) -> None:
    """A process of the server ends at once, and another one starts on its machine."""
    server = world.chance.choice(world.servers)
    world.note(f"{server.process.name} is killed")
    server.kill()
    await asyncio.sleep(world.chance.uniform(0.1, 6))
    world.start_server(server.process.site)


async def server_pauses(world: World) -> None:
    """A process of the server stands still."""
    process = world.chance.choice(world.servers).process
    await _pause(world, process)


async def pod_crashes(world: World) -> None:
    """A pod's process ends at once, and another one starts."""
    pod = _any_pod(world)
    pod.kill()
    await asyncio.sleep(_mostly_short(world, 8))
    world.start_pod(pod.pod_id)


async def pod_pauses(world: World) -> None:
    """A pod's process stands still, in the midst of whatever it does."""
    process = _any_pod(world).process
    await _pause(world, process)


async def pod_is_superseded(world: World) -> None:
    """A second process of a pod starts while the first one goes on."""
    world.start_pod(_any_pod(world).pod_id)


async def pod_leaves(world: World) -> None:
    """A pod has its tiles moved away, leaves, and comes back some time after."""
    pod = _any_pod(world)
    pod.client.leave()
    await asyncio.sleep(world.chance.uniform(1, 10))
    pod.kill()
    world.start_pod(pod.pod_id)


async def pod_is_slow(world: World) -> None:
    """The steps of a handoff take longer on a pod than they may."""
    sluggishness = _any_pod(world).sluggishness
    sluggishness.seconds_max = world.chance.choice((1.0, 8.0))
    await asyncio.sleep(world.chance.uniform(2, 8))
    sluggishness.seconds_max = 0.05


async def link_is_cut(world: World) -> None:
    """Two machines do not reach each other, or one of them nobody."""
    with _conditions(world) as links:
        for link in links:
            link.is_cut = True
        await asyncio.sleep(_mostly_short(world, 9))


async def link_loses(world: World) -> None:
    """Messages get lost."""
    with _conditions(world) as links:
        for link in links:
            link.loss = world.chance.uniform(0.05, 0.6)
        await asyncio.sleep(world.chance.uniform(0.5, 8))


async def link_is_slow(world: World) -> None:
    """Messages take long, and overtake each other."""
    with _conditions(world) as links:
        for link in links:
            link.slow_seconds = world.chance.uniform(0.1, 2.5)
        await asyncio.sleep(world.chance.uniform(0.5, 8))


async def link_doubles(world: World) -> None:
    """Messages arrive twice."""
    with _conditions(world) as links:
        for link in links:
            link.doubled = world.chance.uniform(0.1, 0.6)
        await asyncio.sleep(world.chance.uniform(0.5, 8))


async def link_is_disordered(world: World) -> None:
    """What comes over a connection loses its order too."""
    with _conditions(world) as links:
        for link in links:
            link.disordered, link.slow_seconds = True, world.chance.uniform(0.05, 0.5)
        await asyncio.sleep(world.chance.uniform(0.5, 8))


async def store_restarts(world: World) -> None:
    """The store ends and comes back with all it had answered."""
    await _store_away(world)
    world.restart_store(world.store.stored)


async def store_forgets(world: World) -> None:
    """The store ends, and comes back as it was some time before."""
    await _store_away(world)
    world.restart_store(world.past(world.chance.randint(1, 12)))


async def store_is_emptied(world: World) -> None:
    """The store ends, and comes back with nothing."""
    await _store_away(world)
    world.restart_store(type(world.store.stored)())


async def sql_is_away(world: World) -> None:
    """SQL does not answer."""
    world.network.down.add("sql")
    await asyncio.sleep(_mostly_short(world, 6))
    world.network.down.discard("sql")


async def operator_drains(world: World) -> None:
    """An operator has a pod emptied, and takes it back into service."""
    pod_id = PodId(_any_pod(world).pod_id)
    await _by_hand(world, lambda operator: operator.drain(pod_id))
    await asyncio.sleep(world.chance.uniform(1, 6))
    await _by_hand(world, lambda operator: operator.uncordon(pod_id))


async def load_shifts(world: World) -> None:
    """Some tiles become hot, others cold: tiles are moved by plan."""
    tiles = [one for tiles in world.sessions.values() for one in tiles]
    for tile_id in tiles:
        world.loads[tile_id] = world.chance.choice((1.0, 1.0, 5.0))


async def session_starts(world: World) -> None:
    """Another session has its tiles registered."""
    if len(world.sessions) < 4:
        world.start_session()


async def session_stops(world: World) -> None:
    """A session stops: its tiles are released."""
    if len(world.sessions) > 1:
        world.stop_session(world.chance.choice(list(world.sessions)))


FAULTS: Kinds = {
    "server crashes": (server_crashes, 3),
    "server pauses": (server_pauses, 3),
    "pod crashes": (pod_crashes, 3),
    "pod pauses": (pod_pauses, 4),
    "pod is superseded": (pod_is_superseded, 1),
    "pod leaves": (pod_leaves, 1),
    "pod is slow": (pod_is_slow, 2),
    "link is cut": (link_is_cut, 4),
    "link loses": (link_loses, 2),
    "link is slow": (link_is_slow, 2),
    "link doubles": (link_doubles, 2),
    "link is disordered": (link_is_disordered, 1),
    "store restarts": (store_restarts, 1),
    "SQL is away": (sql_is_away, 1),
}
"""Kinds of faults, and how often each is drawn beside the others."""

FORGETTING: Kinds = {
    "store forgets": (store_forgets, 1),
    "store is emptied": (store_is_emptied, 1),
}
"""Further kinds, in every other life: of terms that the store may have forgotten less can be asked."""

EVENTS: Kinds = {
    "operator drains": (operator_drains, 2),
    "load shifts": (load_shifts, 3),
    "session starts": (session_starts, 1),
    "session stops": (session_stops, 1),
}
"""What is no fault, and gives faults something to disturb."""


def drawn(chance: random.Random, kinds: Kinds, count: int) -> list[tuple[str, Fault]]:
    """So many of the kinds, by their weights."""
    names = chance.choices(list(kinds), [weight for _, weight in kinds.values()], k=count)
    return [(name, kinds[name][0]) for name in names]


async def _pause(world: World, process: Process) -> None:
    world.note(f"{process.name} stands still")
    process.pause()
    await asyncio.sleep(_mostly_short(world, 8))
    process.resume()
    world.note(f"{process.name} goes on")


async def _store_away(world: World) -> None:
    world.network.down.add("redis")
    await asyncio.sleep(_mostly_short(world, 3))
    world.network.down.discard("redis")


async def _by_hand(world: World, act: Callable[[Any], Awaitable[None]]) -> None:
    server = world.chance.choice(world.servers)
    if server.process.is_alive:

        async def done() -> None:
            with suppress(SessionManagerFailure):
                await act(server.operator)

        server.process.run(done())


def _any_pod(world: World) -> Any:
    return world.chance.choice(list(world.pods.values()))


def _mostly_short(world: World, seconds_max: float) -> float:
    return world.chance.uniform(0.01, seconds_max) * world.chance.random()


@contextmanager
def _conditions(world: World) -> Iterator[Sequence[Conditions]]:
    """Some links; they are well again afterwards."""
    one = world.chance.choice(world.sites)
    others = [site for site in world.sites if site != one]
    if world.chance.random() < 0.6:
        others = [world.chance.choice(others)]
    links = [world.network.link(one, other) for other in others]
    world.note(f"between {one} and {', '.join(others)}:")
    try:
        yield links
    finally:
        world.note(f"well again between {one} and {', '.join(others)}")
        for link in links:
            link.is_cut = link.disordered = False
            link.loss = link.doubled = link.slow_seconds = 0.0
