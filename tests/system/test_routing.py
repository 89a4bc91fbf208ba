"""A sender of records that follows a real fleet: it finds owners after moves, refusals and splits."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import h3.api.basic_int as h3
import pytest

from subgraph.client.manager import CallRefused
from subgraph.client.router import Router, routes_over_graphql
from subgraph.client.routes import NoRoute, Route, Why
from subgraph.client.sink import EpochRefused, SinkRecord
from tests.support.polling import eventually
from tests.support.server import LEASE_SETTING, PATIENT, RunningServer, running_server
from tests.support.sinks import redis_sinks
from tests.support.world import FakeWork, disk, new_session

pytestmark = pytest.mark.anyio

CELL = h3.str_to_int(disk(0)[0])
PLACE = (40.0, -100.0)
WAIT_SECONDS_MAX = 20.0
SHORT_LEASE = {LEASE_SETTING: "1", "SESSION_MANAGER_POD_LEASE_SECONDS": "1"}
MOVE = "mutation($input: PlaceTileInput!) { moveTile(input: $input) { errors { message } } }"
SPLIT = "mutation($id: ID!) { splitTile(input: {tileId: $id}) { errors { message } } }"
TILE_AT = "query($id: ID!) { tileAt(sessionId: $id, lat: 40.0, lng: -100.0) { id } }"


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[RunningServer]:
    """A server on which nothing splits or merges by itself."""
    with running_server(tmp_path / "data", **PATIENT, SESSION_MANAGER_SPLIT_TILES="false") as running:
        yield running


@contextlib.asynccontextmanager
async def routing(server: RunningServer, session_id: str) -> AsyncIterator[Router]:
    router = Router(session_id, routes_over_graphql(f"{server.url}/graphql", session_id))
    task = asyncio.create_task(router.run())
    try:
        yield router
    finally:
        task.cancel()
        await asyncio.wait([task])


def owner_at_work(router: Router) -> str | None:
    """The pod that says that it works on the place's tile."""
    found = router.route_at(*PLACE)
    return found.pod_id if isinstance(found, Route) and found.is_at_work else None


async def called(server: RunningServer, mutation: str, **variables: Any) -> None:
    """Call a mutation that must succeed, beside the event loop."""
    answer = await asyncio.to_thread(server.data, mutation, **variables)
    assert next(iter(answer.values()))["errors"] == []


async def called_in_the_end(server: RunningServer, mutation: str, **variables: Any) -> None:
    """Call a mutation until it succeeds."""

    async def succeeds() -> bool:
        answer = await asyncio.to_thread(server.data, mutation, **variables)
        return not next(iter(answer.values()))["errors"]

    await eventually(succeeds, "the mutation succeeds", WAIT_SECONDS_MAX)


async def working(pods: list[FakeWork], router: Router, is_done: Callable[[Router], object]) -> None:
    """Pods do what they are told until the router knows it."""

    async def done() -> bool:
        for pod in pods:
            await asyncio.to_thread(pod.acknowledge)
        return bool(is_done(router))

    await eventually(done, "the router is told", WAIT_SECONDS_MAX)


async def test_records_reach_the_owner_of_their_place_across_a_move_and_a_split(
    by_hand: RunningServer, valkey_url: str
) -> None:
    one, two = FakeWork(by_hand), FakeWork(by_hand)
    one.register()
    session_id = new_session(by_hand, [h3.int_to_str(CELL)])
    tile = f"{session_id}:{CELL:x}"
    async with routing(by_hand, session_id) as router, redis_sinks(valkey_url) as opens:
        sink = opens(f"sink-{uuid4()}", "test")
        await working([one], router, owner_at_work)
        former = router.route_at(*PLACE)
        assert isinstance(former, Route)
        assert (former.tile_id, former.pod_id) == (tile, one.id)
        await sink.write(tile, former.epoch, [SinkRecord(1, b"one")])

        two.register()
        await called(by_hand, MOVE, input={"tileId": tile, "podId": two.id})
        await working([one, two], router, lambda it: owner_at_work(it) == two.id)
        latter = router.route_at(*PLACE)
        assert isinstance(latter, Route)
        await sink.raise_epoch(tile, latter.epoch)
        with pytest.raises(EpochRefused) as refusal:
            await sink.write(tile, former.epoch, [SinkRecord(2, b"late")])
        # Whoever still went by the former route learns from the refusal which epoch to wait for, and here it is told.
        router.refuse(former, refusal.value.highest_epoch)
        assert router.route_at(*PLACE) == latter

        # The former owner still drains: a tile that is handed over does not split.
        await working([one, two], router, lambda _: True)
        await called_in_the_end(by_hand, SPLIT, id=tile)
        await working([one, two], router, lambda it: it.tile_at(*PLACE) != tile)
        part = router.tile_at(*PLACE)
        told = (await asyncio.to_thread(by_hand.data, TILE_AT, id=session_id))["tileAt"]
        assert part == told["id"]
        assert router.route_of(tile) == NoRoute(Why.OUTSIDE)
        await working([one, two], router, owner_at_work)
        found = router.route_at(*PLACE)
        assert isinstance(found, Route)
        assert found.epoch > latter.epoch
        assert router.behind_seconds < 30


async def test_a_router_that_is_cut_off_for_a_lease_answers_no_more_until_it_is_told_anew(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", **SHORT_LEASE) as server:
        session_id = new_session(server, [h3.int_to_str(CELL)])
        unowned = NoRoute(Why.UNOWNED, f"{session_id}:{CELL:x}")
        async with routing(server, session_id) as router:
            await router.wait_for(lambda it: it.route_at(*PLACE) == unowned, WAIT_SECONDS_MAX)
            server.process.send_signal(signal.SIGSTOP)
            try:
                await eventually(lambda: router.route_at(*PLACE) == NoRoute(Why.OUT_OF_TOUCH), "it knows no more")
                assert router.behind_seconds > 1
            finally:
                server.process.send_signal(signal.SIGCONT)
            await router.wait_for(lambda it: it.route_at(*PLACE) == unowned, WAIT_SECONDS_MAX)


async def test_the_routes_of_a_session_that_is_not_there_are_refused(server: RunningServer) -> None:
    session_id = str(uuid4())
    with pytest.raises(CallRefused):
        await asyncio.wait_for(
            Router(session_id, routes_over_graphql(f"{server.url}/graphql", session_id)).run(), WAIT_SECONDS_MAX
        )
