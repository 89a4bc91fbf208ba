"""Splitting and merging tiles by hand: what becomes of them, who is told what, and every reason to refuse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h3
import pytest

from tests.support.server import PATIENT, RunningServer, running_server, until
from tests.support.subscriber import subscribed
from tests.support.world import ACKNOWLEDGE, FakeWork, disk, new_session, until_owned

SPLIT = """mutation($id: ID!) { splitTile(input: {tileId: $id}) { registered
  tiles { id resolution capacity load { smoothed } assignment { podId epoch reason state replaces } parent { id } }
  errors { code message path ... on SessionIllegalState { state } ... on SessionManagerInvalidInput { limit } } } }"""
MERGE = """mutation($input: MergeTilesInput!) { mergeTiles(input: $input) { registered
  tiles { id load { smoothed } assignment { podId epoch reason replaces } }
  errors { code message path ... on SessionIllegalState { state } ... on SessionManagerInvalidInput { limit } } } }"""
TILE = """query($id: ID!) { tile(id: $id) { id retiredAt health replacedBy { id } children { id } parent { id }
  assignment { podId } } }"""
TILES = """query($id: ID!) { session(ref: {id: $id}) { partition { tileCount unassignedTiles }
  tiles(first: 1000) { totalCount edges { node { id } } } } }"""
PLAN = """query { rebalancePlan { id skipped moveCount splits { tileId load into tile { id } pod { id } }
  merges { parent tileIds load tiles { id } pod { id } } unsplit { tileId reason } } }"""
REBALANCE = """mutation($id: ID!) { rebalance(input: {planId: $id}) { plan { splits { tileId } merges { parent } }
  errors { code ... on RebalancePlanStale { changedTileIds } } } }"""
PIN = """mutation($input: PlaceTileInput!) { pinTile(input: $input) { errors { code } } }"""
MOVE = """mutation($input: PlaceTileInput!) { moveTile(input: $input) { errors { code message } } }"""
END = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { message } } }"
ENTITY = """query($r: [_Any!]!) { _entities(representations: $r) {
  ... on Tile { id retiredAt replacedBy { h3Index } } } }"""
CHANGES = """subscription($id: ID!) { tileChanges(sessionId: $id) { removedIds tiles { id } } }"""

CELL = disk(0)[0]
CHILDREN = sorted(h3.cell_to_children(CELL))


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on which nothing splits by itself. Its tests leave no pod behind."""
    directory = tmp_path_factory.mktemp("by-hand")
    with running_server(directory / "data", **PATIENT, SESSION_MANAGER_SPLIT_TILES="false") as running:
        yield running


@pytest.fixture
def world(by_hand: RunningServer) -> Iterator["World"]:
    made = World(by_hand)
    yield made
    made.end()


