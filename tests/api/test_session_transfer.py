"""Sessions that are exported and imported over GraphQL: all of it comes along; what is wrong is named by its place."""

import copy
from typing import Any
from uuid import uuid4

import pytest

from tests.support.server import RunningServer
from tests.support.world import disk, new_session

EXPORT = "query($id: ID!) { exportSession(id: $id) }"
IMPORT = """mutation($input: ImportSessionInput!) { importSession(input: $input) {
  session { id displayName state revision isMain externalId expiryPolicy title partition { tileCount }
    associates(first: 10) { edges { node { id } } }
    events(first: 10) { edges { node { type payload } } } }
  errors { code path message
    ... on SessionManagerInvalidInput { limit } ... on SessionNameTaken { conflictingId } } } }"""
UPDATE = "mutation($input: UpdateSessionInput!) { updateSession(input: $input) { errors { message } } }"
TITLE = "mutation($input: TitleSessionInput!) { titleSession(input: $input) { errors { message } } }"
END = "mutation($input: EndSessionInput!) { endSession(input: $input) { errors { message } } }"
NEW = ("id", "revision", "createdAt", "updatedAt", "lastActiveAt", "expiresAt", "displayName", "externalId")

pytestmark = pytest.mark.requirement("A journal that is also the audit log; export, import, erase")


def rich_session(server: RunningServer, **fields: Any) -> str:
    """A session with something in every part of a document."""
    associate = new_session(server)
    session_id = new_session(
        server,
        disk(1),
        **{
            "displayName": f"rich {uuid4()}",
            "externalId": f"external {uuid4()}",
            "dataSource": "radar",
            "type": "Replay",
            "version": 3,
            "utcOffset": "-PT5H30M",
            "details": [{"key": "circuit", "value": "Spa 🏁"}],
            "metadata": {"nested": {"list": [1, 2.5, None, "ü"]}},
            "context": {"step": 7},
            "requiredLabels": [{"key": "gpu", "value": "yes"}],
            "ttl": "PT100H",
            "maxHistory": 77,
            "tokenBudget": 9_007_199_254_740_991,
            "tickInterval": "PT12H",
            "associateIds": [associate],
            **fields,
        },
    )
    tiles = "mutation($input: RegisterTilesInput!) { registerTiles(input: $input) { errors { message } } }"
    coverage = {"cells": disk(0, lat=10.0), "tileCapacity": 12.5, "requiredLabels": [{"key": "disk", "value": "big"}]}
    assert server.data(tiles, input={"sessionId": session_id, "coverage": coverage})["registerTiles"]["errors"] == []
    server.data(TITLE, input={"id": session_id, "title": "A rich session"})
    return session_id


def export(server: RunningServer, session_id: str) -> dict[str, Any]:
    document: dict[str, Any] = server.data(EXPORT, id=session_id)["exportSession"]
    return document


