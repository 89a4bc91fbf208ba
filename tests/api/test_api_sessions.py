"""Sessions over GraphQL: created, looked up, listed, ended, each with its errors."""

from typing import Any
from uuid import uuid4

import h3.api.basic_int as h3
import pytest

from tests.support.server import RunningServer, until
from tests.support.world import CREATE, REGISTER_TILES, disk, new_session

END = """mutation($input: EndSessionInput!) { endSession(input: $input) { session { id state revision endedAt isMain }
  errors { __typename message code path ... on SessionRevisionConflict { currentRevision }
    ... on SessionManagerNotFound { entity id } } } }"""
BY_ID = "query($id: ID!) { session(ref: {id: $id}) { id state displayName } }"


@pytest.mark.requirement("Create: dataSource, type, version, utcOffset, identifier, details")
def test_a_created_session_is_active_and_found_by_its_id(server: RunningServer) -> None:
    name = f"name {uuid4()}"
    wanted = {
        "displayName": name,
        "dataSource": "source",
        "type": "Replay",
        "version": 3,
        "utcOffset": "-PT5H30M",
        "details": [{"key": "circuit", "value": "Spa"}],
        "metadata": {"nested": {"list": [1, 2.5, None]}},
    }
    answer = server.data(CREATE, input=wanted)["createSession"]
    assert answer["errors"] == []
    session = answer["session"]
    assert session.pop("id") != name
    assert session == {**wanted, "revision": 1, "state": "ACTIVE", "isMain": False}


def test_a_tenant_has_one_main_session_and_gets_another_when_it_is_ended(server: RunningServer) -> None:
    first = server.data("{ mainSession { id displayName isMain } }")["mainSession"]
    assert first["displayName"] == "main"
    assert server.data("{ mainSession { id } }")["mainSession"]["id"] == first["id"]
    ended = server.data(END, input={"id": first["id"]})["endSession"]["session"]
    assert (ended["state"], ended["isMain"]) == ("ENDED", False)
    second = server.data("{ mainSession { id displayName isMain } }")["mainSession"]
    assert second["id"] != first["id"]
    assert (second["displayName"], second["isMain"]) == ("main", True)


@pytest.mark.requirement("End: releases the session's tiles, closes it for new work")
def test_a_second_end_succeeds_and_changes_nothing(server: RunningServer) -> None:
    session_id = new_session(server)
    first = server.data(END, input={"id": session_id})["endSession"]
    second = server.data(END, input={"id": session_id})["endSession"]
    assert first["errors"] == second["errors"] == []
    assert first["session"] == second["session"]


@pytest.mark.requirement("End: releases the session's tiles, closes it for new work")
def test_ending_checks_data_source_and_revision(server: RunningServer) -> None:
    session_id = new_session(server, dataSource="left")
    wrong = server.data(END, input={"id": session_id, "dataSource": "right"})["endSession"]["errors"]
    assert [(e["code"], e["path"]) for e in wrong] == [("INVALID_INPUT", ["dataSource"])]
    late = server.data(END, input={"id": session_id, "expectedRevision": 7})["endSession"]["errors"]
    assert [(e["code"], e["currentRevision"]) for e in late] == [("REVISION_CONFLICT", 1)]
    assert server.data(BY_ID, id=session_id)["session"]["state"] == "ACTIVE"


@pytest.mark.requirement("Info for one; `currentSessions` lists the ACTIVE ones")
def test_an_unknown_session_is_null_to_a_query_and_an_error_to_a_mutation(server: RunningServer) -> None:
    unknown = str(uuid4())
    assert server.data(BY_ID, id=unknown) == {"session": None}
    (error,) = server.data(END, input={"id": unknown})["endSession"]["errors"]
    assert (error["code"], error["entity"], error["id"]) == ("NOT_FOUND", "Session", unknown)


def test_a_name_is_unique_and_may_not_look_like_an_id(server: RunningServer) -> None:
    name = f"name {uuid4()}"
    holder = new_session(server, displayName=name)
    (taken,) = server.data(CREATE, input={"displayName": name})["createSession"]["errors"]
    assert (taken["code"], taken["conflictingId"]) == ("NAME_TAKEN", holder)
    (refused,) = server.data(CREATE, input={"displayName": str(uuid4())})["createSession"]["errors"]
    assert (refused["code"], refused["path"]) == ("INVALID_INPUT", ["displayName"])