class World:
    """A session of one tile that a pod of capacity 100 works on, and reports of."""

    def __init__(self, server: RunningServer, load: float = 70.0, **pod: Any) -> None:
        self.server = server
        self.pod = FakeWork(server)
        self.pod.register(**pod)
        self.session_id = new_session(server, [CELL])
        self.tile = f"{self.session_id}:{CELL}"
        self.children = [f"{self.session_id}:{child}" for child in CHILDREN]
        until_owned(server, self.session_id, 1)
        self.pod.acknowledge()
        self.report(load)

    def report(self, load: float) -> None:
        terms = [one for one in self.pod.terms() if one["state"] == "ACTIVE"]
        self.pod.report(
            [{"tileId": one["tileId"], "epoch": one["epoch"], "recordsPerSecond": load / len(terms)} for one in terms]
        )

    def split(self, tile: str | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.server.data(SPLIT, id=tile or self.tile)["splitTile"]
        return answer

    def merge(self, parent: str = CELL, session_id: str | None = None) -> dict[str, Any]:
        wanted = {"sessionId": session_id or self.session_id, "parent": parent}
        answer: dict[str, Any] = self.server.data(MERGE, input=wanted)["mergeTiles"]
        return answer

    def end(self) -> None:
        """Have the tiles go, and the pod leave."""
        ended(self.server, self.session_id)
        self.pod.leave()

    def is_split(self) -> "World":
        """The tile has split, and the pod works on the parts."""
        assert self.split()["errors"] == []
        self.pod.acknowledge()
        until(lambda: self.retired(self.tile) is None or not self.draining(), "the tile is released")
        return self

    def draining(self) -> list[str]:
        return [one["tileId"] for one in self.pod.terms() if one["state"] == "DRAINING"]

    def retired(self, tile: str) -> Any:
        return self.server.data(TILE, id=tile)["tile"]

    def tile_ids(self) -> list[str]:
        edges = self.server.data(TILES, id=self.session_id)["session"]["tiles"]["edges"]
        return [edge["node"]["id"] for edge in edges]


def ended(server: RunningServer, session_id: str) -> None:
    """End a session, whose tiles nobody owns any more then."""
    server.data(END, id=session_id)
    until(lambda: server.data("{ fleet { tileCount } }")["fleet"]["tileCount"] == 0, "its tiles are retired")


def refusal(answer: dict[str, Any]) -> tuple[Any, ...]:
    """Code, path and state of the one error of an answer that did nothing."""
    (error,) = answer["errors"]
    assert (answer["tiles"], answer["registered"]) == ([], 0)
    return error["code"], error["path"], error.get("state")


def test_a_tile_splits_on_its_pod_and_the_pod_is_told_what_to_shut_out(world: World) -> None:
    before = world.pod.terms()[0]
    done = world.split()
    assert (done["errors"], done["registered"]) == ([], 7)
    assert [tile["id"] for tile in done["tiles"]] == world.children
    for tile in done["tiles"]:
        owner = tile["assignment"]
        assert (owner["podId"], owner["state"], owner["reason"]) == (world.pod.id, "ACTIVE", "TILE_SPLIT")
        assert owner["epoch"] > before["epoch"]
        assert owner["replaces"] == [world.tile]
        assert tile["load"]["smoothed"] == pytest.approx(10.0)
        assert (tile["resolution"], tile["parent"]) == (5, {"id": world.tile})
    assert sorted(one["tileId"] for one in world.pod.terms() if one["state"] == "ACTIVE") == world.children
    assert world.draining() == [world.tile]
    partition = world.server.data(TILES, id=world.session_id)["session"]
    assert (partition["partition"], partition["tiles"]["totalCount"]) == ({"tileCount": 7, "unassignedTiles": 0}, 7)


def test_once_a_child_is_worked_on_it_replaces_nothing_any_more(world: World) -> None:
    world.is_split()
    again = world.split()
    assert (again["errors"], again["registered"]) == ([], 0)
    assert [tile["assignment"]["replaces"] for tile in again["tiles"]] == [[]] * 7


def test_a_split_tile_is_found_as_long_as_it_is_remembered_and_says_what_replaced_it(world: World) -> None:
    world.is_split()
    told = world.retired(world.tile)
    assert (told["health"], told["assignment"], told["parent"]) == ("UNASSIGNED", None, None)
    assert told["retiredAt"]
    assert [tile["id"] for tile in told["replacedBy"]] == world.children == [one["id"] for one in told["children"]]
    assert world.retired(world.children[0])["retiredAt"] is None
    assert world.retired(world.children[0])["replacedBy"] == []
    by_key = {"__typename": "Tile", "sessionId": world.session_id, "h3Index": CELL}
    (entity,) = world.server.data(ENTITY, r=[by_key])["_entities"]
    assert [tile["h3Index"] for tile in entity["replacedBy"]] == CHILDREN
    assert entity["retiredAt"] == told["retiredAt"]


def test_siblings_merge_into_the_tile_they_came_from(world: World) -> None:
    world.is_split()
    before = {one["tileId"]: one["epoch"] for one in world.pod.terms()}
    done = world.merge()
    assert (done["errors"], done["registered"]) == ([], 1)
    (tile,) = done["tiles"]
    assert (tile["id"], tile["assignment"]["reason"]) == (world.tile, "TILE_MERGED")
    assert tile["assignment"]["epoch"] > max(before.values())
    assert tile["assignment"]["replaces"] == world.children
    assert tile["load"]["smoothed"] == pytest.approx(70.0)
    assert world.tile_ids() == [world.tile]
    assert world.retired(world.tile)["retiredAt"] is None
    assert world.retired(world.children[3])["replacedBy"] == [{"id": world.tile}]
    assert world.merge()["registered"] == 0
    world.pod.acknowledge()
    # Split once more it becomes the very same tiles.
    until(lambda: not world.split()["errors"], "the siblings are released, and the tile splits again")
    assert world.tile_ids() == world.children


def test_a_map_is_told_what_came_and_what_went_in_one_batch(world: World) -> None:
    with subscribed(world.server.websocket_url, CHANGES, id=world.session_id) as subscriber:
        assert [tile["id"] for tile in subscriber.next_data("tileChanges")["tiles"]] == [world.tile]
        world.split()
        batch = subscriber.next_data("tileChanges")
        while not batch["removedIds"]:
            batch = subscriber.next_data("tileChanges")
        assert batch["removedIds"] == [world.tile]
        assert [tile["id"] for tile in batch["tiles"]] == world.children
        world.pod.acknowledge()
        until(lambda: not world.draining(), "the tile is released")
        world.merge()
        told: set[str] = set()
        while world.tile not in told:
            batch = subscriber.next_data("tileChanges")
            told |= {tile["id"] for tile in batch["tiles"]}
        assert batch["removedIds"] == world.children


def test_registering_again_what_has_split_changes_nothing(world: World) -> None:
    world.is_split()
    answer = world.server.data(
        """mutation($input: RegisterTilesInput!) { registerTiles(input: $input) {
             registered tiles { id } errors { code message } } }""",
        input={"sessionId": world.session_id, "coverage": {"cells": [CELL, CHILDREN[2]]}},
    )["registerTiles"]
    assert (answer["errors"], answer["registered"]) == ([], 0)
    assert sorted(tile["id"] for tile in answer["tiles"]) == world.children


def test_a_place_belongs_to_the_part_its_finest_cell_is_in(world: World) -> None:
    world.is_split()
    query = "query($s: ID!, $lat: Float!, $lng: Float!) { tileAt(sessionId: $s, lat: $lat, lng: $lng) { h3Index } }"
    for child in CHILDREN:
        lat, lng = h3.cell_to_latlng(child)
        found = world.server.data(query, s=world.session_id, lat=lat, lng=lng)["tileAt"]["h3Index"]
        assert found == h3.cell_to_parent(h3.latlng_to_cell(lat, lng, 15), 5)


def test_a_pinned_tiles_parts_are_pinned_and_siblings_pinned_apart_do_not_merge(world: World) -> None:
    world.server.data(PIN, input={"tileId": world.tile, "podId": world.pod.id})
    world.is_split()
    pins = "query($id: ID!) { pod(id: $id) { assignments { edges { node { pinned } } } } }"
    edges = world.server.data(pins, id=world.pod.id)["pod"]["assignments"]["edges"]
    assert [edge["node"]["pinned"] for edge in edges] == [True] * 7
    unpin = "mutation($id: ID!) { unpinTile(input: {tileId: $id}) { errors { code } } }"
    world.server.data(unpin, id=world.children[0])
    assert refusal(world.merge()) == ("ILLEGAL_STATE", ["parent"], "UNLIKE")


def test_a_tile_that_nobody_owns_splits_and_merges_too(by_hand: RunningServer) -> None:
    server = by_hand
    session_id = new_session(server, [CELL])
    tile = f"{session_id}:{CELL}"
    done = server.data(SPLIT, id=tile)["splitTile"]
    assert (done["errors"], done["registered"]) == ([], 7)
    assert {one["assignment"] for one in done["tiles"]} == {None}
    wanted = {"sessionId": session_id, "parent": CELL}

    def merged() -> Any:
        answer = server.data(MERGE, input=wanted)["mergeTiles"]
        return answer if not answer["errors"] else None

    assert [one["id"] for one in until(merged, "the tile is gone, and comes back")["tiles"]] == [tile]
    ended(server, session_id)


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        ("nonsense", ("INVALID_INPUT", ["tileId"], None)),
        ("", ("INVALID_INPUT", ["tileId"], None)),
        ("x" * 1_000, ("INVALID_INPUT", ["tileId"], None)),
        (f"nobody:{CELL}", ("NOT_FOUND", ["tileId"], None)),
        (f"nobody:{CELL.upper()}", ("INVALID_INPUT", ["tileId"], None)),
    ],
)
def test_splitting_what_is_no_tile_is_refused(server: RunningServer, tile: str, expected: tuple[Any, ...]) -> None:
    assert refusal(server.data(SPLIT, id=tile)["splitTile"]) == expected


