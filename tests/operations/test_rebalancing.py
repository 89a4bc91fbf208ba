"""Rebalancing on request: a plan is carried out as it was shown, or refused with what has changed since."""

import asyncio
from datetime import UTC, datetime

import pytest

from subgraph.adapters.redis.keys import fleet_key
from subgraph.domain.errors import InvalidInput, NotFound, PlanStale, Unavailable
from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.control import rebalancing
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import WITHOUT_COOL_DOWN, FleetProcess
from tests.support.fleets import TENANT, A, B, report
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio

TILES = 10


def owners(fleet: Fleet) -> dict[TileId, PodId | None]:
    return {tile_id: fleet.owner_id(row) for tile_id, row in fleet.tiles.items()}


def is_settled(fleet: Fleet) -> bool:
    return not fleet.tiles.next and not fleet.tiles.draining


async def uneven(start: Starts, make_pod: MakesPod) -> tuple[FleetProcess, Rebalancing, SimulatedPod]:
    """A works on all tiles, B on none, and nothing but a request changes that: rebalancing is paused."""
    process = await start()
    operator = Operator(process.live, process.view)
    await operator.pause((await process.live.beat()).now_ms + 600_000, "test", "the test decides")
    ids = await add_tiles(process, TILES)
    a = await make_pod(process, A)
    fleet = await process.until(
        lambda fleet: sum(one.term.acknowledged_at_ms is not None for one in fleet.terms_of_pod(A)) == TILES,
        "A works on all tiles",
    )
    for one in ids:
        epoch = fleet.tiles.owner_epoch[fleet.tiles.row(one)]
        await process.pods.report(a.lease, report(A, {one: 1.0}, epoch=int(epoch)))
    await process.until(lambda fleet: fleet.pod_loads().sum() == TILES, "the loads are known")
    await make_pod(process, B)
    return process, Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN), a


def carried_out(plan: FleetPlan) -> dict[TileId, PodId]:
    return {move.tile_id: move.target for move in plan.moves}


