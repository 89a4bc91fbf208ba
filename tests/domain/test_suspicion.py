"""When a tile is suspected of killing its pods: a table of literal histories, each with the waits it leads to."""

import pytest

from subgraph.domain import ownership
from subgraph.domain.ids import PodId
from subgraph.domain.ownership import AssignmentReason, Term, TileRecord
from subgraph.domain.suspicion import LOSSES_KEPT_MAX, Loss, QuarantinePolicy, Suspicion, is_due, quarantined, with_loss
from tests.support.fleets import A, B, held, term, tile

POLICY = QuarantinePolicy(early_ms=60_000)
MINUTE_MS = 60_000


def waits(*owners: tuple[float, float]) -> list[float]:
    """How long (in minutes) the tile is quarantined after each owner, from when they took it up until they died."""
    record, found = tile(), []
    for epoch, (taken_up, lost) in enumerate(owners, 1):
        at_ms, lost_ms = int(taken_up * MINUTE_MS), int(lost * MINUTE_MS)
        record = ownership.place(record, Term(PodId(str(epoch)), epoch, AssignmentReason.POD_LOST, at_ms))
        record = ownership.drop_owner(ownership.suspect(record, lost_ms, POLICY))
        suspicion, before_ms = record.suspicion, 0
        if suspicion is not None and is_due(suspicion, POLICY):
            before_ms = lost_ms
            record = TileRecord(record.tenant_id, last_epoch=epoch, suspicion=quarantined(suspicion, lost_ms, POLICY))
        until_ms = record.suspicion.quarantined_until_ms if record.suspicion else 0
        found.append((until_ms - before_ms) / MINUTE_MS if before_ms else 0)
    return found


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([(0, 0.5)], [0]),
        ([(0, 0.5), (1, 1.5)], [0, 0]),
        ([(0, 0.5), (1, 1.5), (2, 2.5)], [0, 0, 1]),
        # One who works for a minute and longer dies of something else.
        ([(0, 1), (1, 2.5), (3, 4)], [0, 0, 0]),
        ([(0, 0.5), (1, 1.5), (2, 9), (9, 9.5)], [0, 0, 0, 1]),
        # Ten minutes are the window.
        ([(0, 0.5), (5, 5.5), (10, 10.5)], [0, 0, 1]),
        ([(0, 0.5), (5, 5.5), (10, 10.6)], [0, 0, 0]),
        ([(0, 0.5), (5, 5.5), (10, 10.6), (11, 11.1)], [0, 0, 0, 1]),
        # Each further loss doubles the wait, up to an hour, however long it was before.
        (
            [
                (0, 0.5),
                (1, 1.5),
                (2, 2.5),
                (4, 4.5),
                (7, 7.5),
                (12, 12.5),
                (21, 21.5),
                (40, 40.5),
                (80, 80.5),
                (200, 200.5),
            ],
            [0, 0, 1, 2, 4, 8, 16, 32, 60, 60],
        ),
        # A loss that is late, after a quarantine, says nothing.
        ([(0, 0.5), (1, 1.5), (2, 2.5), (4, 6)], [0, 0, 1, 0]),
    ],
)
def test_a_history_leads_to_these_waits(owners: list[tuple[float, float]], expected: list[float]) -> None:
    assert waits(*owners) == expected


def test_taking_up_is_when_the_owner_began_to_work_or_was_told_to() -> None:
    late = held(A, 1, at=0, acknowledged_at_ms=30_000)
    assert ownership.suspect(tile(owner=late), 89_999, POLICY).suspicion == Suspicion((Loss(A, 89_999),), in_a_row=1)
    assert ownership.suspect(tile(owner=late), 90_000, POLICY).suspicion is None
    silent = term(A, 1, at=0)
    assert ownership.suspect(tile(owner=silent), 59_999, POLICY).suspicion == Suspicion((Loss(A, 59_999),), in_a_row=1)
    assert ownership.suspect(tile(), 0, POLICY) == tile()


def test_a_quarantine_is_imposed_once_a_loss() -> None:
    suspicion = Suspicion(tuple(Loss(A, n) for n in range(3)))
    assert is_due(suspicion, POLICY)
    imposed = quarantined(suspicion, 2, POLICY)
    assert (imposed.quarantined_until_ms, imposed.quarantines) == (60_002, 1)
    assert imposed.is_quarantined(60_001)
    assert not imposed.is_quarantined(60_002)
    assert not is_due(imposed, POLICY)
    assert is_due(with_loss(imposed, Loss(B, 60_003), POLICY), POLICY)


def test_of_very_many_losses_the_last_are_kept_and_all_are_counted() -> None:
    suspicion = None
    for n in range(LOSSES_KEPT_MAX + 5):
        suspicion = with_loss(suspicion, Loss(PodId(str(n)), n), POLICY)
    assert suspicion is not None
    assert [loss.pod_id for loss in suspicion.losses] == [str(n) for n in range(5, LOSSES_KEPT_MAX + 5)]
    assert suspicion.in_a_row == LOSSES_KEPT_MAX + 5


def test_losses_are_in_a_row_while_they_are_within_the_window_or_a_quarantine_came_before() -> None:
    first = with_loss(None, Loss(A, 0), POLICY)
    assert with_loss(first, Loss(A, POLICY.window_ms), POLICY).in_a_row == 2
    assert with_loss(first, Loss(A, POLICY.window_ms + 1), POLICY).in_a_row == 1
    served = quarantined(first, 0, POLICY)
    assert with_loss(served, Loss(A, POLICY.window_ms + 1), POLICY).in_a_row == 2


def test_waits_do_not_overflow() -> None:
    for quarantines in (62, 63, 64, 1_000):
        assert quarantined(Suspicion((Loss(A, 0),), quarantines), 0, POLICY).quarantined_until_ms == 60 * MINUTE_MS


def test_whoever_places_a_tile_by_hand_knows_better_and_the_planner_does_not() -> None:
    suspicion = Suspicion((Loss(A, 1),), 1, 10)
    by_hand = term(B, 5, reason=AssignmentReason.MANUAL)
    assert ownership.place(tile(suspicion=suspicion), by_hand).suspicion is None
    by_plan = term(B, 5, reason=AssignmentReason.POD_LOST)
    assert ownership.place(tile(suspicion=suspicion), by_plan).suspicion == suspicion


@pytest.mark.parametrize(
    "wrong",
    [
        {"losses_enough": 0},
        {"losses_enough": LOSSES_KEPT_MAX + 1},
        {"first_ms": 0},
        {"first_ms": 2, "longest_ms": 1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"loss|first_ms"):
        QuarantinePolicy(**wrong)