def bring_in(server: RunningServer, document: object, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.data(IMPORT, input={"document": document, **fields})["importSession"]
    return answer


def without_what_is_new(document: dict[str, Any]) -> dict[str, Any]:
    session = {name: value for name, value in document["session"].items() if name not in NEW}
    return {**document, "session": session, "exportedAt": None, "events": None}


def test_a_session_that_is_exported_and_imported_is_exported_the_same(server: RunningServer) -> None:
    document = export(server, rich_session(server))
    answer = bring_in(server, document, nameConflict="SUFFIX")
    assert answer["errors"] == []
    session = answer["session"]
    assert session["id"] != document["session"]["id"]
    assert (session["state"], session["revision"], session["title"]) == ("ACTIVE", 1, "A rich session")
    assert session["displayName"] == document["session"]["displayName"] + "-2"
    assert session["externalId"] is None  # the original's
    assert session["partition"]["tileCount"] == 8
    again = export(server, session["id"])
    assert without_what_is_new(again) == without_what_is_new(document)
    assert [len(part["cells"]) for part in document["coverage"]] == [1, 7]
    started = session["events"]["edges"][0]["node"]
    assert started["type"] == "SESSION_STARTED"
    origin = {"sessionId": document["session"]["id"], "exportedAt": document["exportedAt"].replace("Z", "+00:00")}
    assert started["payload"] == {"importedFrom": origin}


def test_a_document_holds_the_journal_in_order_and_a_new_session_begins_its_own(server: RunningServer) -> None:
    session_id = rich_session(server)
    server.data(UPDATE, input={"id": session_id, "context": {"more": [1]}})
    events = export(server, session_id)["events"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "SESSION_STARTED"
    assert {"SESSION_ASSOCIATED", "SESSION_TITLED", "CONTEXT_UPDATED"} <= {event["type"] for event in events}
    made = bring_in(server, export(server, session_id), displayName=f"new {uuid4()}", nameConflict="ALLOW")["session"]
    told = [edge["node"]["type"] for edge in made["events"]["edges"]]
    assert told[:2] == ["SESSION_STARTED", "SESSION_ASSOCIATED"]
    assert "SESSION_TITLED" not in told


def test_an_import_is_made_once_per_key_and_with_all_its_tiles(server: RunningServer) -> None:
    document = export(server, rich_session(server))
    asked = {"displayName": f"once {uuid4()}", "nameConflict": "SUFFIX", "idempotencyKey": uuid4().hex}
    first, second = bring_in(server, document, **asked), bring_in(server, document, **asked)
    assert first["errors"] == second["errors"] == []
    assert first["session"]["id"] == second["session"]["id"]
    (refused,) = bring_in(server, {**document, "coverage": []}, **asked)["errors"]
    assert refused["path"] == ["idempotencyKey"]


def test_an_import_that_is_repeated_brings_no_tiles_back(server: RunningServer) -> None:
    document = export(server, rich_session(server))
    asked = {"displayName": f"once {uuid4()}", "idempotencyKey": uuid4().hex}
    document["session"]["externalId"] = None
    session_id = bring_in(server, document, **asked)["session"]["id"]
    page = "query($id: ID!) { session(ref: {id: $id}) { tiles { edges { node { id } } } } }"

    def tiles() -> list[str]:
        edges = server.data(page, id=session_id)["session"]["tiles"]["edges"]
        return [edge["node"]["id"] for edge in edges]

    gone, *left = tiles()
    server.data(
        "mutation($i: TileRefsInput!) { unregisterTiles(input: $i) { errors { code } } }", i={"tileIds": [gone]}
    )
    assert bring_in(server, document, **asked)["session"]["id"] == session_id
    assert tiles() == left


def test_taken_names_and_external_ids_are_refused_unless_asked_otherwise(server: RunningServer) -> None:
    document = export(server, rich_session(server))
    (by_name,) = bring_in(server, document)["errors"]
    assert (by_name["code"], by_name["path"]) == ("NAME_TAKEN", ["displayName"])
    assert by_name["conflictingId"] == document["session"]["id"]
    (by_alias,) = bring_in(server, document, displayName=f"free {uuid4()}")["errors"]
    assert (by_alias["code"], by_alias["path"]) == ("NAME_TAKEN", ["document", "session", "externalId"])
    assert by_alias["message"].startswith("the external id ")
    free = copy.deepcopy(document)
    free["session"]["externalId"] = f"another {uuid4()}"
    session = bring_in(server, free, displayName=f"free {uuid4()}")["session"]
    assert session["externalId"] == free["session"]["externalId"]


def test_main_comes_in_as_an_ordinary_session(server: RunningServer) -> None:
    main = server.data("{ mainSession { id } }")["mainSession"]["id"]
    answer = bring_in(server, export(server, main), displayName=f"former main {uuid4()}")
    assert answer["errors"] == []
    assert (answer["session"]["isMain"], answer["session"]["expiryPolicy"]) == (False, "SLIDING")


def test_a_former_main_comes_in_under_its_own_name_as_the_policy_on_names_says(server: RunningServer) -> None:
    main = server.data("{ mainSession { id } }")["mainSession"]["id"]
    kept = export(server, main)
    kept["session"]["displayName"] = f"main-{main}"
    (reserved,) = bring_in(server, kept, nameConflict="ALLOW")["errors"]
    assert (reserved["code"], reserved["path"]) == ("INVALID_INPUT", ["document", "session", "displayName"])
    server.data(END, input={"id": main})
    document, name = export(server, main), f"main-{main}"
    assert (document["session"]["displayName"], document["session"]["expiryPolicy"]) == (name, "SLIDING")
    (taken,) = bring_in(server, document)["errors"]
    assert (taken["code"], taken["conflictingId"]) == ("NAME_TAKEN", main)
    numbered = bring_in(server, document, nameConflict="SUFFIX")["session"]
    assert (numbered["displayName"], numbered["expiryPolicy"]) == (f"{name}-2", "SLIDING")
    elsewhere = f"main-{uuid4()}"
    moved = at(document, ["session", "displayName"], elsewhere)
    arrived = bring_in(server, moved)["session"]
    assert arrived["displayName"] == elsewhere
    again = export(server, arrived["id"])
    assert again["session"]["displayName"] == elsewhere
    assert again["session"]["ttl"] == document["session"]["ttl"]
    (chosen,) = bring_in(server, document, displayName=f"main-{uuid4()}")["errors"]
    assert (chosen["code"], chosen["path"]) == ("INVALID_INPUT", ["displayName"])


def test_associates_that_are_not_there_stay_behind(server: RunningServer) -> None:
    document = export(server, rich_session(server))
    known = document["hierarchy"]["associateIds"]
    document["hierarchy"]["associateIds"] = [str(uuid4()), *known, "x" * 1_000]
    answer = bring_in(server, document, displayName=f"a parent {uuid4()}", nameConflict="SUFFIX")
    assert [edge["node"]["id"] for edge in answer["session"]["associates"]["edges"]] == known


def at(document: dict[str, Any], path: list[str], value: object) -> dict[str, Any]:
    """The document with another value in a place."""
    changed = copy.deepcopy(document)
    place: Any = changed
    for step in path[:-1]:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[int(path[-1]) if isinstance(place, list) else path[-1]] = value
    return changed


@pytest.fixture(scope="module")
def document(server: RunningServer) -> dict[str, Any]:
    return export(server, rich_session(server))


@pytest.mark.parametrize(
    ("path", "value", "limit"),
    [
        (["format"], "another", None),
        (["version"], 2, "1"),
        (["version"], True, "1"),
        (["version"], None, "1"),
        (["session", "displayName"], "x" * 201, "200 characters"),
        (["session", "displayName"], "3942e269-105f-42cc-ac46-7eefa42bdbb9", None),
        (["session", "id"], "x" * 1_000, "128 characters"),
        (["session", "displayName"], "a\0b", None),
        (["session", "externalId"], "a\0b", None),
        (["session", "metadata"], {"a\0": 1}, None),
        (["session", "title"], "x" * 61, "60 characters"),
        (["session", "dataSource"], "x" * 201, "200 characters"),
        (["session", "type"], 7, None),
        (["session", "version"], 0, "1"),
        (["session", "version"], 2**31, "2147483647"),
        (["session", "version"], 10**25, "2147483647"),
        (["session", "version"], "3", None),
        (["session", "utcOffset"], "PT19H", "PT18H"),
        (["session", "utcOffset"], "five hours", None),
        (["session", "state"], "ASLEEP", None),
        (["session", "expiryPolicy"], "SOMETIMES", None),
        (["session", "createdAt"], "yesterday", None),
        (["session", "details"], {str(n): "v" for n in range(101)}, "100 details"),
        (["session", "metadata"], {"m": "x" * 65_536}, "65536 bytes"),
        (["session", "context"], {"c": "x" * 262_144}, "262144 bytes"),
        (["session", "context"], [1], None),
        (["session", "requiredLabels"], {str(n): "v" for n in range(11)}, "10 labels"),
        (["session", "ttl"], "PT0.5S", "PT1S"),
        (["session", "maxHistory"], 10_001, "10000"),
        (["session", "tokenBudget"], 0, "1"),
        (["session", "tickInterval"], "PT0.1S", "PT1S"),
        (["session", "secret"], "a field that there is not", None),
        (["hierarchy", "associateIds"], [str(n) for n in range(1_001)], "1000 entries"),
        (["hierarchy", "parentIds"], "none", None),
        (["coverage", "0", "cells", "0"], "nowhere", None),
        (["coverage", "1", "tileCapacity"], -1, "1e+15"),
        (["events", "0", "type"], "SESSION_INVENTED", None),
        (["events", "0", "sequence"], "first", None),
    ],
    ids=lambda one: str(one)[:32],
)
def test_what_is_wrong_with_a_document_is_named_by_its_place(
    server: RunningServer, document: dict[str, Any], path: list[str], value: object, limit: str | None
) -> None:
    answer = bring_in(server, at(document, path, value), nameConflict="ALLOW")
    (error,) = answer["errors"]
    assert error["code"] == "INVALID_INPUT"
    assert error["path"][: len(path) + 1] == ["document", *path], error
    assert error["limit"] == limit
    assert answer["session"] is None


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["session", "externalId"], [1], "a text or null is expected here, not a list"),
        (["session", "isMain"], "no", "true or false is expected here, not a text"),
        (["coverage", "0", "cells"], None, "a list is expected here, not null"),
        (["session", "state"], "ASLEEP", "invalid enum value 'ASLEEP'"),
        (["session", "a field - at `$.no.place`"], 1, "there is no such field"),
    ],
)
def test_what_is_wrong_with_a_document_is_told_in_words_of_json(
    server: RunningServer, document: dict[str, Any], path: list[str], value: object, words: str
) -> None:
    (error,) = bring_in(server, at(document, path, value))["errors"]
    assert error["message"].endswith(f"the document cannot be read: {words}")