def test_a_tile_in_the_middle_of_something_does_not_split(world: World) -> None:
    assert world.split()["errors"] == []
    assert refusal(world.split(world.children[0])) == ("ILLEGAL_STATE", ["tileId"], "NOT_SETTLED")
    assert refusal(world.merge()) == ("ILLEGAL_STATE", ["parent"], "DRAINING")
    world.pod.acknowledge()
    until(lambda: not world.draining(), "the tile is released")
    heir = FakeWork(world.server)
    heir.register()
    assert world.server.data(MOVE, input={"tileId": world.children[0], "podId": heir.id})["moveTile"]["errors"] == []
    assert refusal(world.split(world.children[0])) == ("ILLEGAL_STATE", ["tileId"], "PREPARING")
    assert refusal(world.merge()) == ("ILLEGAL_STATE", ["parent"], "PREPARING")
    heir.acknowledge()
    until(lambda: heir.terms()[0]["state"] == "ACTIVE", "the cut-over")
    answer = world.merge()
    heir.leave()
    assert refusal(answer) == ("ILLEGAL_STATE", ["parent"], "SEVERAL_PODS")
    assert all(pod.id in answer["errors"][0]["message"] for pod in (world.pod, heir))


def test_a_tile_does_not_split_beyond_the_finest_resolution_allowed(by_hand: RunningServer) -> None:
    server = by_hand
    cell = h3.latlng_to_cell(40.0, -100.0, 13)
    session_id = new_session(server, [cell])
    for _ in range(2):
        tile = f"{session_id}:{cell}"
        done = server.data(SPLIT, id=tile)["splitTile"]
        assert done["errors"] == []
        cell = sorted(h3.cell_to_children(cell))[0]
    refused = server.data(SPLIT, id=f"{session_id}:{cell}")["splitTile"]
    assert refusal(refused) == ("ILLEGAL_STATE", ["tileId"], "FINEST_RESOLUTION")
    assert "15" in refused["errors"][0]["message"]
    ended(server, session_id)


