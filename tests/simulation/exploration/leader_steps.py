"""Owns what a leader of the small world can do next: take the lease, begin a term, decide, commit, be deposed."""

from collections.abc import Iterator, Mapping
from itertools import product

from msgspec.structs import replace

from subgraph.domain import ownership
from subgraph.domain.fleet import settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import (
    AssignmentReason,
    AssignmentState,
    Term,
    TileRecord,
    ended_terms,
)
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_writes import IncarnationBehind, Leadership, NotLeading, PodWrite, TileWrite
from tests.simulation.exploration.small_world import (
    LEADER_LEASE,
    LEASE,
    PHASE,
    Leader,
    SmallWorld,
)
from tests.support.store_twin import StoreTwin

POLICY = HandoffPolicy(prepare_timeout_ms=PHASE, take_over_timeout_ms=2 * PHASE, drain_timeout_ms=PHASE)
Choice = Mapping[TileId, PodId]


def leader_steps(world: SmallWorld, leader: Leader) -> Iterator[tuple[str, StoreTwin, Leader, int]]:
    register = world.register
    store = world.store()
    if leader.term is None:
        if leader.raised is not None:
            try:
                store.begin_term(Leadership(leader.raised, leader.name))
            except (NotLeading, IncarnationBehind):
                yield "is too late", store, Leader(leader.name), register
            else:
                term = Leadership(leader.raised, leader.name)
                yield "begins a term", store, Leader(leader.name, term=term, grace_ends=LEASE), register
        elif store.try_lead(leader.name, leader.name, LEADER_LEASE):
            yield "takes the lease", store, replace(leader, raised=register + 1), register + 1
        return
    if leader.decided is not None:
        try:
            store.commit(leader.term, leader.decided)
        except NotLeading:
            yield "is deposed", store, Leader(leader.name), register
        else:
            yield "commits", store, replace(leader, decided=None), register
        return
    try:
        store.keep_leading(leader.term, LEADER_LEASE)
    except NotLeading:
        yield "is deposed", store, Leader(leader.name), register
        return
    ended = () if leader.grace_ends > 0 else _ended(store)
    if ended != leader.ended:
        yield "sees whose leases have ended", store, replace(leader, ended=ended), register
    _lose_pods(store, leader)
    for choice in _choices(store):
        deciding = StoreTwin(store.now_ms)
        deciding.stored = store.stored.copy()
        decided = _decide(deciding, leader.term, choice)
        told = ", ".join(f"{tile_id} to {pod_id}" for tile_id, pod_id in choice.items())
        yield (
            f"decides {told or 'on nothing new'}",
            deciding,
            replace(leader, decided=decided or None, ended=()),
            register,
        )


def _ended(store: StoreTwin) -> tuple[tuple[PodId, int], ...]:
    pods, leases = store.stored.pods, store.stored.leases
    ended = [one for one, found in pods.items() if found.record.status.is_live and leases.get(one, 0) <= 0]
    return tuple((pod_id, pods[pod_id].version) for pod_id in sorted(ended))


def _lose_pods(store: StoreTwin, leader: Leader) -> None:
    """Declare those lost whose leases were seen to have ended; some may have been renewed since."""
    pods = store.stored.pods
    writes = [
        PodWrite(pod_id, version, pods[pod_id].record.with_status(PodStatus.LOST, 0), if_lease_ended=True)
        for pod_id, version in leader.ended
    ]
    if writes and leader.term:
        store.commit(leader.term, (), writes)


def _choices(store: StoreTwin) -> Iterator[Choice]:
    """Where the tiles without an owner go, each to any pod that is READY; and at most one settled tile to another."""
    stored = store.stored
    ready = [pod_id for pod_id, one in stored.pods.items() if one.record.status is PodStatus.READY]
    unowned = [tile_id for tile_id, record in _settled(store).items() if record is not None and record.owner is None]
    places = [dict(zip(unowned, where, strict=True)) for where in product(ready, repeat=len(unowned))] or [{}]
    movable = [
        (tile_id, pod_id)
        for tile_id, one in stored.tiles.items()
        for pod_id in ready
        if one.record.is_settled and one.record.owner and one.record.owner.pod_id != pod_id and tile_id not in unowned
    ]
    for place in places:
        yield place
        for tile_id, pod_id in movable:
            yield {**place, tile_id: pod_id}


def _settled(store: StoreTwin) -> dict[TileId, TileRecord | None]:
    dead = {pod_id for pod_id, one in store.stored.pods.items() if not one.record.status.is_live}
    receivers = {pod_id for pod_id, one in store.stored.pods.items() if one.record.receives_tiles(0)}
    return {
        tile_id: settle.settle_tile(
            one.record, 0, dead, POLICY, others_receive=not receivers <= {_owner_of(one.record)}
        )
        for tile_id, one in store.stored.tiles.items()
    }


def _owner_of(record: TileRecord) -> PodId | None:
    return record.owner.pod_id if record.owner else None


def _decide(store: StoreTwin, term: Leadership, choice: Choice) -> tuple[TileWrite, ...]:
    after = _settled(store)
    epoch = store.reserve(term, len(choice)) if choice else 0
    for tile_id, pod_id in choice.items():
        record = after[tile_id]
        assert record is not None
        take = ownership.place if record.owner is None else ownership.prepare
        after[tile_id] = take(record, Term(pod_id, epoch, AssignmentReason.INITIAL, 0))
        epoch += 1
    tiles, pods = store.stored.tiles, store.stored.pods
    dead = {pod_id for pod_id, one in pods.items() if not one.record.status.is_live}
    return tuple(
        TileWrite(tile_id, tiles[tile_id].version, record, _lost_owner(tiles[tile_id].record, record, dead))
        for tile_id, record in after.items()
        if record != tiles[tile_id].record
    )


def _lost_owner(before: TileRecord, after: TileRecord | None, dead: set[PodId]) -> PodId | None:
    ended = [term.pod_id for term, end in ended_terms(before, after) if end is AssignmentState.LOST]
    ended = [pod_id for pod_id in ended if pod_id in dead]
    return ended[0] if ended else None