def test_limits_are_named_with_their_field(server: RunningServer) -> None:
    for wanted, path in (
        ({"displayName": "x" * 201}, ["displayName"]),
        ({"displayName": "  "}, ["displayName"]),
        ({"version": 0}, ["version"]),
        ({"utcOffset": "PT19H"}, ["utcOffset"]),
        ({"details": [{"key": "k", "value": "v"}] * 2}, ["details", "1", "key"]),
        ({"metadata": [1]}, ["metadata"]),
        ({"coverage": {}}, ["coverage"]),
    ):
        answer = server.data(CREATE, input=wanted)["createSession"]
        assert answer["session"] is None
        assert [(e["code"], e["path"]) for e in answer["errors"]] == [("INVALID_INPUT", path)], wanted


@pytest.mark.requirement("Info for one; `currentSessions` lists the ACTIVE ones")
def test_current_sessions_are_the_active_ones_of_a_source_page_by_page(server: RunningServer) -> None:
    source = f"source-{uuid4()}"
    ids = [new_session(server, dataSource=source) for _ in range(5)]
    server.data(END, input={"id": ids[2]})
    query = """query($source: String, $after: String) { currentSessions(dataSource: $source, first: 3, after: $after) {
      totalCount pageInfo { hasNextPage endCursor } edges { node { id } } } }"""
    first = server.data(query, source=source)["currentSessions"]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (4, True)
    second = server.data(query, source=source, after=first["pageInfo"]["endCursor"])["currentSessions"]
    assert not second["pageInfo"]["hasNextPage"]
    listed = [edge["node"]["id"] for edge in (*first["edges"], *second["edges"])]
    assert listed == [ids[4], ids[3], ids[1], ids[0]]


@pytest.mark.requirement("End: releases the session's tiles, closes it for new work")
def test_an_ended_session_takes_no_tiles_and_its_own_are_released(server: RunningServer) -> None:
    session_id = new_session(server, disk(1))
    server.data(END, input={"id": session_id})
    (error,) = server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": {"cells": disk(0)}})[
        "registerTiles"
    ]["errors"]
    assert (error["code"], error["state"], error["path"]) == ("ILLEGAL_STATE", "ENDED", ["sessionId"])
    count = "query($id: ID!) { session(ref: {id: $id}) { partition { tileCount } } }"
    until(lambda: server.data(count, id=session_id)["session"]["partition"]["tileCount"] == 0, "the tiles are gone")


def test_a_page_of_null_is_one_of_the_default_size(server: RunningServer) -> None:
    pages = "(first: null) { edges { cursor } }"
    answer = server.data(
        f"""{{ sessions{pages} currentSessions{pages} sessionAuditLog{pages} assignmentHistory{pages}
        fleet {{ pods{pages} }} mainSession {{ parents{pages} associates{pages} tiles{pages} events{pages} }}
        rebalancePlan {{ moves{pages} unsplit(first: null) {{ tileId }} unplaceable(first: null) {{ tileId }} }} }}"""
    )
    assert 1 <= len(answer["sessions"]["edges"]) <= 20
    assert 1 <= len(answer["sessionAuditLog"]["edges"]) <= 50


def test_tiles_are_found_by_where_they_are(server: RunningServer) -> None:
    cells = disk(2)
    session_id = new_session(server, cells)
    lat, lng = h3.cell_to_latlng(h3.str_to_int(cells[0]))
    ring = [[lng - 0.01, lat - 0.01], [lng + 0.01, lat - 0.01], [lng, lat + 0.01], [lng - 0.01, lat - 0.01]]
    query = """query($id: ID!, $within: JSON!, $first: Int) { session(ref: {id: $id}) {
      tiles(first: $first, filter: {within: $within}) { totalCount edges { node { h3Index } } pageInfo { hasNextPage } }
    } }"""

    def tiles(within: object, first: int = 100) -> dict[str, Any]:
        found: dict[str, Any] = server.data(query, id=session_id, within=within, first=first)["session"]["tiles"]
        return found

    triangle = {"type": "Polygon", "coordinates": [ring]}
    until(lambda: tiles(triangle)["totalCount"] == 1, "the tiles are there")
    assert [edge["node"]["h3Index"] for edge in tiles(triangle)["edges"]] == [cells[0]]
    world = [[-180, -90], [0, -90], [180, -90], [180, 90], [0, 90], [-180, 90], [-180, -90]]
    page = tiles({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [world]}}, first=3)
    assert (page["totalCount"], len(page["edges"]), page["pageInfo"]["hasNextPage"]) == (len(cells), 3, True)
