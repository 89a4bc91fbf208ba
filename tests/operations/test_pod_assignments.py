"""A pod's desired state belongs to one instance: it is told in a chain, and ends when the instance is over."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import pytest

from subgraph.domain.errors import LeaseLost, NotFound
from subgraph.domain.fleet.changes import FleetChange, Versioned
from subgraph.domain.ids import PodId
from subgraph.domain.loads import LoadMetric
from subgraph.domain.pods import PodRecord, PodStatus
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.pod_assignments import AssignmentStep, PodAssignments
from tests.support.fleets import T1, T2, A, held, pod, snapshot, term, tile
from tests.support.polling import eventually
from tests.support.scripted_live import ScriptedLive, current_view

pytestmark = pytest.mark.anyio

Steps = AsyncGenerator[AssignmentStep, None]
OVER = [
    (pod(lease_token="new"), True),
    (pod(status=PodStatus.LOST), False),
    (pod(status=PodStatus.GONE), False),
    (None, False),
]


@pytest.fixture
def live() -> ScriptedLive:
    return ScriptedLive(snapshot({T1: tile(owner=held(A, 7)), T2: tile()}, {A: pod(lease_token="t")}))


@pytest.fixture
async def view(live: ScriptedLive) -> AsyncIterator[FleetView]:
    async with current_view(live) as view:
        yield view


def follow(view: FleetView, token: str | None = "t", after: int | None = None) -> "contextlib.aclosing[Steps]":
    return contextlib.aclosing(PodAssignments(view).follow(A, token, after))


async def step(steps: Steps) -> tuple[int, int | None, list[int]]:
    """The next step: its version, the one before, and the epochs it tells of."""
    told = await asyncio.wait_for(anext(steps), 30)
    assert told.is_snapshot == (told.previous_version is None)
    return told.version, told.previous_version, [change.term.epoch for change in told.terms]


async def test_a_snapshot_comes_first_and_every_change_names_the_one_before(
    live: ScriptedLive, view: FleetView
) -> None:
    async with follow(view) as steps:
        assert await step(steps) == (10, None, [7])
        live.tell(FleetChange(10, 11, {T2: tile(owner=term(A, 9))}))
        live.tell(FleetChange(11, 12, {}, {PodId("b"): pod()}))
        live.tell(FleetChange(12, 13, {T1: tile()}))
        assert await step(steps) == (11, 10, [9])
        assert await step(steps) == (13, 11, [7])


async def test_what_was_read_while_another_instance_took_over_is_not_told_to_the_former_one() -> None:
    # Its pods were read before the other registered, and its tiles after the other was given one.
    before = snapshot({}, {A: pod(lease_token="t")})
    live = ScriptedLive(replace(before, tiles={T1: Versioned(13, tile(owner=held(A, 12)))}, read_until=13))
    view = FleetView(live.as_port(), 1_000, LoadMetric.RECORDS, time.monotonic)
    running = asyncio.create_task(view.run())
    await eventually(lambda: live.snapshots_given and live.beats_given > 1, "the snapshot is taken in")
    assert not view.is_current
    live.tell(FleetChange(10, 11, {}, {A: pod(lease_token="new")}))
    live.tell(FleetChange(11, 13, {T1: tile(owner=held(A, 12))}))
    await eventually(lambda: view.is_current, "all is as of one moment")
    async with follow(view, "new") as steps:
        assert await step(steps) == (13, None, [12])
    async with follow(view, "t") as steps:
        with pytest.raises(LeaseLost):
            await step(steps)
    running.cancel()
    await asyncio.wait([running])


async def test_who_has_missed_nothing_gets_no_snapshot(live: ScriptedLive, view: FleetView) -> None:
    async with follow(view, after=10) as steps:
        following = asyncio.ensure_future(step(steps))
        await asyncio.sleep(0)
        live.tell(FleetChange(10, 11, {T2: tile(owner=term(A, 9))}))
        assert await following == (11, 10, [9])


@pytest.mark.parametrize(("record", "superseded"), OVER)
async def test_an_instance_that_is_over_hears_of_no_further_term(
    live: ScriptedLive, view: FleetView, record: PodRecord | None, superseded: bool
) -> None:
    async with follow(view) as steps:
        await step(steps)
        # In one stretch, as a process that lags sees it: the terms of the next instance are already there.
        live.tell(FleetChange(10, 11, {T2: tile(owner=term(A, 9))}))
        live.tell(FleetChange(11, 12, {}, {A: record}))
        await view.caught_up(12, timeout_seconds=30)
        with pytest.raises(LeaseLost) as over:
            await step(steps)
        assert over.value.superseded is superseded


async def test_an_instance_that_nothing_is_told_of_learns_that_it_is_over(live: ScriptedLive, view: FleetView) -> None:
    async with follow(view) as steps:
        await step(steps)
        waiting = asyncio.ensure_future(step(steps))
        live.tell(FleetChange(10, 11, {}, {A: pod(lease_token="new")}))
        with pytest.raises(LeaseLost):
            await waiting


@pytest.mark.parametrize(("record", "superseded"), OVER[:3])
async def test_an_instance_that_was_over_before_is_refused(
    live: ScriptedLive, view: FleetView, record: PodRecord | None, superseded: bool
) -> None:
    live.tell(FleetChange(10, 11, {}, {A: record}))
    async with follow(view) as steps:
        with pytest.raises(LeaseLost) as over:
            await step(steps)
        assert over.value.superseded is superseded


async def test_a_registration_that_this_process_has_not_heard_of_yet_is_waited_for(
    live: ScriptedLive, view: FleetView
) -> None:
    live.published_version = 11
    async with follow(view, token="new") as steps:
        waiting = asyncio.ensure_future(step(steps))
        await asyncio.sleep(0)
        live.arrive(FleetChange(10, 11, {}, {A: pod(lease_token="new")}))
        assert await waiting == (11, None, [7])


async def test_without_a_token_it_is_followed_until_another_instance_registers(
    live: ScriptedLive, view: FleetView
) -> None:
    async with follow(view, token=None) as steps:
        await step(steps)
        live.tell(FleetChange(10, 11, {T1: tile()}, {A: pod(status=PodStatus.LOST)}))
        assert await step(steps) == (11, 10, [7])
        live.tell(FleetChange(11, 12, {}, {A: pod(lease_token="new")}))
        with pytest.raises(LeaseLost):
            await step(steps)


async def test_an_unknown_pod_is_not_found(view: FleetView) -> None:
    for token in (None, "t"):
        with pytest.raises(NotFound):
            await anext(PodAssignments(view).follow(PodId("nobody"), token, None))
