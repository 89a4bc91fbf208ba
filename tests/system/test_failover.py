"""Pods as real processes: killed, paused and drained while records flow; judged at the sink by an independent audit."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import EpochRefused, SinkRecord
from subgraph.demo.pod import SINK_NAME
from tests.support.record_flow import flowing
from tests.support.server import RunningServer, running_server
from tests.support.world import disk, new_session

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("failover"), pytest.mark.long]

OWNERS = """query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node {
  id handoff { id } assignment { podId epoch reason acknowledgedAt } } } } } }"""
SETTLE_SECONDS_MAX = 30.0


@dataclass
class Fleet:
    """A server, pod processes, a session whose tiles they share, and records that keep flowing."""

    server: RunningServer
    session_id: str
    redis: Redis
    pods: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_pod(self, pod_id: str) -> None:
        command = [sys.executable, "-m", "subgraph.demo.pod", "--url", f"{self.server.url}/graphql"]
        command += ["--redis-url", self.server.redis_url, "--id", pod_id, "--capacity", "1000"]
        self.pods[pod_id] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(self.pods[pod_id])

    def owners(self) -> dict[str, dict[str, Any]]:
        answer = self.server.data(OWNERS, id=self.session_id)
        return {edge["node"]["id"]: edge["node"] for edge in answer["session"]["tiles"]["edges"]}

    async def until_settled(self, pods: set[str]) -> dict[str, dict[str, Any]]:
        """The tiles, once each is owned and acknowledged by one of the pods, every pod has some, and none moves."""

        def settled() -> bool:
            tiles = self.owners().values()
            owned = [tile["assignment"] for tile in tiles]
            return (
                all(owner and owner["acknowledgedAt"] and owner["podId"] in pods for owner in owned)
                and not any(tile["handoff"] for tile in tiles)
                and {owner["podId"] for owner in owned} == pods
            )

        await until(settled, f"the tiles are with {sorted(pods)}")
        return self.owners()


async def until(condition: Callable[[], bool], what: str) -> None:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + SETTLE_SECONDS_MAX
    while not condition():
        assert loop.time() < give_up_at, f"not within {SETTLE_SECONDS_MAX:g} s: {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def fleet_of(tmp_path: Path, *pods: str) -> AsyncIterator[Fleet]:
    with running_server(tmp_path / "data") as server:
        redis = connect(server.redis_url)
        fleet = Fleet(server, "", redis)
        try:
            for pod_id in pods:
                fleet.start_pod(pod_id)
            ready = "{ fleet { pods(status: [READY]) { totalCount } } }"
            await until(lambda: server.data(ready)["fleet"]["pods"]["totalCount"] == len(pods), "the pods registered")
            fleet.session_id = new_session(server, disk(3))
            await fleet.until_settled(set(pods))
            yield fleet
        finally:
            for process in fleet.processes:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
            await redis.aclose()


@asynccontextmanager
async def records_flowing(fleet: Fleet) -> AsyncIterator[None]:
    """Records of every tile, all the time; when they stop, every one must have been accepted, and once."""
    async with flowing(fleet.redis, list(fleet.owners())):
        yield


async def test_a_killed_pods_tiles_go_to_the_others_and_no_record_is_lost_or_doubled(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "a", "b", "c") as fleet, records_flowing(fleet):
        before = fleet.owners()
        fleet.pods["a"].kill()
        after = await fleet.until_settled({"b", "c"})
        lost = [tile for tile, was in before.items() if was["assignment"]["podId"] == "a"]
        assert lost
        for tile in lost:
            assert after[tile]["assignment"]["reason"] == "POD_LOST"
            assert after[tile]["assignment"]["epoch"] > before[tile]["assignment"]["epoch"]
        for tile in before.keys() - lost:
            assert after[tile]["assignment"]["epoch"] == before[tile]["assignment"]["epoch"]
        pod = fleet.server.data('{ pod(id: "a") { status tileCount } }')["pod"]
        assert pod == {"status": "LOST", "tileCount": 0}


async def test_a_paused_pod_is_fenced_and_comes_back_as_a_pod_without_its_former_tiles(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "a", "b") as fleet, records_flowing(fleet):
        before = fleet.owners()
        os.kill(fleet.pods["a"].pid, signal.SIGSTOP)
        await fleet.until_settled({"b"})
        tile = next(tile for tile, was in before.items() if was["assignment"]["podId"] == "a")
        late = RedisSink(fleet.redis, SINK_NAME, "a")
        with pytest.raises(EpochRefused):
            await late.write(tile, before[tile]["assignment"]["epoch"], [SinkRecord(10**9, b"late")])
        os.kill(fleet.pods["a"].pid, signal.SIGCONT)
        status = '{ pod(id: "a") { status } }'
        await until(lambda: fleet.server.data(status)["pod"]["status"] == "READY", "the pod registered again")
        await fleet.until_settled({"a", "b"})


async def test_a_drained_pod_hands_its_tiles_over_and_leaves_on_sigterm(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "a", "b") as fleet, records_flowing(fleet):
        before = fleet.owners()
        fleet.pods["a"].terminate()
        after = await fleet.until_settled({"b"})
        moved = [tile for tile, was in before.items() if was["assignment"]["podId"] == "a"]
        assert {after[tile]["assignment"]["reason"] for tile in moved} == {"POD_DRAINED"}
        await until(lambda: fleet.pods["a"].poll() is not None, "the pod's process ended")
        assert fleet.pods["a"].returncode == 0
        assert fleet.server.data('{ pod(id: "a") { status } }')["pod"]["status"] == "GONE"


async def test_two_processes_with_one_id_never_both_work(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "a", "b") as fleet, records_flowing(fleet):
        former = fleet.pods["a"]
        fleet.start_pod("a")
        latter = fleet.pods["a"]
        # Normally the former; but one that has just lost its lease registers again, and is then the newer instance.
        await until(lambda: former.poll() == 1 or latter.poll() == 1, "one instance ended because of the other")
        assert {former.poll(), latter.poll()} == {1, None}
        await fleet.until_settled({"a", "b"})
