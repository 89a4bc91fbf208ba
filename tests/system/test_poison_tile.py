"""A tile that kills the process of every pod it comes to: three die, it is quarantined, and the fourth pod survives."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import RunningServer, running_server, until
from tests.support.world import REGISTER_TILES, FakeWork, disk, new_session

pytestmark = [pytest.mark.xdist_group("failover"), pytest.mark.long]

PODS = ("a", "b", "c", "d")
CELLS = disk(8)
POISON = CELLS[100]
SECONDS_MAX = 60.0
FLEET = """{ fleet { quarantinedTiles unassignedTiles pods(status: [READY]) { edges { node { id tileCount } } } }
  rebalancePlan { unplaceable { tileId reasons rejections { reason podCount podIds } } } }"""
TILE = """query($id: ID!) { tile(id: $id) { health quarantinedUntil earlyLosses { podId at } assignment { podId } } }"""
MOVE = """mutation($input: PlaceTileInput!) { moveTile(input: $input) { assignment { podId reason }
  errors { code message } } }"""


@contextmanager
def pods_killed_by(server: RunningServer, poison: str) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Four pods, each a process that the tile kills; they are READY."""
    command = [sys.executable, "-m", "tests.support.poisoned_pod", f"{server.url}/graphql"]
    processes = {pod: subprocess.Popen([*command, pod, poison], stdin=subprocess.DEVNULL) for pod in PODS}
    try:
        count = "{ fleet { pods(status: [READY]) { totalCount } } }"
        until(lambda: server.data(count)["fleet"]["pods"]["totalCount"] == 4, "the pods are READY", SECONDS_MAX)
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def test_a_poison_tile_kills_three_pods_and_the_fourth_survives(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        session_id = new_session(server)
        poison = f"{session_id}:{POISON}"
        with pods_killed_by(server, poison) as processes:
            server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": {"cells": CELLS}})

            def quarantined() -> dict[str, Any] | None:
                tile: dict[str, Any] = server.data(TILE, id=poison)["tile"]
                return tile if tile["quarantinedUntil"] else None

            tile = until(quarantined, "the tile is quarantined", SECONDS_MAX)
            died = [loss["podId"] for loss in tile["earlyLosses"]]
            (survivor,) = set(PODS) - set(died)
            assert (len(died), tile["health"], tile["assignment"]) == (3, "UNASSIGNED", None)
            assert {pod: process.poll() for pod, process in processes.items()} == {
                pod: None if pod == survivor else -9 for pod in PODS
            }

            def all_others_work() -> dict[str, Any] | None:
                told = server.data(FLEET)
                (pod,) = (edge["node"] for edge in told["fleet"]["pods"]["edges"])
                waiting = told["fleet"]["quarantinedTiles"]
                return told if pod == {"id": survivor, "tileCount": len(CELLS) - waiting} else None

            told = until(all_others_work, "all other tiles are with the survivor", SECONDS_MAX)
            # Those that shared all three pods with it may be quarantined too: no more than a twentieth.
            assert 1 <= told["fleet"]["quarantinedTiles"] == told["fleet"]["unassignedTiles"] <= len(CELLS) / 20
            (reported,) = (one for one in told["rebalancePlan"]["unplaceable"] if one["tileId"] == poison)
            assert reported["reasons"] == ["QUARANTINED"]
            assert reported["rejections"] == [{"reason": "QUARANTINED", "podCount": 1, "podIds": [survivor]}]
            assert "session_manager_quarantined_tiles{" in server.http.get("/metrics").text

            sandbox = FakeWork(server)
            sandbox.register()
            moved = server.data(MOVE, input={"tileId": poison, "podId": sandbox.id})["moveTile"]
            assert moved == {"assignment": {"podId": sandbox.id, "reason": "MANUAL"}, "errors": []}
            after = server.data(TILE, id=poison)["tile"]
            assert (after["quarantinedUntil"], after["earlyLosses"]) == (None, [])
            assert processes[survivor].poll() is None
