"""Owns where explorations begin: small worlds in the midst of something, each told by the steps that lead there."""

from msgspec.structs import replace

from subgraph.domain.ownership import TileRecord
from subgraph.operations.fleet.fleet_writes import Leadership, TileWrite
from tests.simulation.exploration.small_world import LEADER_LEASE, Leader, Pod, SmallWorld
from tests.simulation.exploration.steps import steps
from tests.support.fleets import T1, T2, TENANT, A, B
from tests.support.store_twin import Stored

REGISTERED = (
    "a#1 asks to be registered",
    "a#1 is registered",
    "b#1 asks to be registered",
    "b#1 is registered",
)
AT_WORK = (
    *REGISTERED,
    f"one decides {T1} to a, {T2} to b",
    "one commits",
    "a#1 is about to be told",
    "a#1 hears",
    "b#1 is about to be told",
    "b#1 hears",
    "a ACTIVE of ",
    "b ACTIVE of ",
)
MOVING = (*AT_WORK, f"one decides {T1} to b", "one commits")
GIVEN_UP = (
    *MOVING,
    "b#1 is about to be told",
    "b#1 hears",
    "time passes",
    "one decides on nothing new",
    "a#1 renews",
    "b#1 renews",
    "time passes",
    "one decides on nothing new",
    "time passes",
    "one decides on nothing new",
    "b#1 is ready for ",
    "one commits",
)
ENDING = (
    *AT_WORK,
    "time passes",
    "one decides on nothing new",
    "b#1 renews its lease",
    "time passes",
)
SCENES = {
    "a fleet begins": (),
    "all are at work": AT_WORK,
    "a lease is about to end": ENDING,
    "a lease has ended": (*ENDING, "one decides on nothing new", "time passes", "one sees "),
    "a tile moves": MOVING,
    "the next owner is ready": (
        *MOVING,
        "b#1 is about to be told",
        "b#1 hears",
        "b#1 is ready for ",
        "b READY of ",
        "one decides on nothing new",
    ),
    "a move was given up": GIVEN_UP,
    "a move was given up, and begins again": (*GIVEN_UP, f"one decides {T1} to b", "one commits"),
}


def scene(name: str) -> SmallWorld:
    """A world to begin with: two tiles, a leader, and what the scene's steps make of it."""
    world = SmallWorld(Stored(), 1, (Leader("one"), Leader("two")), (Pod(A), Pod(B)))
    store = world.store()
    leadership = Leadership(1, "one")
    store.try_lead("one", "one", LEADER_LEASE)
    store.begin_term(leadership)
    store.commit(None, [TileWrite(tile_id, 0, TileRecord(TENANT)) for tile_id in (T1, T2)])
    world = replace(world, stored=store.stored, leaders=(Leader("one", term=leadership, grace_ends=0), Leader("two")))
    for wanted in SCENES[name]:
        found = [after for step, after in steps(world) if step.startswith(wanted)]
        if not found:
            raise LookupError(f"{wanted!r} is not among {[step for step, _ in steps(world)]}")
        world = found[0]
    return world