def test_a_field_that_is_missing_is_named(server: RunningServer, document: dict[str, Any]) -> None:
    session = {name: value for name, value in document["session"].items() if name != "ttl"}
    (error,) = bring_in(server, at(document, ["session"], session))["errors"]
    assert (error["path"], error["message"]) == (
        ["document", "session", "ttl"],
        "the document cannot be read: the field is missing",
    )


@pytest.mark.parametrize("given", [[], "a document", 1, {}, {"format": "session-manager/session"}])
def test_what_is_no_document_is_refused(server: RunningServer, given: object) -> None:
    (error,) = bring_in(server, given)["errors"]
    assert (error["code"], error["path"][0]) == ("INVALID_INPUT", "document")


def test_what_is_refused_leaves_no_session_behind(server: RunningServer, document: dict[str, Any]) -> None:
    name = f"never {uuid4()}"
    assert bring_in(server, at(document, ["coverage", "1", "tileCapacity"], -1), displayName=name)["errors"]
    assert server.data("query($n: String!) { session(ref: {displayName: $n}) { id } }", n=name)["session"] is None


@pytest.mark.parametrize("wanted", ["absent", "deleted"])
def test_what_is_not_there_is_not_exported(server: RunningServer, wanted: str) -> None:
    session_id = str(uuid4()) if wanted == "absent" else new_session(server)
    server.data("mutation($id: ID!) { deleteSession(input: {id: $id}) { purged } }", id=session_id)
    (error,) = server.ask(EXPORT, id=session_id)["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
