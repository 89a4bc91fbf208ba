"""Owns what carrying a plan out comes to: the records to write, alone or several as a whole, given their epochs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from subgraph.domain import ownership, succession
from subgraph.domain.errors import IllegalState
from subgraph.domain.fleet.fleet_plan import FleetMove, FleetPlan
from subgraph.domain.fleet.planned_divisions import FleetMerge, FleetSplit
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import Term, TileRecord

Records = dict[TileId, TileRecord | None]

LOAD_DIGITS = 3
"""Behind the point, of the load that a term notes: more would only cost memory, in the record of every tile."""


@dataclass(slots=True)
class CarriedOut:
    """Records to write: `alone`, and `groups` of which all are written or none. None in place of one: the tile goes.

    `passed_over`: how much of the plan another step that is due now leaves no room for.
    """

    alone: Records = field(default_factory=dict)
    groups: list[Records] = field(default_factory=list)
    passed_over: int = 0


def tiles_of(plan: FleetPlan) -> set[TileId]:
    """All tiles whose records a plan is about."""
    tiles = {move.tile_id for move in plan.moves}
    for split in plan.splits:
        tiles |= {split.tile_id, *split.into}
    for merge in plan.merges:
        tiles |= {merge.parent, *merge.tiles}
    return tiles


def epochs_of(plan: FleetPlan) -> int:
    """How many epochs have to be reserved to carry a plan out."""
    return len(plan.moves) + sum(len(split.into) for split in plan.splits) + len(plan.merges)


def carry_out(
    plan: FleetPlan | None,
    records: Mapping[TileId, TileRecord | None],
    settled: Mapping[TileId, TileRecord | None],
    first_epoch: int,
    now_ms: int,
    loads: Mapping[TileId, float],
) -> CarriedOut:
    """The records that a plan and the settling of this cycle leave.

    Args:
        plan: what to do; None: only settle.
        records: of all tiles the plan is about, as they are now; None where there is no such tile.
        settled: what is due to become of tiles anyway: the plan is carried out on that.
        first_epoch: the first of as many reserved ones as `epochs_of` says.
        now_ms: the live store's time.
        loads: the smoothed loads of the tiles that move: their terms note them.
    """
    done = CarriedOut(alone=dict(settled))
    if plan is None:
        return done
    now = {**records, **settled}
    epoch = first_epoch
    for move in plan.moves:
        _move(done, now, move, epoch, now_ms, loads[move.tile_id])
        epoch += 1
    for split in plan.splits:
        _replace(done, now, split.into, partial(_split, now, split, epoch, now_ms))
        epoch += len(split.into)
    for merge in plan.merges:
        _replace(done, now, (merge.parent,), partial(_merge, now, merge, epoch, now_ms))
        epoch += 1
    return done


def _move(done: CarriedOut, now: Records, move: FleetMove, epoch: int, now_ms: int, load: float) -> None:
    record = now[move.tile_id]
    if record is None:
        return
    term = Term(move.target, epoch, move.reason, now_ms, load=round(load, LOAD_DIGITS))
    take = ownership.place if record.owner is None else ownership.prepare
    try:
        done.alone[move.tile_id] = take(record, term)
    except IllegalState:  # a plan made earlier, and another step of the tile's handoff is due now
        done.passed_over += 1


def _replace(
    done: CarriedOut, now: Records, successors: tuple[TileId, ...], step: Callable[[], Mapping[TileId, TileRecord]]
) -> None:
    if any(now[tile_id] is not None for tile_id in successors):
        done.passed_over += 1
        return
    try:
        group = step()
    except IllegalState:
        done.passed_over += 1
        return
    # What is settled of these tiles anyway is in what they become: it is written with the rest of the group.
    for tile_id in group:
        done.alone.pop(tile_id, None)
    done.groups.append(dict(group))


def _split(now: Records, split: FleetSplit, epoch: int, now_ms: int) -> Mapping[TileId, TileRecord]:
    record = now[split.tile_id]
    return {} if record is None else succession.split(split.tile_id, record, epoch, now_ms)


def _merge(now: Records, merge: FleetMerge, epoch: int, now_ms: int) -> Mapping[TileId, TileRecord]:
    siblings = {tile_id: record for tile_id in merge.tiles if (record := now[tile_id]) is not None}
    return succession.merge(merge.parent, siblings, epoch, now_ms)
