"""What a pod's worker is asked to do of each change, and what is left when a call is cut short."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from subgraph.client.assignments import Assignments
from subgraph.client.manager import ChangeTold, OwnedTerm, Takeover, TermTold, TileLoad
from tests.support.scripted_manager import change, snapshot

pytestmark = pytest.mark.anyio


class Worker:
    """Notes its calls; the call named in `hangs_in` never ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[OwnedTerm]]] = []
        self.hangs_in = ""
        self.refuses: dict[str, int] = {}
        """What its sink refuses, with the highest epoch it has seen."""
        self.seen: list[bool] = []
        self.replaced: dict[str, tuple[str, ...]] = {}
        self.assignments: Assignments | None = None

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        await self._note("prepare", terms)

    async def activate(self, takeovers: Sequence[Takeover]) -> Mapping[str, int]:
        self.replaced |= {one.tile_id: one.replaces for one in takeovers if one.replaces}
        await self._note("activate", [(one.tile_id, one.epoch) for one in takeovers])
        asked = {one.tile_id for one in takeovers}
        return {tile_id: highest for tile_id, highest in self.refuses.items() if tile_id in asked}

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        await self._note("release", terms)

    def loads(self) -> Sequence[TileLoad]:
        return ()

    async def _note(self, name: str, terms: Sequence[OwnedTerm]) -> None:
        self.calls.append((name, list(terms)))
        assert self.assignments is not None
        self.seen += [self.assignments.owns(*term) for term in terms]
        if name == self.hangs_in:
            await asyncio.Event().wait()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def said() -> list[tuple[str, list[OwnedTerm]]]:
    return []


@pytest.fixture
def assignments(worker: Worker, said: list[tuple[str, list[OwnedTerm]]]) -> Assignments:
    async def acknowledge(terms: Sequence[OwnedTerm], phase: str) -> None:
        if terms:
            said.append((phase, list(terms)))

    worker.assignments = Assignments(worker, acknowledge)
    return worker.assignments


async def cut_short(assignments: Assignments, worker: Worker, name: str, told: ChangeTold) -> None:
    """Apply a change, and be cancelled in the middle of a call, as when the lease is refused meanwhile."""
    worker.hangs_in = name
    task = asyncio.create_task(assignments.apply(told))
    while not (worker.calls and worker.calls[-1][0] == name):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    worker.hangs_in = ""


async def test_a_tile_is_prepared_activated_and_released_with_an_acknowledgement_each(
    assignments: Assignments, worker: Worker, said: list[tuple[str, list[OwnedTerm]]]
) -> None:
    await assignments.apply(snapshot(1, a_1="PREPARING"))
    assert assignments.owned == {}
    await assignments.apply(change(2, 1, a_1="ACTIVE"))
    assert assignments.owned == {"a": 1}
    assert not assignments.idle.is_set()
    await assignments.apply(change(3, 2, a_1="DRAINING"))
    assert assignments.owned == {}
    assert assignments.idle.is_set()
    assert worker.calls == [("prepare", [("a", 1)]), ("activate", [("a", 1)]), ("release", [("a", 1)])]
    assert said == [("READY", [("a", 1)]), ("ACTIVE", [("a", 1)]), ("RELEASED", [("a", 1)])]
    assert assignments.applied_version == 3


async def test_a_drained_tile_is_worked_on_until_it_is_released_and_a_lost_one_is_not(
    assignments: Assignments, worker: Worker
) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE", b_2="ACTIVE"))
    worker.seen.clear()
    await assignments.apply(change(2, 1, a_1="DRAINING", b_2="LOST"))
    assert worker.calls[1:] == [("release", [("b", 2)]), ("release", [("a", 1)])]
    assert worker.seen == [False, True]


async def test_what_was_prepared_and_is_given_up_is_released(
    assignments: Assignments, worker: Worker, said: list[tuple[str, list[OwnedTerm]]]
) -> None:
    await assignments.apply(snapshot(1, a_1="PREPARING"))
    await assignments.apply(change(2, 1, a_1="ABORTED"))
    assert worker.calls[1:] == [("release", [("a", 1)])]
    assert assignments.idle.is_set()
    assert said == [("READY", [("a", 1)])]


async def test_a_snapshot_ends_what_it_does_not_contain_and_repeats_acknowledgements(
    assignments: Assignments, worker: Worker, said: list[tuple[str, list[OwnedTerm]]]
) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE", b_2="ACTIVE", c_3="PREPARING"))
    said.clear()
    worker.calls.clear()
    await assignments.apply(snapshot(5, a_1="ACTIVE"))
    assert worker.calls == [("release", [("b", 2), ("c", 3)])]
    assert said == [("ACTIVE", [("a", 1)])]
    assert assignments.owned == {"a": 1}


