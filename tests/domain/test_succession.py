"""Splits and merges of tiles: who follows whom, on which pod, at which epoch, and what lasts."""

import h3.api.basic_int as h3
import pytest

from subgraph.domain.errors import IllegalState
from subgraph.domain.ids import TileId, tile_id
from subgraph.domain.ownership import (
    AcknowledgedPhase,
    AssignmentReason,
    AssignmentState,
    TileRecord,
    acknowledge,
    drop_owner,
    place,
    terms_of,
)
from subgraph.domain.succession import children_of, merge, parent_of, split
from tests.support.fleets import SESSION, T1, A, B, C, held, term, tile

NOW_MS = 5_000
CHILDREN = children_of(T1)
PENTAGON = tile_id(SESSION, h3.get_pentagons(3)[0])
SPLIT, MERGED = AssignmentReason.TILE_SPLIT, AssignmentReason.TILE_MERGED


def parts(**facts: object) -> dict[TileId, TileRecord]:
    """The children of a tile registered at its own resolution, each settled on A at an epoch of its own."""
    given: dict[str, object] = {"registered_resolution": 4, **facts}
    return {child: tile(**{"owner": held(A, epoch), **given}) for epoch, child in enumerate(CHILDREN, 11)}


def test_a_tile_has_seven_children_a_pentagon_six_and_the_finest_none() -> None:
    assert [len(children_of(one)) for one in (T1, PENTAGON)] == [7, 6]
    assert {parent_of(child) for child in CHILDREN} == {T1}
    finest = tile_id(SESSION, h3.latlng_to_cell(40.0, -100.0, 15))
    assert children_of(finest) == ()
    assert parent_of(tile_id(SESSION, h3.latlng_to_cell(40.0, -100.0, 0))) is None


@pytest.mark.parametrize("whole", [T1, PENTAGON])
def test_the_children_of_a_tile_are_its_places_each_once(whole: TileId) -> None:
    cells = {h3.str_to_int(one.rpartition(":")[2]) for one in children_of(whole)}
    cell = h3.str_to_int(whole.rpartition(":")[2])
    assert {h3.cell_to_parent(one, h3.get_resolution(cell)) for one in cells} == {cell}
    assert sum(h3.cell_to_children_size(one, 8) for one in cells) == h3.cell_to_children_size(cell, 8)


def test_a_tile_splits_on_its_pod_at_higher_epochs_and_its_owner_drains() -> None:
    before = tile(owner=held(A, 7), capacity=2.5, pin=A)
    after = split(T1, before, 9, NOW_MS)
    assert after.keys() == {T1, *CHILDREN}
    for epoch, child in enumerate(CHILDREN, 9):
        record = after[child]
        assert record.owner == term(A, epoch, reason=SPLIT, at=NOW_MS, ready=True)
        assert (record.capacity, record.pin, record.registered_resolution) == (2.5, A, 4)
        assert (record.replaces, record.last_epoch, record.retiring) == ((T1,), epoch, False)
    retired = after[T1]
    assert terms_of(retired) == [(held(A, 7, draining_since_ms=NOW_MS), AssignmentState.DRAINING)]
    assert (retired.retiring, retired.retired_at_ms) == (True, NOW_MS)


def test_the_released_tile_is_gone_and_a_working_child_replaces_nothing_any_more() -> None:
    after = split(T1, tile(owner=held(A, 7)), 9, NOW_MS)
    assert acknowledge(T1, after[T1], A, 7, AcknowledgedPhase.RELEASED, 60) is None
    child = acknowledge(CHILDREN[0], after[CHILDREN[0]], A, 9, AcknowledgedPhase.ACTIVE, 60)
    assert child is not None
    assert (child.is_settled, child.replaces) == (True, ())


def test_whoever_owns_a_child_next_still_shuts_the_former_owner_out_until_one_has_worked() -> None:
    child = drop_owner(split(T1, tile(owner=held(A, 7)), 9, NOW_MS)[CHILDREN[0]])
    assert child.replaces == (T1,)
    placed = place(child, term(B, 20))
    assert placed.replaces == (T1,)
    assert acknowledge(CHILDREN[0], placed, B, 20, AcknowledgedPhase.READY, 60) == placed


def test_a_tile_that_nobody_owns_splits_into_tiles_that_nobody_owns_and_stays_for_a_moment() -> None:
    after = split(T1, tile(last_epoch=7), 0, NOW_MS)
    assert {(one.owner, one.last_epoch, one.replaces) for one in map(after.get, CHILDREN) if one} == {(None, 7, (T1,))}
    assert (after[T1].retiring, after[T1].retired_at_ms, terms_of(after[T1])) == (True, NOW_MS, [])


