"""unregisterTiles over GraphQL: each tile is answered for itself, and the journal tells who wanted it."""

from tests.support.server import RunningServer, until
from tests.support.world import REGISTER_TILES, FakeWork, disk, new_session, until_owned

CELLS = disk(1)
UNREGISTER = """mutation($input: TileRefsInput!) { unregisterTiles(input: $input) {
  tiles { id } registered errors { code path }
} }"""
TILES = "query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node { id } } } } }"
EVENTS = "query($id: ID!) { session(ref: {id: $id}) { events(first: 100) { edges { node { type actor payload } } } } }"
END = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { code } } }"


def tiles(server: RunningServer, session_id: str) -> list[str]:
    edges = server.data(TILES, id=session_id)["session"]["tiles"]["edges"]
    return [edge["node"]["id"] for edge in edges]


def test_a_tile_drains_is_gone_and_can_be_registered_again(own_server: RunningServer) -> None:
    pod = FakeWork(own_server)
    pod.register()
    session_id = new_session(own_server, CELLS)
    until_owned(own_server, session_id, len(CELLS))
    pod.acknowledge()
    gone = f"{session_id}:{CELLS[0]}"
    answer = own_server.data(UNREGISTER, input={"tileIds": [gone]})["unregisterTiles"]
    assert answer == {"tiles": [{"id": gone}], "registered": 0, "errors": []}
    assert sorted(tiles(own_server, session_id)) == sorted(f"{session_id}:{cell}" for cell in CELLS[1:])
    assert [term["state"] for term in pod.terms() if term["tileId"] == gone] == ["DRAINING"]
    pod.acknowledge()
    until(lambda: gone not in [term["tileId"] for term in pod.terms()], "the pod has let go")
    again = own_server.data(UNREGISTER, input={"tileIds": [gone]})["unregisterTiles"]
    assert again == {"tiles": [], "registered": 0, "errors": []}
    edges = own_server.data(EVENTS, id=session_id)["session"]["events"]["edges"]
    (told,) = [edge["node"] for edge in edges if edge["node"]["type"] == "TILES_UNREGISTERED"]
    assert told["payload"] == {"count": 1, "tiles": [{"tileId": gone}]}
    assert told["actor"]
    wanted = {"sessionId": session_id, "coverage": {"cells": CELLS[:1]}}
    assert own_server.data(REGISTER_TILES, input=wanted)["registerTiles"]["registered"] == 1
    assert len(tiles(own_server, session_id)) == len(CELLS)


def test_tiles_of_unknown_and_stopped_sessions_are_refused_one_by_one(server: RunningServer) -> None:
    session_id, stopped = new_session(server, CELLS[:2]), new_session(server, CELLS[:1])
    server.data(END, id=stopped)
    wanted = [f"unknown:{CELLS[0]}", f"{session_id}:{CELLS[0]}", f"{stopped}:{CELLS[0]}", "no tile"]
    answer = server.data(UNREGISTER, input={"tileIds": wanted})["unregisterTiles"]
    assert [(error["code"], error["path"]) for error in answer["errors"]] == [
        ("NOT_FOUND", ["tileIds", "0"]),
        ("ILLEGAL_STATE", ["tileIds", "2"]),
        ("INVALID_INPUT", ["tileIds", "3"]),
    ]
    assert tiles(server, session_id) == [f"{session_id}:{CELLS[1]}"]