async def test_a_tile_that_comes_back_at_a_higher_epoch_is_released_first(
    assignments: Assignments, worker: Worker
) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE"))
    await assignments.apply(snapshot(9, a_7="ACTIVE"))
    assert worker.calls[1:] == [("release", [("a", 1)]), ("activate", [("a", 7)])]
    assert assignments.owned == {"a": 7}


async def test_restricting_to_a_snapshot_ends_ownership_at_once_and_the_worker_is_told_with_it(
    assignments: Assignments, worker: Worker
) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE", b_2="ACTIVE"))
    told = snapshot(5, a_1="ACTIVE", b_4="PREPARING")
    assignments.restrict_to(told)
    assert assignments.owned == {"a": 1}
    assert worker.calls[1:] == []
    await assignments.apply(told)
    assert worker.calls[1:] == [("release", [("b", 2)]), ("prepare", [("b", 4)])]


@pytest.mark.parametrize("state", ["LOST", "DRAINING"])
async def test_a_release_that_is_cut_short_comes_again(assignments: Assignments, worker: Worker, state: str) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE"))
    await cut_short(assignments, worker, "release", change(2, 1, a_1=state))
    await assignments.apply(snapshot(3))
    assert worker.calls[1:] == [("release", [("a", 1)])] * 2
    await assignments.apply(snapshot(4))
    assert worker.calls[3:] == []


@pytest.mark.parametrize(("state", "call"), [("ACTIVE", "activate"), ("PREPARING", "prepare")])
async def test_what_is_cut_short_at_its_beginning_is_begun_again_or_released(
    assignments: Assignments, worker: Worker, state: str, call: str
) -> None:
    await cut_short(assignments, worker, call, snapshot(1, a_1=state, b_1=state))
    assert assignments.owned == {}
    await assignments.apply(snapshot(2, a_1=state))
    assert worker.calls[1:] == [("release", [("b", 1)]), (call, [("a", 1)])]


async def test_a_tile_that_splits_is_released_before_its_parts_are_begun_and_they_tell_what_they_replace(
    assignments: Assignments, worker: Worker, said: list[tuple[str, list[OwnedTerm]]]
) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE"))
    await assignments.apply(change(2, 1, b_2="ACTIVE of a", c_3="ACTIVE of a", a_1="DRAINING"))
    assert worker.calls[1:] == [("release", [("a", 1)]), ("activate", [("b", 2), ("c", 3)])]
    assert worker.replaced == {"b": ("a",), "c": ("a",)}
    assert said[1:] == [("RELEASED", [("a", 1)]), ("ACTIVE", [("b", 2), ("c", 3)])]
    assert assignments.owned == {"b": 2, "c": 3}


async def test_what_a_takeover_replaces_is_told_again_if_it_was_cut_short(
    assignments: Assignments, worker: Worker
) -> None:
    await cut_short(assignments, worker, "activate", snapshot(1, b_2="ACTIVE of a"))
    worker.replaced.clear()
    await assignments.apply(snapshot(2, b_2="ACTIVE of a"))
    assert worker.replaced == {"b": ("a",)}


async def test_what_a_sink_refuses_is_neither_owned_nor_acknowledged(
    assignments: Assignments, worker: Worker, said: list[tuple[str, list[OwnedTerm]]]
) -> None:
    """Somebody else has had the tile since: the word of the session manager comes late, or from before a loss."""
    worker.refuses = {"b": 3}
    await assignments.apply(snapshot(9, a_1="ACTIVE", b_2="ACTIVE"))
    assert assignments.owned == {"a": 1}
    assert said == [("ACTIVE", [("a", 1)])]
    assert assignments.unheard_of == {}
    worker.refuses = {}
    await assignments.apply(change(10, 9, b_10="ACTIVE"))
    assert assignments.owned == {"a": 1, "b": 10}
    assert said[-1] == ("ACTIVE", [("b", 10)])


async def test_an_epoch_beyond_all_that_was_told_is_kept_to_be_told(assignments: Assignments, worker: Worker) -> None:
    worker.refuses = {"a": 7, "b": 6}
    await assignments.apply(snapshot(6, a_1="ACTIVE", b_2="ACTIVE", c_3="ACTIVE"))
    assert assignments.unheard_of == {"a": 7}


async def test_a_term_told_again_is_acknowledged_again_and_one_whose_acknowledgement_is_known_is_not(
    assignments: Assignments, worker: Worker, said: list[tuple[str, list[OwnedTerm]]]
) -> None:
    await assignments.apply(snapshot(1, a_1="ACTIVE"))
    await assignments.apply(ChangeTold(2, 1, is_snapshot=False, terms=(TermTold("a", 1, "ACTIVE", (), True),)))
    assert said == [("ACTIVE", [("a", 1)])]
    await assignments.apply(change(3, 2, a_1="ACTIVE"))
    assert said == [("ACTIVE", [("a", 1)])] * 2
    assert worker.calls == [("activate", [("a", 1)])]
