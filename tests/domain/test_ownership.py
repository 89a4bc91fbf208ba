"""A tile's handoff, step by step: who may work at which epoch, and that no order of steps breaks it."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.errors import EpochStale, IllegalState
from subgraph.domain.ids import PodId
from subgraph.domain.ownership import (
    AcknowledgedPhase,
    AssignmentState,
    Term,
    TileRecord,
    abort,
    acknowledge,
    cut_over,
    drop_draining,
    drop_owner,
    ended_terms,
    place,
    prepare,
    retire,
    take_from_idle,
    terms_of,
)
from tests.support.fleets import T1, A, B, C, held, term, tile

READY, ACTIVE, RELEASED = AcknowledgedPhase.READY, AcknowledgedPhase.ACTIVE, AcknowledgedPhase.RELEASED


def acknowledged(record: TileRecord, pod: PodId, epoch: int, phase: AcknowledgedPhase) -> TileRecord | None:
    return acknowledge(T1, record, pod, epoch, phase, now_ms=50)


def states(record: TileRecord | None) -> dict[tuple[PodId, int], AssignmentState]:
    return {(one.pod_id, one.epoch): state for one, state in terms_of(record)} if record else {}


def test_a_tile_nobody_owns_is_placed_at_once() -> None:
    placed = place(tile(), term(A, 7, at=40))
    assert states(placed) == {(A, 7): AssignmentState.ACTIVE}
    assert (placed.epoch_in_force, placed.last_epoch) == (7, 7)
    assert placed.owner is not None
    assert placed.owner.acknowledged_at_ms is None


def test_the_whole_make_before_break_move() -> None:
    record = prepare(tile(owner=held(A, 7)), term(B, 9))
    assert states(record) == {(A, 7): AssignmentState.ACTIVE, (B, 9): AssignmentState.PREPARING}
    assert record.epoch_in_force == 7

    ready = acknowledged(record, B, 9, READY)
    assert ready is not None
    assert ready.next is not None
    assert ready.next.ready
    assert ready.epoch_in_force == 7

    moved = cut_over(ready, now_ms=60)
    assert states(moved) == {(B, 9): AssignmentState.ACTIVE, (A, 7): AssignmentState.DRAINING}
    assert (moved.epoch_in_force, moved.last_epoch) == (9, 9)
    assert moved.draining is not None
    assert moved.draining.draining_since_ms == 60

    active = acknowledged(moved, B, 9, ACTIVE)
    assert active is not None
    assert active.owner is not None
    assert active.owner.acknowledged_at_ms == 50
    assert active.is_handing_over

    settled = acknowledged(active, A, 7, RELEASED)
    assert settled is not None
    assert states(settled) == {(B, 9): AssignmentState.ACTIVE}
    assert not settled.is_handing_over


def test_an_owned_tile_is_never_simply_given_to_another() -> None:
    with pytest.raises(IllegalState):
        place(tile(owner=held(A, 7)), term(B, 9))


@pytest.mark.parametrize(
    "record",
    [
        tile(),
        tile(owner=held(A, 7), next=term(B, 9)),
        tile(owner=held(B, 9), draining=held(A, 7)),
        tile(draining=held(A, 7), retiring=True),
    ],
    ids=["unowned", "preparing", "draining", "retiring"],
)
def test_only_a_settled_tile_begins_a_move(record: TileRecord) -> None:
    with pytest.raises(IllegalState):
        prepare(record, term(C, 11))


def test_a_retiring_tile_takes_no_owner() -> None:
    with pytest.raises(IllegalState):
        place(tile(draining=held(A, 7), retiring=True), term(C, 11))


def test_nobody_to_cut_over_to() -> None:
    with pytest.raises(IllegalState):
        cut_over(tile(owner=held(A, 7)), now_ms=0)


@pytest.mark.parametrize("epoch", [6, 7])
def test_an_epoch_that_does_not_rise_is_refused(epoch: int) -> None:
    with pytest.raises(IllegalState):
        prepare(tile(owner=held(A, 7)), term(B, epoch))
    with pytest.raises(IllegalState):
        place(tile(last_epoch=7), term(B, epoch))
    with pytest.raises(IllegalState):
        place(tile(draining=held(A, 7)), term(B, epoch))


def test_aborting_leaves_the_owner_as_it_was() -> None:
    record = tile(owner=held(A, 7), next=term(B, 9))
    assert abort(record) == tile(owner=held(A, 7))


def test_the_next_owner_survives_the_loss_of_the_present_one() -> None:
    record = cut_over(drop_owner(tile(owner=held(A, 7), next=term(B, 9))), now_ms=0)
    assert states(record) == {(B, 9): AssignmentState.ACTIVE}


def test_a_lost_owner_leaves_its_epoch_behind() -> None:
    record = drop_owner(tile(owner=held(A, 7)))
    assert (record.owner, record.epoch_in_force, record.last_epoch) == (None, 0, 7)


def test_a_stopped_session_lets_the_owner_drain_and_the_next_one_go() -> None:
    record = retire(tile(owner=held(A, 7), next=term(B, 9)), now_ms=60)
    assert record is not None
    assert record.retiring
    assert states(record) == {(A, 7): AssignmentState.DRAINING}
    assert acknowledged(record, A, 7, RELEASED) is None


def test_a_stopped_session_waits_for_a_former_owner_that_drains_still() -> None:
    record = retire(tile(draining=held(A, 7)), now_ms=60)
    assert record is not None
    assert drop_draining(record) is None


def test_a_tile_of_a_stopped_session_that_nobody_works_on_is_gone() -> None:
    assert retire(tile(), now_ms=60) is None
    assert retire(tile(last_epoch=7), now_ms=60) is None


def test_retiring_twice_is_retiring_once() -> None:
    once = retire(tile(owner=held(A, 7)), now_ms=60)
    assert once is not None
    assert retire(once, now_ms=99) == once


@pytest.mark.parametrize(
    ("record", "pod", "epoch", "phase"),
    [
        (tile(owner=held(A, 7), next=term(B, 9, ready=True)), B, 9, READY),
        (tile(owner=held(B, 9), draining=held(A, 7)), B, 9, READY),  # said again after the cut-over
        (tile(owner=held(A, 7)), A, 7, ACTIVE),
        (tile(owner=held(B, 9)), A, 7, RELEASED),  # said again after it was noted
        (tile(owner=held(B, 9)), B, 8, RELEASED),  # of a move that was given up
    ],
)
def test_repeated_and_late_acknowledgements_change_nothing(
    record: TileRecord, pod: PodId, epoch: int, phase: AcknowledgedPhase
) -> None:
    assert acknowledged(record, pod, epoch, phase) == record


@pytest.mark.parametrize(
    ("record", "pod", "epoch", "phase"),
    [
        (tile(), A, 7, ACTIVE),
        (tile(owner=held(A, 7)), B, 7, ACTIVE),  # right epoch, wrong pod
        (tile(owner=held(A, 7)), A, 6, ACTIVE),  # right pod, an earlier term
        (tile(owner=held(A, 7)), A, 8, ACTIVE),  # right pod, a term to come
        (tile(owner=held(A, 7), next=term(B, 9)), B, 9, ACTIVE),  # before the cut-over
        (tile(owner=held(A, 7), next=term(B, 9)), A, 9, READY),
        (tile(owner=held(A, 7)), B, 9, READY),  # the move was given up
        (tile(owner=held(A, 7)), A, 7, RELEASED),  # it is to work on
        (tile(owner=held(A, 7), next=term(B, 9)), B, 9, RELEASED),
        (tile(owner=held(B, 9), draining=held(A, 7)), B, 9, RELEASED),
    ],
)
def test_acknowledging_a_term_that_is_not_in_that_phase_is_stale(
    record: TileRecord, pod: PodId, epoch: int, phase: AcknowledgedPhase
) -> None:
    with pytest.raises(EpochStale) as stale:
        acknowledged(record, pod, epoch, phase)
    assert (stale.value.tile_id, stale.value.current_epoch) == (T1, record.epoch_in_force)


def test_how_terms_end() -> None:
    before = tile(owner=held(A, 7), next=term(B, 9))
    assert ended_terms(before, drop_owner(before)) == [(held(A, 7), AssignmentState.LOST)]
    assert ended_terms(before, abort(before)) == [(term(B, 9), AssignmentState.ABORTED)]
    draining = tile(owner=held(B, 9), draining=held(A, 7))
    assert ended_terms(draining, drop_draining(draining)) == [(held(A, 7), AssignmentState.RELEASED)]


def test_a_term_that_only_changes_its_state_has_not_ended() -> None:
    before = tile(owner=held(A, 7), next=term(B, 9))
    assert ended_terms(before, cut_over(before, now_ms=0)) == []
    assert ended_terms(None, before) == []


def test_all_terms_of_a_tile_that_goes_have_ended() -> None:
    assert len(ended_terms(tile(owner=held(B, 9), draining=held(A, 7)), None)) == 2


def test_a_record_is_read_from_json_as_it_was_written() -> None:
    record = tile(owner=held(A, 7), next=term(B, 9), draining=term(C, 5, draining_since_ms=3), capacity=2.5)
    assert msgspec.json.decode(msgspec.json.encode(record), type=TileRecord) == record


Step = Callable[[TileRecord, int], TileRecord | None]
PODS = (A, B, C)


def _giving(step: Callable[[TileRecord, Term], TileRecord], pod: PodId) -> Step:
    return lambda record, number: step(record, term(pod, number))


def _saying(slot: str, phase: AcknowledgedPhase) -> Step:
    def say(record: TileRecord, number: int) -> TileRecord | None:
        one: Term | None = getattr(record, slot)
        return acknowledge(T1, record, one.pod_id, one.epoch, phase, number) if one else record

    return say


STEPS: dict[str, Step] = {
    **{f"place {pod}": _giving(place, pod) for pod in PODS},
    **{f"prepare {pod}": _giving(prepare, pod) for pod in PODS},
    "cut over": cut_over,
    "abort": lambda record, _: abort(record),
    "drop owner": lambda record, _: drop_owner(record),
    "take from idle": lambda record, _: take_from_idle(record),
    "drop draining": lambda record, _: drop_draining(record),
    "retire": retire,
    **{f"{p} by {slot}": _saying(slot, p) for slot in ("owner", "next", "draining") for p in AcknowledgedPhase},
}
"""What may happen to a tile, each given the number of the step, which serves as epoch and as time."""


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=40))
def test_whatever_the_order_of_steps_there_is_one_owner_and_its_epoch_rises(names: list[str]) -> None:
    record, in_force = tile(), 0
    for number, name in enumerate(names, 1):
        try:
            after = STEPS[name](record, number)
        except (IllegalState, EpochStale):
            continue
        before_terms, after_terms = states(record), states(after)
        gone = [(one.pod_id, one.epoch) for one, _ in ended_terms(record, after)]
        assert sorted(gone) == sorted(before_terms.keys() - after_terms.keys())
        if after is None:
            return
        assert len({epoch for _, epoch in after_terms}) == len(after_terms)
        assert after.last_epoch >= in_force
        if after.owner and (record.owner is None or after.owner.epoch != record.owner.epoch):
            assert after.owner.epoch > in_force
            in_force = after.owner.epoch
            # The former owner goes on draining, or its loss was noted before: it is never just forgotten.
            former = (record.owner.pod_id, record.owner.epoch) if record.owner else None
            assert former is None or after_terms.get(former) is AssignmentState.DRAINING
        assert not after.next or after.next.epoch > max(after.last_epoch, after.epoch_in_force)
        assert not after.draining or not after.owner or after.draining.epoch < after.owner.epoch
        assert not after.retiring or (after.owner is None and after.next is None)
        record = after
