"""Owns everything that can happen next in the small world: a step of a leader, of a pod, of a message, or of time."""

from collections.abc import Iterator

from msgspec.structs import replace

from subgraph.domain import ownership
from subgraph.domain.errors import EpochStale, LeaseLost
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import (
    AcknowledgedPhase,
)
from subgraph.operations.fleet.fleet_writes import PodLease, TileWrite
from tests.simulation.exploration.leader_steps import leader_steps
from tests.simulation.exploration.pod_steps import pod_steps
from tests.simulation.exploration.small_world import (
    Ack,
    SmallWorld,
)
from tests.support.store_twin import StoreTwin

Step = tuple[str, SmallWorld]


def steps(world: SmallWorld) -> Iterator[Step]:
    """All that can happen next, each with what it makes of the world.

    Raises:
        Broken: one of these steps breaks a rule.
    """
    for name, after in _steps(world):
        in_force = _in_force(after)
        yield name, after if in_force <= after.in_force else replace(after, in_force=after.in_force | in_force)


def _steps(world: SmallWorld) -> Iterator[Step]:
    yield "time passes", world.later()
    for index, leader in enumerate(world.leaders):
        for name, store, after, register in leader_steps(world, leader):
            leaders = (*world.leaders[:index], after, *world.leaders[index + 1 :])
            yield f"{leader.name} {name}", replace(world, stored=store.stored, leaders=leaders, register=register)
    for index in range(len(world.pods)):
        yield from pod_steps(world, index)
    for ack in sorted(world.acks):
        if (arrived := _arrived(world, ack)) is not None:
            yield f"{ack} arrives", replace(world, stored=arrived.stored)


def _arrived(world: SmallWorld, ack: Ack) -> StoreTwin | None:
    """The store after an acknowledgement arrived, if that changes anything."""
    found = world.stored.tiles.get(ack.tile_id)
    if found is None:
        return None
    try:
        after = ownership.acknowledge(ack.tile_id, found.record, ack.pod_id, ack.epoch, AcknowledgedPhase(ack.phase), 0)
        if after == found.record:
            return None
        store = world.store()
        store.commit(PodLease(ack.pod_id, ack.token), [TileWrite(ack.tile_id, found.version, after)])
    except (EpochStale, LeaseLost):
        return None
    return store


def _in_force(world: SmallWorld) -> set[tuple[TileId, int]]:
    tiles = world.stored.tiles
    return {(tile_id, one.record.owner.epoch) for tile_id, one in tiles.items() if one.record.owner}
