"""What tiles require: each distinct set of labels kept once, a session's on top of the tiles' own."""

import numpy as np
import numpy.typing as npt
import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.requirements import LABEL_SETS_MAX, Requirements, SessionRequirement
from subgraph.domain.ids import SessionId
from subgraph.domain.labels import REQUIRED_LABELS_MAX, Labels, check_labels, check_required

S1, S2 = SessionId("one"), SessionId("two")
GPU, EU = {"gpu": "yes"}, {"zone": "eu"}


def requirement(labels: Labels, revision: int = 1) -> SessionRequirement:
    return SessionRequirement(revision, labels)


def rows(*these: int) -> npt.NDArray[np.int32]:
    return np.array(these, np.int32)


def all_of(requirements: Requirements, *these: int) -> list[dict[str, str]]:
    return [dict(requirements.of(row)) for row in these]


def test_a_tile_requires_its_own_labels_and_its_sessions() -> None:
    requirements = Requirements()
    requirements.put(0, S1, GPU)
    requirements.put_session(S1, requirement(EU), rows(0))
    requirements.put(1, S1, {})
    requirements.put(2, S2, {})
    assert all_of(requirements, 0, 1, 2) == [{**GPU, **EU}, EU, {}]
    assert [requirements.own(row) for row in (0, 1, 2)] == [GPU, {}, {}]


def test_what_a_session_requires_no_more_leaves_the_tiles_their_own() -> None:
    requirements = Requirements()
    requirements.put_session(S1, requirement(EU), rows())
    requirements.put(0, S1, GPU)
    requirements.put(1, S1, EU)
    requirements.put_session(S1, requirement({}, 2), rows(0, 1))
    assert all_of(requirements, 0, 1) == [GPU, EU]
    assert requirements.of_session(S1) == requirement({}, 2)
    requirements.put_session(S1, None, rows(0, 1))
    assert requirements.of_session(S1) is None


def test_a_row_far_beyond_all_others_and_one_that_is_gone_require_nothing() -> None:
    requirements = Requirements()
    requirements.put(0, S1, GPU)
    requirements.forget(0)
    requirements.forget(1_000_000)
    assert all_of(requirements, 0, 5_000) == [{}, {}]
    requirements.put(5_000, S1, GPU)
    assert all_of(requirements, 5_000) == [GPU]


def test_equal_sets_are_one_whoever_requires_them() -> None:
    requirements = Requirements()
    requirements.put_session(S2, requirement(EU), rows())
    for row, (session_id, own) in enumerate([(S1, {**EU, **GPU}), (S2, GPU), (S2, {**GPU, **EU}), (S1, {})]):
        requirements.put(row, session_id, own)
    set_of_tile, sets = requirements.sets_of(np.arange(4))
    assert [dict(sets[position]) for position in set_of_tile] == [{**EU, **GPU}] * 3 + [{}]
    assert len(sets) == 2


def test_the_sets_that_would_be_required_are_counted_with_those_to_come() -> None:
    requirements = Requirements()
    requirements.put(0, S1, GPU)
    requirements.put(1, S1, {})
    assert requirements.sets_with([]) == 1
    assert requirements.sets_with([frozenset(GPU.items()), frozenset()]) == 1
    assert requirements.sets_with([frozenset(EU.items())]) == 2


def test_sets_that_no_tile_requires_any_more_do_not_pile_up() -> None:
    requirements = Requirements()
    requirements.put(0, S1, GPU)
    for n in range(20 * LABEL_SETS_MAX):
        requirements.put(1, S1, {"n": str(n)})
    assert all_of(requirements, 0, 1) == [GPU, {"n": str(n)}]
    _, sets = requirements.sets_of(np.arange(2))
    assert len(sets) == 2
    assert requirements.kept <= 5 * LABEL_SETS_MAX


@pytest.mark.parametrize(
    ("labels", "path", "limit"),
    [
        ({f"k{n}": "" for n in range(REQUIRED_LABELS_MAX + 1)}, "at", f"{REQUIRED_LABELS_MAX} labels"),
        ({"": "v"}, "at.0.key", "1 character"),
        ({"a": "b", "k": "\ud800"}, "at.1.value", None),
    ],
)
def test_labels_beyond_a_limit_are_refused_by_entry_and_field(labels: Labels, path: str, limit: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_labels(labels, ("at",), REQUIRED_LABELS_MAX)
    assert (".".join(refused.value.path), refused.value.limit) == (path, limit)


def test_labels_that_no_pod_can_bear_beside_the_sessions_are_refused_by_both_values() -> None:
    check_required({**GPU, **EU}, EU, ("at",))
    with pytest.raises(InvalidInput, match=r"zone=us.*zone=eu") as refused:
        check_required({**GPU, "zone": "us"}, EU, ("at",))
    assert refused.value.path == ("at", "1")