def test_a_pod_never_has_more_tiles_than_it_takes(by_hand: RunningServer) -> None:
    world = World(by_hand, maxTiles=6)
    answer = world.split()
    world.end()
    assert refusal(answer) == ("ILLEGAL_STATE", ["tileId"], "POD_FULL")
    assert "at most 6" in answer["errors"][0]["message"]


def test_a_stopped_sessions_tiles_neither_split_nor_merge(world: World) -> None:
    world.is_split()
    world.server.data(END, id=world.session_id)
    assert refusal(world.split(world.children[0]))[:2] == ("ILLEGAL_STATE", ["tileId"])
    assert refusal(world.merge()) == ("ILLEGAL_STATE", ["sessionId"], "ENDED")


def test_merging_what_is_no_complete_set_is_refused_and_says_what_is_missing(world: World) -> None:
    assert refusal(world.merge(session_id="nobody")) == ("NOT_FOUND", ["sessionId"], None)
    assert refusal(world.merge("nonsense")) == ("INVALID_INPUT", ["parent"], None)
    finest = h3.latlng_to_cell(40.0, -100.0, 15)
    assert refusal(world.merge(finest)) == ("INVALID_INPUT", ["parent"], None)
    assert refusal(world.merge(disk(1, 10, 10)[0])) == ("NOT_FOUND", ["parent"], None)
    assert refusal(world.merge(CHILDREN[0])) == ("ILLEGAL_STATE", ["parent"], "COARSER")
    # Of the tile's siblings none was registered.
    around = h3.cell_to_parent(CELL)
    answer = world.merge(around)
    assert refusal(answer) == ("ILLEGAL_STATE", ["parent"], "INCOMPLETE")
    missing = sorted({*h3.cell_to_children(around)} - {CELL})
    assert all(cell in answer["errors"][0]["message"] for cell in missing)
    world.is_split()
    assert world.split(world.children[6])["errors"] == []
    answer = world.merge()
    assert refusal(answer) == ("ILLEGAL_STATE", ["parent"], "INCOMPLETE")
    assert f"{world.children[6]} split further" in answer["errors"][0]["message"]


