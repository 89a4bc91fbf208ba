"""The table of steps is all that can become of a term: tried on every record that a tile can have, step by step."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import h3.api.basic_int as h3
import pytest

from subgraph.domain import ownership, succession
from subgraph.domain.errors import EpochStale, IllegalState
from subgraph.domain.fleet.settle import settle, settle_tile
from subgraph.domain.handoff import STEPS, Actor, HandoffPolicy, TermPhase, phase_of
from subgraph.domain.ids import PodId, SessionId, parse_tile_id, tile_id
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentState, Term, TileRecord, ended_terms, terms_of
from subgraph.domain.tile_rules import forbid
from tests.domain.handoff_page import page
from tests.support.fleets import T1, A, B, C, fleet_of, held, pod, term, tile, tile_ids

PAGE = Path(__file__).parent.parent.parent / "docs" / "handoff.md"
POLICY = HandoffPolicy()
LONG_AGO, NOW_MS = 0, 1_000_000
OWNERS = [None, *(term(A, 7, ready=True, at=at) for at in (LONG_AGO, NOW_MS)), held(A, 7, at=NOW_MS)]
NEXT = [None, *(term(B, 9, ready=ready, at=at) for ready in (False, True) for at in (LONG_AGO, NOW_MS))]
DRAINING = [None, *(held(C, 5, draining_since_ms=at) for at in (LONG_AGO, NOW_MS))]

Change = Callable[[TileRecord], TileRecord | None]


def records() -> Iterator[TileRecord]:
    """Every record that differs in what steps look at; at most one handoff is under way."""
    for owner, following, draining in itertools.product(OWNERS, NEXT, DRAINING):
        if not (following and draining):
            yield tile(owner=owner, next=following, draining=draining, last_epoch=7)
    for draining in DRAINING:
        yield tile(draining=draining, retiring=True, last_epoch=7)


def _leads(dead: frozenset[PodId], others_receive: bool) -> Change:
    return lambda record: settle_tile(record, NOW_MS, dead, POLICY, others_receive=others_receive)


def _given(step: Callable[[TileRecord, Term], TileRecord]) -> Change:
    return lambda record: step(record, term(B, 11, at=NOW_MS))


def _forgets(version: int) -> Change:
    return lambda record: ownership.without_terms_before(record, version)


def _splits(record: TileRecord) -> TileRecord | None:
    return succession.split(T1, record, 20, NOW_MS)[T1]


def _part_of_a_split(record: TileRecord) -> TileRecord | None:
    session, cell = parse_tile_id(T1)
    part = tile_id(SessionId(session), h3.cell_to_children(cell, h3.get_resolution(cell) + 1)[0])
    return succession.split(T1, record, 20, NOW_MS)[part]


def _says(pod: PodId, epoch: int, phase: AcknowledgedPhase) -> Change:
    return lambda record: ownership.acknowledge(T1, record, pod, epoch, phase, NOW_MS)


def _registers_anew(slot: str, step: Change) -> Change:
    return lambda record: step(record) if getattr(record, slot) else record


PODS = [frozenset(pods) for size in range(4) for pods in itertools.combinations((A, B, C), size)]
CHANGES: dict[Actor, list[Change]] = {
    Actor.LEADER: [
        *(_leads(dead, others) for dead in PODS for others in (False, True)),
        _given(ownership.place),
        _given(ownership.prepare),
        _given(ownership.regain),
        *(_forgets(version) for version in (5, 6, 8, 10)),
        _splits,
    ],
    Actor.POD: [
        *(_says(pod, epoch, phase) for pod, epoch in ((A, 7), (B, 9), (C, 5)) for phase in AcknowledgedPhase),
        _registers_anew("owner", ownership.drop_owner),
        _registers_anew("next", ownership.abort),
        _registers_anew("draining", ownership.drop_draining),
    ],
    Actor.RELAY: [lambda record: ownership.retire(record, NOW_MS)],
    Actor.CALLER: [lambda record: forbid(T1, record, B)],
}


def phases(record: TileRecord | None) -> dict[int, TermPhase]:
    return {one.epoch: phase_of(one, state) for one, state in terms_of(record)} if record else {}


def steps_taken(before: TileRecord, after: TileRecord | None) -> set[tuple[TermPhase | None, TermPhase]]:
    """What became of every term, from one record to the next."""
    was, now = phases(before), phases(after)
    now |= {one.epoch: phase_of(one, state) for one, state in ended_terms(before, after)}
    return {(was.get(epoch), phase) for epoch, phase in now.items() if was.get(epoch) is not phase}


def test_the_table_has_every_step_that_anybody_can_take_and_no_other() -> None:
    taken: set[tuple[TermPhase | None, TermPhase, Actor]] = set()
    for actor, changes in CHANGES.items():
        for change, before in itertools.product(changes, records()):
            try:
                after = change(before)
            except (IllegalState, EpochStale):
                continue
            taken |= {(source, target, actor) for source, target in steps_taken(before, after)}
    for before in records():
        try:
            part = _part_of_a_split(before)
        except IllegalState:
            continue
        taken |= {(None, phase, Actor.LEADER) for phase in phases(part).values()}
    table = {(step.source, step.target, step.actor) for step in STEPS}
    assert (taken - table, table - taken) == (set(), set())


@pytest.mark.parametrize("dead", [frozenset(), frozenset({A}), frozenset({B}), frozenset({C}), frozenset({A, B, C})])
def test_a_leader_overlooks_no_tile_that_a_step_is_due_for(dead: frozenset[PodId]) -> None:
    tiles = dict(zip(tile_ids(100), records(), strict=False))
    fleet = fleet_of(tiles, {A: pod(), B: pod(), C: pod()})
    due = {one: settle_tile(record, NOW_MS, dead, POLICY, others_receive=True) for one, record in tiles.items()}
    settled = settle(fleet, NOW_MS, dead, POLICY)
    assert len(tiles) < 100
    assert {one for one, after in due.items() if after != tiles[one]} == settled.keys()


def test_a_step_is_in_the_table_once_with_all_its_occasions() -> None:
    assert len({step[:3] for step in STEPS}) == len(STEPS)
    assert all(step.when for step in STEPS)


def test_a_phase_ends_or_goes_on_by_itself_only_where_it_has_a_time_out_or_needs_none() -> None:
    endings = {TermPhase.RELEASED, TermPhase.ABORTED, TermPhase.LOST}
    assert {step.source for step in STEPS} & endings == set()
    assert {step.source for step in STEPS if "time-out" in step.when} == POLICY.limits_ms.keys()
    # READY is followed by the leader's next step, and AT_WORK is what all of it is for.
    assert set(TermPhase) - endings - POLICY.limits_ms.keys() == {TermPhase.READY, TermPhase.AT_WORK}


@pytest.mark.parametrize(
    ("state", "one"),
    [
        (AssignmentState.PREPARING, term(B, 9, at=NOW_MS)),
        (AssignmentState.ACTIVE, term(A, 7, ready=True, at=NOW_MS)),
        (AssignmentState.DRAINING, held(C, 5, draining_since_ms=NOW_MS)),
    ],
)
def test_a_phase_is_overdue_after_its_limit_and_not_at_it(state: AssignmentState, one: Term) -> None:
    limit_ms = POLICY.limits_ms[phase_of(one, state)]
    assert not POLICY.is_overdue(one, state, NOW_MS + limit_ms)
    assert POLICY.is_overdue(one, state, NOW_MS + limit_ms + 1)


def test_who_is_ready_or_at_work_is_never_overdue() -> None:
    for state, one in ((AssignmentState.PREPARING, term(B, 9, ready=True)), (AssignmentState.ACTIVE, held(A, 7))):
        assert not POLICY.is_overdue(one, state, 10**15)


def test_telling_again_without_end_at_one_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="a millisecond"):
        HandoffPolicy(tell_again_ms=0)


def test_the_page_shows_the_table_as_it_is() -> None:
    assert PAGE.read_text() == page(), "print it anew: python -m tests.domain.handoff_page > docs/handoff.md"
