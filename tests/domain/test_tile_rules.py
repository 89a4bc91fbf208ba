"""What an operator may rule about a tile's place, and which rulings contradict each other."""

import pytest

from subgraph.domain.errors import IllegalState, QuotaExceeded
from subgraph.domain.ids import PodId
from subgraph.domain.suspicion import Loss, Suspicion
from subgraph.domain.tile_rules import FORBIDDEN_PODS_MAX, allow, check_pin, check_place, forbid, pin, release
from tests.support.fleets import T1, A, B, C, held, term, tile


def test_a_pod_is_forbidden_once_and_allowed_again() -> None:
    record = tile(owner=held(A, 1))
    forbidden = forbid(T1, forbid(T1, record, A), B)
    assert forbidden.forbidden == (A, B)
    assert forbid(T1, forbidden, A) == forbidden
    assert allow(forbidden, A) == tile(owner=held(A, 1), forbidden=(B,))
    assert allow(record, A) == record


def test_a_handoff_to_a_pod_that_becomes_forbidden_is_given_up_one_to_another_goes_on() -> None:
    record = tile(owner=held(A, 1), next=term(B, 2, ready=True))
    assert forbid(T1, record, B) == tile(owner=held(A, 1), forbidden=(B,))
    assert forbid(T1, record, C).next == record.next


def test_a_tile_is_not_forbidden_where_it_is_pinned_and_not_pinned_where_it_is_forbidden() -> None:
    with pytest.raises(IllegalState, match=rf"{T1}.*'{A}'") as refused:
        forbid(T1, tile(pin=A), A)
    assert (refused.value.state, refused.value.path) == ("PINNED", ("podId",))
    assert forbid(T1, tile(pin=A), B).forbidden == (B,)
    with pytest.raises(IllegalState, match=rf"{T1}.*'{A}'") as refused:
        check_place(T1, tile(forbidden=(A,)), A, (), {})
    assert refused.value.state == "FORBIDDEN"
    check_place(T1, tile(forbidden=(A,)), B, (), {})


def test_a_tile_is_not_put_where_its_labels_are_missing_which_are_named() -> None:
    required = {("gpu", "yes"), ("zone", "eu"), ("disk", "ssd")}
    check_place(T1, tile(), A, required, {"gpu": "yes", "zone": "eu", "disk": "ssd", "more": ""})
    with pytest.raises(IllegalState, match=r"disk=ssd, zone=eu") as refused:
        check_place(T1, tile(), A, required, {"gpu": "yes", "zone": "us"})
    assert refused.value.state == "LABELS"


def test_a_pinned_tile_is_moved_by_hand_to_its_pin_only() -> None:
    check_pin(T1, pin(tile(), A), A)
    with pytest.raises(IllegalState, match=rf"pinned to pod '{A}'"):
        check_pin(T1, pin(tile(), A), B)
    assert pin(pin(tile(), A), None) == tile()


def test_a_tile_is_kept_off_so_many_pods_and_no_more() -> None:
    record = tile(forbidden=tuple(PodId(str(n)) for n in range(FORBIDDEN_PODS_MAX)))
    assert forbid(T1, record, PodId("0")) == record
    with pytest.raises(QuotaExceeded) as refused:
        forbid(T1, record, PodId("one more"))
    assert (refused.value.limit, refused.value.path) == (FORBIDDEN_PODS_MAX, ("podId",))


def test_a_release_forgets_all_that_spoke_against_the_tile() -> None:
    assert release(tile(suspicion=Suspicion((Loss(A, 1),), 3, 10))) == tile()
    assert release(tile()) == tile()
