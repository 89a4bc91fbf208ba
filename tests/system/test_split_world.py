"""The demo's world, with real pods: tiles split and merge under its traffic, and the sink has every record once."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from subgraph.client.audit import SinkAudit
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import EpochRefused, SinkRecord
from subgraph.demo.pod import SINK_NAME
from subgraph.demo.world import LiveWorld, live_world

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("failover"), pytest.mark.long]

NOON = 12 * 3_600.0
SETTLE_SECONDS_MAX = 40.0
TILES = """{ mainSession { tiles(first: 1000) { edges { node {
  id resolution load { smoothed } handoff { id } assignment { podId epoch reason acknowledgedAt } } } } } }"""
SPLIT = "mutation($id: ID!) { splitTile(input: {tileId: $id}) { registered tiles { id } errors { message } } }"
MERGE = """mutation($input: MergeTilesInput!) { mergeTiles(input: $input) { registered errors { message } } }"""
STATUS = "query($id: ID!) { pod(id: $id) { status } }"
PAUSE = """mutation { pauseRebalancing(input: {duration: "PT10M", reason: "by hand"}) { errors { message } } }"""


class Operator:
    """Somebody who looks at a world and does things to it by hand."""

    def __init__(self, world: LiveWorld, http: httpx.AsyncClient) -> None:
        self.world = world
        self._http = http

    async def data(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = await self._http.post(self.world.url, json={"query": query, "variables": variables})
        told: dict[str, Any] = answer.json()
        assert "errors" not in told, told["errors"]
        data: dict[str, Any] = told["data"]
        return data

    async def tiles(self) -> dict[str, dict[str, Any]]:
        edges = (await self.data(TILES))["mainSession"]["tiles"]["edges"]
        return {edge["node"]["id"]: edge["node"] for edge in edges}

    async def working(self) -> dict[str, dict[str, Any]]:
        """The tiles, once each is worked on and none moves."""

        async def settled() -> Any:
            tiles = await self.tiles()
            owners = [tile["assignment"] for tile in tiles.values()]
            is_settled = all(owner and owner["acknowledgedAt"] for owner in owners)
            return tiles if is_settled and not any(tile["handoff"] for tile in tiles.values()) else None

        tiles: dict[str, dict[str, Any]] = await until(settled, "all tiles are worked on")
        return tiles

    async def hottest(self) -> str:
        tiles = await self.working()
        return max(tiles, key=lambda tile: tiles[tile]["load"]["smoothed"])

    async def done(self, query: str, field: str, **variables: Any) -> dict[str, Any]:
        """An act by hand, tried again while something is under way."""

        async def succeeded() -> Any:
            answer = (await self.data(query, **variables))[field]
            return answer if not answer["errors"] else None

        done: dict[str, Any] = await until(succeeded, f"{field} succeeds")
        return done


async def until(condition: Callable[[], Any], what: str) -> Any:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + SETTLE_SECONDS_MAX
    while not (found := await condition()):
        assert loop.time() < give_up_at, f"not within {SETTLE_SECONDS_MAX:g} s: {what}"
        await asyncio.sleep(0.1)
    return found


@contextlib.asynccontextmanager
async def flowing(tmp_path: Path, *, pods: int, resolution: int) -> AsyncIterator[Operator]:
    """A world under traffic; at the end the traffic stops, and every record must have been accepted, and once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"port": port, "pods": pods, "pace": 60.0, "start_second_of_day": NOON, "resolution": resolution}
    async with live_world(tmp_path, **place) as world, httpx.AsyncClient(timeout=10) as http:
        operator = Operator(world, http)

        async def has_traffic() -> bool:
            return world.channel.sent > 1_000

        await until(has_traffic, "the traffic flows")
        yield operator
        world.feeder.replay.pace = 0.0
        await assert_every_record_was_accepted_once(world)


async def assert_every_record_was_accepted_once(world: LiveWorld) -> None:
    audit = SinkAudit(world.redis, SINK_NAME)

    async def all_accepted() -> bool:
        while await audit.follow():
            pass
        return audit.findings.accepted >= world.channel.sent

    with contextlib.suppress(AssertionError):
        await until(all_accepted, "all records are accepted")
    findings = audit.findings
    assert not world.problem.done()
    assert (findings.accepted_twice, findings.below_highest_epoch, findings.entries_lost) == (0, 0, 0)
    assert (findings.accepted, findings.gaps) == (world.channel.sent, 0)


async def test_a_tile_splits_merges_and_splits_again_while_its_owner_stands_still_and_no_record_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    async with flowing(tmp_path, pods=2, resolution=2) as operator:
        # Nothing but what is done by hand: a tile that nobody owns is given away all the same.
        await operator.data(PAUSE)
        tile = await operator.hottest()
        session_id, _, cell = tile.rpartition(":")
        split = await operator.done(SPLIT, "splitTile", id=tile)
        children = {one["id"] for one in split["tiles"]}
        assert children <= (await operator.working()).keys()
        await operator.done(MERGE, "mergeTiles", input={"sessionId": session_id, "parent": cell})
        tiles = await operator.working()
        assert tile in tiles
        assert not children & tiles.keys()

        owner, epoch = tiles[tile]["assignment"]["podId"], tiles[tile]["assignment"]["epoch"]
        pid = operator.world.processes.process_of_pod[owner]
        os.kill(pid, signal.SIGSTOP)
        try:
            again = await operator.done(SPLIT, "splitTile", id=tile)
            assert {one["id"] for one in again["tiles"]} == children

            async def elsewhere() -> Any:
                tiles = await operator.working()
                return all(one["assignment"]["podId"] != owner for one in tiles.values()) and children <= tiles.keys()

            await until(elsewhere, "the parts are worked on elsewhere")
            late = RedisSink(operator.world.redis, SINK_NAME, "late")
            with pytest.raises(EpochRefused):
                await late.write(tile, epoch, [SinkRecord(10**9, b"late")])
        finally:
            os.kill(pid, signal.SIGCONT)

        async def is_back() -> Any:
            return (await operator.data(STATUS, id=owner))["pod"]["status"] == "READY"

        await until(is_back, "the pod has registered again")