async def test_a_dry_run_changes_nothing_and_its_plan_is_carried_out_as_shown(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    before = process.view.current().version
    plan = await by_hand.plan(None)
    assert plan.moves
    assert {(move.source, move.target, move.reason) for move in plan.moves} == {(A, B, AssignmentReason.MANUAL)}
    assert process.view.current().version == before
    assert await by_hand.apply(plan.id, None) == plan
    fleet = await process.until(
        lambda fleet: is_settled(fleet) and list(owners(fleet).values()).count(B) == len(plan.moves), "B has its tiles"
    )
    assert {one: owner for one, owner in owners(fleet).items() if owner == B} == carried_out(plan)


async def test_planning_and_carrying_out_at_once(start: Starts, make_pod: MakesPod, history: OwnershipHistory) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    plan = await by_hand.apply(None, None)
    assert plan.after.imbalance < plan.before.imbalance
    await process.until(
        lambda fleet: is_settled(fleet) and list(owners(fleet).values()).count(B) == len(plan.moves), "B has its tiles"
    )


async def test_churn_is_bounded_as_asked(start: Starts, make_pod: MakesPod, history: OwnershipHistory) -> None:
    _, by_hand, _ = await uneven(start, make_pod)
    assert (await by_hand.plan(0.2)).churn <= 0.2 * TILES < (await by_hand.plan(1.0)).churn


async def test_a_plan_is_stale_when_one_of_its_tiles_has_changed_and_says_which(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    plan = await by_hand.plan(0.5)
    assert len(plan.moves) > 1
    single = await by_hand.plan(0.1)
    (moved,) = carried_out(single)
    assert moved in carried_out(plan)
    await by_hand.apply(single.id, None)
    await process.until(lambda fleet: is_settled(fleet) and owners(fleet)[moved] == B, "B has the one tile")
    with pytest.raises(PlanStale) as stale:
        await by_hand.apply(plan.id, None)
    assert (stale.value.changed_tile_ids, stale.value.changed_pod_ids) == ((moved,), ())
    _, fleet = await process.view.observe(timeout_seconds=30)
    assert {one for one, owner in owners(fleet).items() if owner == B} == {moved}
    assert not fleet.tiles.next


async def test_a_plan_is_stale_when_a_pod_that_receives_has_changed_and_says_which(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    plan = await by_hand.plan(None)
    await Operator(process.live, process.view).cordon(B)
    with pytest.raises(PlanStale) as stale:
        await by_hand.apply(plan.id, None)
    assert (stale.value.changed_tile_ids, stale.value.changed_pod_ids) == ((), (B,))


async def test_heartbeats_reports_and_other_tiles_make_no_plan_stale(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, by_hand, a = await uneven(start, make_pod)
    plan = await by_hand.plan(None)
    unmoved = next(one for one in owners(process.view.current()) if one not in carried_out(plan))
    row = process.view.current().tiles.row(unmoved)
    epoch = int(process.view.current().tiles.owner_epoch[row])
    await process.pods.heartbeat(a.lease, 1)
    await process.pods.report(a.lease, report(A, {unmoved: 5.0}, epoch=epoch))
    stored = (await process.live.read_tiles([unmoved]))[unmoved]
    await process.live.commit(None, [TileWrite(unmoved, stored.version, stored.record)])
    assert await by_hand.apply(plan.id, None) == plan


async def test_what_was_never_planned_is_not_found(start: Starts, make_pod: MakesPod) -> None:
    process = await start()
    by_hand = Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN)
    with pytest.raises(NotFound):
        await by_hand.apply("no such plan", None)


async def test_churn_is_a_share_and_for_planning_only(start: Starts) -> None:
    process = await start()
    by_hand = Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInput):
            await by_hand.plan(share)
    plan = await by_hand.plan(None)
    with pytest.raises(InvalidInput):
        await by_hand.apply(plan.id, 0.5)


def key(text: str, asked: str = "what was asked", owner: str = "ann") -> IdempotencyKey:
    return IdempotencyKey(TENANT, owner, "rebalance", text, asked, datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_key_carries_a_plan_out_once_whoever_asks_again_and_however_late(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, fleet_id: str
) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    made = await by_hand.plan(0.1)
    first = await by_hand.apply(made.id, None, key=key("k"))
    assert first == made
    await process.until(lambda fleet: is_settled(fleet) and B in owners(fleet).values(), "B has a tile")
    # The plan is stale by now, and then forgotten.
    await process.redis.delete(fleet_key(fleet_id, f"plan:{made.id}"))
    again = await asyncio.gather(*(by_hand.apply(made.id, None, key=key("k")) for _ in range(3)))
    assert again == [made] * 3
    assert list(owners(process.view.current()).values()).count(B) == len(made.moves)
    with pytest.raises(InvalidInput) as refused:
        await by_hand.apply(None, None, key=key("k", "something else"))
    assert refused.value.path == ("idempotencyKey",)
    # A stranger's key is another one, and what is refused is not remembered.
    with pytest.raises(NotFound):
        await by_hand.apply(made.id, None, key=key("k", owner="bob"))
    together = await asyncio.gather(*(by_hand.apply(None, 1.0, key=key("together")) for _ in range(3)))
    assert together[0].moves
    assert together == [together[0]] * 3


async def unanswered(*_: object, **__: object) -> None:
    raise Unavailable("the store is away")


async def test_what_was_cut_short_goes_on_with_the_plan_of_its_key(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    made, part = await by_hand.plan(1.0), await by_hand.plan(0.1)
    (moved,) = carried_out(part)
    assert moved in carried_out(made)
    wanted = key("cut short")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(rebalancing, "ANSWER_SECONDS_MAX", 0.3)
        interrupted.setattr(process.live, "commit", unanswered)
        with pytest.raises(Unavailable):
            await by_hand.apply(made.id, None, key=wanted)
    await by_hand.apply(part.id, None)
    await process.until(lambda fleet: is_settled(fleet) and owners(fleet)[moved] == B, "B has the one tile")
    with pytest.raises(PlanStale):
        await by_hand.apply(made.id, None)
    assert await by_hand.apply(made.id, None, key=wanted) == made
    await process.until(
        lambda fleet: is_settled(fleet) and list(owners(fleet).values()).count(B) == len(made.moves), "B has its tiles"
    )
    assert {one: owner for one, owner in owners(process.view.current()).items() if owner == B} == carried_out(made)


async def test_without_a_leader_the_caller_is_told_in_time(start: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebalancing, "ANSWER_SECONDS_MAX", 0.1)
    leader = await start(name="leader")
    process = await start(leads=False, name="other")
    await leader.stop()
    await eventually(lambda: process.view.is_current, "the process follows")
    with pytest.raises(Unavailable):
        await Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN).apply(None, None)


async def test_two_who_ask_at_once_are_both_answered(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, by_hand, _ = await uneven(start, make_pod)
    plans = await asyncio.gather(by_hand.apply(None, 1.0), by_hand.apply(None, 1.0))
    assert sorted(bool(plan.moves) for plan in plans) == [False, True], "the second finds nothing left to do"
    assert len({plan.id for plan in plans}) == 2
    await process.until(is_settled, "all is settled")


async def test_a_request_of_another_version_is_refused_and_the_leader_goes_on(start: Starts) -> None:
    process = await start()
    answer = await process.live.ask_leader(b'{"no": "request"}', 10)
    assert answer is not None
    assert b"cannot read the request" in answer
    await Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN).apply(None, None)
    assert process.candidacy.leads