def test_what_a_predecessor_has_not_shut_out_its_successors_do() -> None:
    child = drop_owner(split(T1, tile(owner=held(A, 7)), 9, NOW_MS)[CHILDREN[0]])
    grandchildren = split(CHILDREN[0], child, 0, NOW_MS)
    assert {grandchildren[one].replaces for one in children_of(CHILDREN[0])} == {(CHILDREN[0], T1)}
    assert {grandchildren[one].registered_resolution for one in children_of(CHILDREN[0])} == {4}


def test_siblings_merge_on_their_pod_above_all_their_epochs() -> None:
    siblings = parts(capacity=2.5, pin=A)
    after = merge(T1, siblings, 30, NOW_MS)
    parent = after[T1]
    assert parent.owner == term(A, 30, reason=MERGED, at=NOW_MS, ready=True)
    assert (parent.capacity, parent.pin, parent.registered_resolution) == (2.5, A, None)
    assert (parent.replaces, parent.last_epoch) == (CHILDREN, 30)
    for epoch, child in enumerate(CHILDREN, 11):
        assert terms_of(after[child]) == [(held(A, epoch, draining_since_ms=NOW_MS), AssignmentState.DRAINING)]
        assert after[child].retired_at_ms == NOW_MS


def test_split_and_merged_a_tile_is_what_it_was_but_for_its_term() -> None:
    before = tile(owner=held(A, 7), capacity=2.5)
    children = {
        child: acknowledge(child, record, A, record.epoch_in_force, AcknowledgedPhase.ACTIVE, 60)
        for child, record in split(T1, before, 9, NOW_MS).items()
        if child != T1
    }
    merged = merge(T1, {child: record for child, record in children.items() if record}, 30, NOW_MS)[T1]
    assert (merged.capacity, merged.registered_resolution, merged.pin) == (2.5, None, None)
    assert children_of(T1) == tuple(children)


def test_unowned_siblings_merge_and_the_parent_does_not_replace_itself() -> None:
    siblings = {
        child: drop_owner(record)
        for child, record in split(T1, tile(owner=held(A, 7)), 9, NOW_MS).items()
        if child != T1
    }
    parent = merge(T1, siblings, 0, NOW_MS)[T1]
    assert (parent.owner, parent.last_epoch, parent.replaces) == (None, 15, CHILDREN)


@pytest.mark.parametrize(
    "record",
    [
        tile(owner=held(A, 7), next=term(B, 9)),
        tile(owner=held(B, 9), draining=held(A, 7)),
        tile(owner=term(A, 7)),
        tile(draining=held(A, 7)),
        tile(draining=held(A, 7), retiring=True),
    ],
    ids=["preparing", "draining", "unacknowledged", "draining-unowned", "retiring"],
)
def test_a_tile_in_the_middle_of_something_neither_splits_nor_merges(record: TileRecord) -> None:
    with pytest.raises(IllegalState):
        split(T1, record, 99, NOW_MS)
    last = {**parts(), CHILDREN[-1]: record}
    with pytest.raises(IllegalState):
        merge(T1, last, 99, NOW_MS)


def test_epochs_must_rise() -> None:
    with pytest.raises(IllegalState, match="rise"):
        split(T1, tile(owner=held(A, 7)), 7, NOW_MS)
    with pytest.raises(IllegalState, match="rise"):
        merge(T1, parts(), 17, NOW_MS)


def test_a_tile_at_the_finest_resolution_does_not_split() -> None:
    finest = tile_id(SESSION, h3.latlng_to_cell(40.0, -100.0, 15))
    with pytest.raises(IllegalState, match="finest"):
        split(finest, tile(owner=held(A, 7)), 9, NOW_MS)


def without_one() -> dict[TileId, TileRecord]:
    return dict(list(parts().items())[1:])


@pytest.mark.parametrize(
    ("siblings", "why"),
    [
        (without_one(), "complete"),
        ({**parts(), T1: tile(owner=held(A, 7))}, "complete"),
        ({**parts(), CHILDREN[3]: tile(owner=held(B, 14), registered_resolution=4)}, "several pods"),
        ({**parts(), CHILDREN[3]: tile(registered_resolution=4)}, "several pods"),
        ({**parts(), CHILDREN[3]: tile(owner=held(A, 14), registered_resolution=4, capacity=9.0)}, "differ"),
        ({**parts(), CHILDREN[3]: tile(owner=held(A, 14), registered_resolution=4, pin=C)}, "differ"),
        (parts(registered_resolution=None), "coarser"),
        (parts(registered_resolution=5), "coarser"),
    ],
)
def test_what_does_not_belong_together_does_not_merge(siblings: dict[TileId, TileRecord], why: str) -> None:
    with pytest.raises(IllegalState, match=why):
        merge(T1, siblings, 30, NOW_MS)