def test_no_tile_is_coarser_than_what_was_registered(by_hand: RunningServer) -> None:
    server = by_hand
    session_id = new_session(server, CHILDREN)
    answer = server.data(MERGE, input={"sessionId": session_id, "parent": CELL})["mergeTiles"]
    ended(server, session_id)
    assert refusal(answer) == ("ILLEGAL_STATE", ["parent"], "AS_REGISTERED")
    assert "resolution 5" in answer["errors"][0]["message"]


def test_a_former_owner_that_was_told_nothing_else_may_still_release(world: World) -> None:
    """A second instance of its own acknowledgement, late and repeated, changes nothing."""
    term = world.pod.terms()[0]
    world.split()
    acks = [{"assignmentId": term["id"], "phase": "RELEASED"}]
    for _ in range(2):
        answer = world.server.data(ACKNOWLEDGE, input={**world.pod.lease, "acknowledgements": acks})
        assert answer["acknowledgeAssignments"]["errors"] == []


def test_a_dry_run_shows_splits_and_a_plan_by_its_id_carries_them_out(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", **PATIENT, SESSION_MANAGER_CYCLE_SECONDS="60") as server:
        pod = FakeWork(server)
        pod.register()
        session_id = new_session(server, disk(1))
        tiles = [one["id"] for one in until_owned(server, session_id, 7)]
        pod.acknowledge()
        epochs = {one["tileId"]: one["epoch"] for one in pod.terms()}
        loads = dict(zip(tiles, (90.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), strict=True))
        pod.report([{"tileId": one, "epoch": epochs[one], "recordsPerSecond": load} for one, load in loads.items()])
        plan = server.data(PLAN)["rebalancePlan"]
        (planned,) = plan["splits"]
        assert (planned["tileId"], planned["tile"]["id"], planned["pod"]["id"]) == (tiles[0], tiles[0], pod.id)
        assert (planned["load"], len(planned["into"]), plan["skipped"]) == (90.0, 7, None)
        stale = server.data(PLAN)["rebalancePlan"]
        done = server.data(REBALANCE, id=plan["id"])["rebalance"]
        assert (done["errors"], done["plan"]["splits"]) == ([], [{"tileId": tiles[0]}])
        assert len(until_owned(server, session_id, 13)) == 13
        refused = server.data(REBALANCE, id=stale["id"])["rebalance"]
        assert refused["errors"][0]["code"] == "PLAN_STALE"
        assert tiles[0] in refused["errors"][0]["changedTileIds"]
        # Cold, together and at work on their pod they would merge.
        pod.acknowledge()
        idle = [{"tileId": one["tileId"], "epoch": one["epoch"], "recordsPerSecond": 0.0} for one in pod.terms()]

        def planned_merges() -> Any:
            pod.report([one for one in idle if one["tileId"] != tiles[0]])
            return server.data(PLAN)["rebalancePlan"]["merges"]

        (merge,) = until(planned_merges, "the parts are cold")
        assert (merge["parent"], merge["pod"]["id"]) == (tiles[0], pod.id)
        assert sorted(merge["tileIds"]) == sorted(planned["into"]) == sorted(one["id"] for one in merge["tiles"])


def test_a_hot_tile_at_its_bound_is_shown_with_the_reason(tmp_path: Path) -> None:
    bounds = {"SESSION_MANAGER_SPLIT_DEPTH_MAX": "0"}
    with running_server(tmp_path / "data", **PATIENT, **bounds) as server:
        world = World(server, load=95.0)
        shown = until(lambda: server.data(PLAN)["rebalancePlan"]["unsplit"], "the tile is hot")
        assert shown == [{"tileId": world.tile, "reason": "FINEST_RESOLUTION"}]
        assert refusal(world.split()) == ("ILLEGAL_STATE", ["tileId"], "FINEST_RESOLUTION")


def test_a_hot_tile_splits_by_itself(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        world = World(server, load=95.0)

        def has_split() -> bool:
            # A new leader takes nothing from anyone for one lease; the pod must outlive that.
            world.pod.heartbeat()
            return world.tile_ids() == world.children

        until(has_split, "the tile has split")
        assert {one["reason"] for one in world.pod.terms() if one["state"] == "ACTIVE"} == {"TILE_SPLIT"}
