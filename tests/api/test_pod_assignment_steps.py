"""A pod's desired state, step by step: nothing is missed over a resynchronisation, and nothing is told again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from strawberry.types.base import get_object_definition

from subgraph.api.subscriptions import Subscription
from subgraph.api.subscriptions.fleet import PodAssignmentChange, PodAssignmentChangeKind
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.fleet import fleet_view
from subgraph.operations.fleet.fleet_view import FleetView
from tests.support.fleets import T1, T2, A, B, held, pod, snapshot, term, tile
from tests.support.polling import eventually
from tests.support.scripted_live import ScriptedLive, current_view

pytestmark = pytest.mark.anyio

SNAPSHOT, CHANGES = PodAssignmentChangeKind.SNAPSHOT, PodAssignmentChangeKind.CHANGES
PODS = {A: pod(), B: pod()}


@pytest.fixture
def live() -> ScriptedLive:
    return ScriptedLive(snapshot({T1: tile(owner=held(A, 7)), T2: tile(owner=held(B, 8), next=term(A, 9))}, PODS))


@pytest.fixture
async def view(live: ScriptedLive, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FleetView]:
    monkeypatch.setattr(fleet_view, "RETRY_SECONDS", 0.02)
    async with current_view(live, 2_000) as view:
        yield view


def steps(view: FleetView, after_version: int | None = None) -> AsyncGenerator[PodAssignmentChange, None]:
    """The subscription's steps for pod A."""
    definition = get_object_definition(Subscription, strict=True)
    (field,) = [one for one in definition.fields if one.python_name == "pod_assignments"]
    info = SimpleNamespace(context=SimpleNamespace(services=SimpleNamespace(view=view)))
    resolver = cast(Any, field.base_resolver).wrapped_func
    return cast("AsyncGenerator[PodAssignmentChange, None]", resolver(Subscription(), info, A, after_version))


async def step(told: AsyncIterator[PodAssignmentChange]) -> tuple[PodAssignmentChangeKind, int, int | None, set[str]]:
    change = await asyncio.wait_for(anext(told), 30)
    terms = {f"{one.epoch} {one.state.value}" for one in change.assignments}
    return change.kind, change.version, change.previous_version, terms


async def begin_anew(live: ScriptedLive, version: int, tiles: Mapping[TileId, TileRecord]) -> None:
    """The process misses changes, and begins with a snapshot."""
    live.first = snapshot(tiles, PODS, version)
    given = live.snapshots_given
    live.tell(Unavailable("cut"))
    live.published_version = version
    await eventually(lambda: live.snapshots_given > given, "a new snapshot")


async def test_first_a_snapshot_then_changes_that_name_the_one_before(live: ScriptedLive, view: FleetView) -> None:
    told = steps(view)
    assert await step(told) == (SNAPSHOT, 10, None, {"7 ACTIVE", "9 PREPARING"})
    live.tell(FleetChange(10, 11, {T1: tile(owner=held(A, 7), next=term(B, 10))}))  # does not concern A
    live.tell(FleetChange(11, 12, {T2: tile(owner=held(B, 8))}))
    live.tell(FleetChange(12, 13, {T1: tile(owner=held(B, 10), draining=held(A, 7))}))
    assert await step(told) == (CHANGES, 12, 10, {"9 ABORTED"})
    assert await step(told) == (CHANGES, 13, 12, {"7 DRAINING"})
    await told.aclose()


async def test_who_knows_all_that_the_process_knows_gets_only_what_comes(live: ScriptedLive, view: FleetView) -> None:
    told = steps(view, after_version=10)
    waiting = asyncio.ensure_future(step(told))
    await asyncio.sleep(0)
    live.tell(FleetChange(10, 11, {T2: tile(owner=held(B, 8))}))
    assert await waiting == (CHANGES, 11, 10, {"9 ABORTED"})
    await told.aclose()


async def test_who_knows_less_than_the_first_snapshot_reads_all(view: FleetView) -> None:
    """A term of the pod may have ended before this process began, and nothing that is left says so."""
    told = steps(view, after_version=9)
    assert await step(told) == (SNAPSHOT, 10, None, {"7 ACTIVE", "9 PREPARING"})
    await told.aclose()


async def test_a_term_whose_end_was_missed_is_not_in_the_next_snapshot(live: ScriptedLive, view: FleetView) -> None:
    told = steps(view)
    await step(told)
    waiting = asyncio.ensure_future(step(told))
    # Nothing that is left of the pod is newer than what it was told last: only the end was.
    await begin_anew(live, 20, {T1: tile(owner=held(B, 8))})
    assert await waiting == (SNAPSHOT, 20, None, set())
    await told.aclose()


async def test_what_a_snapshot_has_told_is_not_told_again(live: ScriptedLive, view: FleetView) -> None:
    """The reader was busy: behind the resynchronisation wait changes that the snapshot, taken when read, contains."""
    told = steps(view)
    await step(told)
    await begin_anew(live, 20, {T1: tile(owner=held(A, 7))})
    live.tell(FleetChange(20, 21, {T2: tile(owner=held(A, 15))}))
    live.tell(FleetChange(21, 22, {T2: tile(owner=held(B, 16))}))
    await view.caught_up(22, timeout_seconds=30)
    assert await step(told) == (SNAPSHOT, 22, None, {"7 ACTIVE"})
    live.tell(FleetChange(22, 23, {T1: tile(owner=held(B, 17), draining=held(A, 7))}))
    assert await step(told) == (CHANGES, 23, 22, {"7 DRAINING"})
    await told.aclose()
