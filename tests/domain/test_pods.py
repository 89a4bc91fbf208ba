"""Pods: which statuses live, and which registrations are refused."""

import math
from typing import Any

import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import ID_LENGTH_MAX
from subgraph.domain.labels import LABEL_KEY_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX, LABELS_MAX
from subgraph.domain.pods import (
    CAPACITY_MAX,
    LEASE_MS_MIN,
    TEXT_LENGTH_MAX,
    TILES_PER_POD_MAX,
    PodStatus,
    check_registration,
)
from tests.support.fleets import pod

LEASE_MS_MAX = 5_000


def check(**changes: Any) -> None:
    given = {
        "pod_id": "a",
        "service": "rail",
        "capacity": 100.0,
        "tiles_max": None,
        "zone": None,
        "labels": {},
        "lease_ms": 3_000,
        "lease_ms_max": LEASE_MS_MAX,
    }
    check_registration(**{**given, **changes})


def test_a_pod_lives_until_it_is_lost_or_gone() -> None:
    live = {status for status in PodStatus if status.is_live}
    assert live == {PodStatus.READY, PodStatus.CORDONED, PodStatus.DRAINING}


def test_a_status_holds_from_the_moment_it_was_given() -> None:
    lost = pod().with_status(PodStatus.LOST, 42)
    assert (lost.status, lost.status_at_ms) == (PodStatus.LOST, 42)
    assert lost.with_status(PodStatus.READY, 0) == pod()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pod_id": "p" * ID_LENGTH_MAX, "service": "s" * TEXT_LENGTH_MAX, "zone": "z" * TEXT_LENGTH_MAX},
        {"pod_id": "a b/ü"},
        {"capacity": 0.001},
        {"capacity": CAPACITY_MAX},
        {"tiles_max": 0},
        {"tiles_max": TILES_PER_POD_MAX},
        {"labels": {f"k{n}": "v" * LABEL_VALUE_LENGTH_MAX for n in range(LABELS_MAX)}},
        {"lease_ms": LEASE_MS_MIN},
        {"lease_ms": LEASE_MS_MAX},
    ],
)
def test_registrations_up_to_the_limits_are_accepted(changes: dict[str, Any]) -> None:
    check(**changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pod_id": ""}, "id"),
        ({"pod_id": "p" * (ID_LENGTH_MAX + 1)}, "id"),
        ({"pod_id": "a\nb"}, "id"),
        ({"pod_id": " a"}, "id"),
        ({"pod_id": "a\u200b"}, "id"),
        ({"service": ""}, "service"),
        ({"service": "s" * (TEXT_LENGTH_MAX + 1)}, "service"),
        ({"zone": ""}, "zone"),
        ({"zone": "z" * (TEXT_LENGTH_MAX + 1)}, "zone"),
        ({"capacity": 0.0}, "capacity"),
        ({"capacity": -1.0}, "capacity"),
        ({"capacity": math.nan}, "capacity"),
        ({"capacity": math.inf}, "capacity"),
        ({"capacity": CAPACITY_MAX * 1.001}, "capacity"),
        ({"tiles_max": -1}, "maxTiles"),
        ({"tiles_max": TILES_PER_POD_MAX + 1}, "maxTiles"),
        ({"labels": {f"k{n}": "" for n in range(LABELS_MAX + 1)}}, "labels"),
        ({"labels": {"": "v"}}, "labels.0.key"),
        ({"labels": {"k" * (LABEL_KEY_LENGTH_MAX + 1): ""}}, "labels.0.key"),
        ({"labels": {"j": "", "k": "v" * (LABEL_VALUE_LENGTH_MAX + 1)}}, "labels.1.value"),
        ({"lease_ms": LEASE_MS_MIN - 1}, "lease"),
        ({"lease_ms": LEASE_MS_MAX + 1}, "lease"),
    ],
)
def test_a_registration_beyond_a_limit_is_refused_by_field_and_limit(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(**changes)
    assert ".".join(refused.value.path) == field
    assert refused.value.limit


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service": "half a pair: \ud83d"}, "service"),
        ({"zone": "\ud83d"}, "zone"),
        ({"zone": "a\0b"}, "zone"),
        ({"labels": {"j": "", "k": "a\nb"}}, "labels.1.value"),
        ({"labels": {"\ud83d": "v"}}, "labels.0.key"),
        ({"labels": {"k": "\ud83d"}}, "labels.0.value"),
        ({"zone": "a", "labels": {"zone": "b"}}, "zone"),
    ],
)
def test_a_registration_that_is_no_text_or_contradicts_itself_is_refused_by_field(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(**changes)
    assert ".".join(refused.value.path) == field


def test_the_zone_is_one_more_label() -> None:
    assert pod(labels={"gpu": "yes"}).borne_labels == {"gpu": "yes"}
    assert pod(labels={"gpu": "yes"}, zone="eu").borne_labels == {"gpu": "yes", "zone": "eu"}
    assert pod(labels={"zone": "eu"}, zone="eu").borne_labels == {"zone": "eu"}


def test_a_pod_that_is_lost_in_its_drain_did_not_die_at_work() -> None:
    died = {status: pod(status=status).with_status(PodStatus.LOST, 1).died_at_work for status in PodStatus}
    assert died[PodStatus.READY]
    assert died[PodStatus.CORDONED]
    assert not died[PodStatus.DRAINING]
    assert not pod(status=PodStatus.GONE).died_at_work


def test_only_a_ready_pod_that_is_not_shunned_receives_tiles() -> None:
    assert [status for status in PodStatus if pod(status=status).receives_tiles(0)] == [PodStatus.READY]
    shunned = pod(shunned_until_ms=100)
    assert [shunned.receives_tiles(now_ms) for now_ms in (99, 100)] == [False, True]


def test_an_operators_word_ends_that_a_pod_is_shunned_and_no_other_status_does() -> None:
    after = {one: pod(shunned_until_ms=100).with_status(one, 1).shunned_until_ms for one in PodStatus}
    assert {status for status, until_ms in after.items() if until_ms == 0} == {PodStatus.READY}
