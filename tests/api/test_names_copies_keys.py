"""Names, copies and idempotency keys over GraphQL: what is taken, what is taken along, and what is made only once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.support.server import RunningServer, until
from tests.support.world import REGISTER_TILES, disk, new_session

ERRORS = """errors { __typename message code path ... on SessionNameTaken { conflictingId }
  ... on SessionRevisionConflict { currentRevision } ... on SessionExpired { expiredAt } }"""
FIELDS = "session { id displayName revision state ownerId externalId context metadata details { key value } dataSource"
FIELDS += " copiedFrom { id } partition { tileCount } expiryPolicy isMain requiredLabels { key value } }"
CREATE = f"mutation($input: CreateSessionInput!) {{ createSession(input: $input) {{ {FIELDS} {ERRORS} }} }}"
COPY = f"mutation($input: CopySessionInput!) {{ copySession(input: $input) {{ {FIELDS} {ERRORS} }} }}"
RENAME = f"mutation($input: RenameSessionInput!) {{ renameSession(input: $input) {{ {FIELDS} {ERRORS} }} }}"
RESTORE = f"mutation($input: RestoreSessionInput!) {{ restoreSession(input: $input) {{ {FIELDS} {ERRORS} }} }}"
DELETE = "mutation($input: DeleteSessionInput!) { deleteSession(input: $input) { deletedAt errors { code } } }"
FIND = "query($ref: SessionRef!) { session(ref: $ref) { id displayName } }"
UNREGISTER = "mutation($input: TileRefsInput!) { unregisterTiles(input: $input) { errors { message } } }"


def made(server: RunningServer, mutation: str, **given: Any) -> dict[str, Any]:
    (answer,) = server.data(mutation, input=given).values()
    assert answer["errors"] == []
    session: dict[str, Any] = answer["session"]
    return session


def error(server: RunningServer, mutation: str, **given: Any) -> dict[str, Any]:
    (answer,) = server.data(mutation, input=given).values()
    assert answer["session"] is None
    (told,) = answer["errors"]
    return dict(told)


def a_name() -> str:
    return f"name {uuid4().hex[:12]} é"


@pytest.mark.parametrize(
    ("field", "given", "path"),
    [
        ("displayName", "a\0b", ["displayName"]),
        ("displayName", "main\u200b", ["displayName"]),
        ("displayName", "a\nb\u202e", ["displayName"]),
        ("type", "a\0b", ["type"]),
        ("externalId", "a\0b", ["externalId"]),
        ("dataSource", "a\x1bb", ["dataSource"]),
        ("idempotencyKey", "a\0b", ["idempotencyKey"]),
        ("details", [{"key": "a\0", "value": "x"}], ["details", "0", "key"]),
        ("requiredLabels", [{"key": "zone", "value": "a\0"}], ["requiredLabels", "0", "value"]),
        ("metadata", {"a\0": 1}, ["metadata"]),
        ("context", {"list": [{"a\n": 1}]}, ["context"]),
    ],
)
def test_a_text_with_a_control_character_is_refused_by_field(
    server: RunningServer, field: str, given: object, path: list[str]
) -> None:
    told = error(server, CREATE, **{"displayName": a_name(), field: given})
    assert (told["code"], told["path"]) == ("INVALID_INPUT", path)
    assert "U+" in told["message"]


# ── Names ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Lookup by id, then the caller's externalId, then displayName")
def test_a_taken_name_is_refused_numbered_or_shared(server: RunningServer) -> None:
    name = a_name()
    first = made(server, CREATE, displayName=name)
    taken = error(server, CREATE, displayName=f"  {name}".replace("é", "e\u0301"))
    assert (taken["code"], taken["conflictingId"]) == ("NAME_TAKEN", first["id"])
    numbered = [made(server, CREATE, displayName=name, nameConflict="SUFFIX")["displayName"] for _ in range(2)]
    assert numbered == [f"{name}-2", f"{name}-3"]
    shared = made(server, CREATE, displayName=name, nameConflict="ALLOW")
    assert shared["displayName"] == name
    answer = server.ask(FIND, ref={"displayName": name})
    assert answer["data"] == {"session": None}
    (ambiguous,) = answer["errors"]
    assert ambiguous["extensions"]["code"] == "NAME_AMBIGUOUS"
    assert ambiguous["extensions"]["candidateIds"] == [first["id"], shared["id"]]


def test_a_shared_name_stays_taken_when_who_holds_it_is_gone(server: RunningServer) -> None:
    name = a_name()
    holder = made(server, CREATE, displayName=name)
    shared = made(server, CREATE, displayName=name, nameConflict="ALLOW")
    server.data(DELETE, input={"id": holder["id"]})
    assert error(server, CREATE, displayName=name)["conflictingId"] == shared["id"]
    assert made(server, CREATE, displayName=name, nameConflict="SUFFIX")["displayName"] == f"{name}-2"


def test_a_rename_and_a_restoration_settle_names_alike(server: RunningServer) -> None:
    name = a_name()
    holder = made(server, CREATE, displayName=name)
    other = made(server, CREATE)
    assert error(server, RENAME, id=other["id"], displayName=name)["conflictingId"] == holder["id"]
    assert made(server, RENAME, id=other["id"], displayName=name, nameConflict="SUFFIX")["displayName"] == f"{name}-2"
    assert made(server, RENAME, id=other["id"], displayName=name, nameConflict="ALLOW")["displayName"] == name
    assert made(server, RENAME, id=other["id"], displayName=f" {name} ")["displayName"] == name
    server.data(DELETE, input={"id": holder["id"]})
    assert error(server, RESTORE, id=holder["id"])["conflictingId"] == other["id"]
    assert made(server, RESTORE, id=holder["id"], nameConflict="SUFFIX")["displayName"] == f"{name}-2"
    server.data(DELETE, input={"id": holder["id"]})
    fresh = a_name()
    assert made(server, RESTORE, id=holder["id"], displayName=fresh)["displayName"] == fresh


def test_thirty_sessions_of_one_name_that_come_at_once_are_numbered_without_a_gap(server: RunningServer) -> None:
    name = a_name()
    with ThreadPoolExecutor(10) as threads:
        suffix = {"displayName": name, "nameConflict": "SUFFIX"}
        sessions = [*threads.map(lambda _: made(server, CREATE, **suffix)["displayName"], range(30))]
    assert sorted(sessions) == sorted([name, *(f"{name}-{n}" for n in range(2, 31))])


def test_expected_revisions_of_renames_are_checked(server: RunningServer) -> None:
    session = made(server, CREATE)
    late = error(server, RENAME, id=session["id"], displayName=a_name(), expectedRevision=7)
    assert (late["code"], late["currentRevision"]) == ("REVISION_CONFLICT", 1)


# ── References ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Lookup by id, then the caller's externalId, then displayName")
def test_any_text_is_tried_as_an_id_then_as_an_external_id_then_as_a_name(server: RunningServer) -> None:
    text = a_name()
    named = made(server, CREATE, displayName=text)
    assert server.data(FIND, ref={"any": text})["session"]["id"] == named["id"]
    aliased = made(server, CREATE, externalId=text)
    assert server.data(FIND, ref={"any": text})["session"]["id"] == aliased["id"]
    of_id = made(server, CREATE, externalId=named["id"])
    assert server.data(FIND, ref={"any": named["id"]})["session"]["id"] == named["id"]
    assert server.data(FIND, ref={"externalId": named["id"]})["session"]["id"] == of_id["id"]
    assert server.data(FIND, ref={"displayName": named["id"]}) == {"session": None}
    assert server.data(FIND, ref={"any": str(uuid4())}) == {"session": None}


@pytest.mark.parametrize("ref", [{}, {"id": "a", "any": "a"}, {"externalId": "a", "displayName": "a"}])
def test_a_reference_is_exactly_one_thing(server: RunningServer, ref: dict[str, str]) -> None:
    answer = server.ask(FIND, ref=ref)
    assert answer["data"] == {"session": None}
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING")
def test_an_expired_session_is_told_as_such_and_resolves_as_an_entity(server: RunningServer) -> None:
    session = made(server, CREATE, displayName=(name := a_name()), ttl="PT1S", expiryPolicy="FIXED")
    for ref in ({"id": session["id"]}, {"displayName": name}, {"any": name}):
        answer = until(lambda ref=ref: _with_errors(server.ask(FIND, ref=ref)), "it has expired")
        assert answer["data"] == {"session": None}
        assert answer["errors"][0]["extensions"]["code"] == "SESSION_EXPIRED"
        assert answer["errors"][0]["extensions"]["expiredAt"]
    taken = error(server, CREATE, displayName=name)
    assert (taken["code"], taken["conflictingId"]) == ("NAME_TAKEN", session["id"])
    assert "which has expired: extendSession revives it" in taken["message"]
    entity = "query($reps: [_Any!]!) { _entities(representations: $reps) { ... on Session { id state } } }"
    answer = server.data(entity, reps=[{"__typename": "Session", "id": session["id"]}])
    assert answer["_entities"] == [{"id": session["id"], "state": "EXPIRED"}]
    listed = "query($filter: SessionFilter) { sessions(filter: $filter) { totalCount edges { node { id state } } } }"
    for states, found in ((None, 0), (["ACTIVE"], 0), (["EXPIRED"], 1)):
        page = server.data(listed, filter={"displayNameContains": name.upper(), "states": states})["sessions"]
        assert (page["totalCount"], len(page["edges"])) == (found, found)


def _with_errors(answer: dict[str, Any]) -> dict[str, Any] | None:
    return answer if "errors" in answer else None


# ── Lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Listing by owner and tenant, expired ones filtered; page size 20")
def test_lists_are_paged_in_every_order_and_refuse_what_they_must(server: RunningServer) -> None:
    source = f"source {uuid4()}"
    names = [f"{a_name()} {n}" for n in range(25)]
    ids = [made(server, CREATE, displayName=name, dataSource=source)["id"] for name in names]
    query = """query($filter: SessionFilter, $orderBy: SessionOrder, $first: Int! = 20, $after: String) {
      sessions(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
        totalCount pageInfo { hasNextPage endCursor } edges { node { id } } } }"""
    wanted = {"dataSource": source}
    by_name = [session_id for _, session_id in sorted(zip(names, ids, strict=True))]
    for order, expected in (
        (None, ids[::-1]),
        ({"direction": "ASC"}, ids),
        ({"field": "DISPLAY_NAME", "direction": "ASC"}, by_name),
        ({"field": "DISPLAY_NAME", "direction": "DESC"}, by_name[::-1]),
        ({"field": "UPDATED_AT"}, ids[::-1]),
        ({"field": "LAST_ACTIVE_AT", "direction": "ASC"}, ids),
    ):
        first = server.data(query, filter=wanted, orderBy=order)["sessions"]
        after = first["pageInfo"]["endCursor"]
        second = server.data(query, filter=wanted, orderBy=order, after=after)["sessions"]
        assert [edge["node"]["id"] for edge in (*first["edges"], *second["edges"])] == expected
        assert (len(first["edges"]), first["totalCount"], second["pageInfo"]["hasNextPage"]) == (20, 25, False)
    for bad in ({"first": 0}, {"first": 101}, {"after": "x"}, {"after": after, "orderBy": {"field": "UPDATED_AT"}}):
        assert server.ask(query, **bad)["errors"][0]["extensions"]["code"] == "INVALID_INPUT", bad
    assert len(server.data(query, first=100)["sessions"]["edges"]) <= 100


# ── Copies ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Copy: new id, clock and usage, `copiedFrom` set; parts chosen by")
def test_a_copy_has_the_attributes_and_the_parts_that_were_asked_for_and_shares_nothing(server: RunningServer) -> None:
    given = {
        "dataSource": f"source {uuid4()}",
        "details": [{"key": "k", "value": "v"}],
        "metadata": {"a": [1]},
        "context": {"memory": {"deep": [1, 2]}},
        "externalId": a_name(),
        "coverage": {"cells": disk(1)},
    }
    source = made(server, CREATE, **given)
    name = a_name()
    plain = made(server, COPY, sourceId=source["id"], displayName=name)
    assert plain["copiedFrom"] == {"id": source["id"]}
    assert (plain["displayName"], plain["revision"], plain["externalId"]) == (name, 1, None)
    for field in ("dataSource", "details", "metadata", "expiryPolicy"):
        assert plain[field] == source[field]
    assert (plain["context"], plain["partition"]["tileCount"]) == ({}, 0)
    full = made(
        server, COPY, sourceId=source["id"], displayName=name, nameConflict="SUFFIX", include=["CONTEXT", "TILES"]
    )
    assert (full["displayName"], full["context"]) == (f"{name}-2", given["context"])
    count = "query($id: ID!) { session(ref: {id: $id}) { partition { tileCount } } }"
    until(lambda: server.data(count, id=full["id"])["session"]["partition"]["tileCount"] == 7, "its own tiles")
    update = "mutation($input: UpdateSessionInput!) { updateSession(input: $input) { errors { code } } }"
    server.data(update, input={"id": full["id"], "context": {"memory": 0}})
    found = server.data("query($id: ID!) { session(ref: {id: $id}) { context revision } }", id=source["id"])["session"]
    assert found == {"context": given["context"], "revision": 1}


def test_a_copy_of_main_is_an_ordinary_session_that_expires(server: RunningServer) -> None:
    main = server.data("{ mainSession { id } }")["mainSession"]["id"]
    copied = made(server, COPY, sourceId=main, displayName="main", nameConflict="SUFFIX")
    assert copied["displayName"].startswith("main-")
    assert (copied["isMain"], copied["expiryPolicy"], copied["copiedFrom"]) == (False, "SLIDING", {"id": main})


def test_what_is_absent_deleted_or_expired_is_not_copied(server: RunningServer) -> None:
    assert error(server, COPY, sourceId=str(uuid4()), displayName=a_name())["code"] == "NOT_FOUND"
    gone = new_session(server)
    server.data(DELETE, input={"id": gone})
    assert error(server, COPY, sourceId=gone, displayName=a_name())["code"] == "NOT_FOUND"


# ── Keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Idempotency keys on every creating mutation")
def test_who_repeats_a_request_with_its_key_gets_what_it_made(server: RunningServer) -> None:
    key, name = str(uuid4()), a_name()
    given: dict[str, Any] = {"displayName": name, "idempotencyKey": key, "coverage": {"cells": disk(1)}}
    first = made(server, CREATE, **given)
    assert made(server, CREATE, **given, version=1)["id"] == first["id"]
    other = error(server, CREATE, **{**given, "displayName": a_name()})
    assert (other["code"], other["path"]) == ("INVALID_INPUT", ["idempotencyKey"])
    copied = made(server, COPY, sourceId=first["id"], displayName=a_name(), idempotencyKey=key)
    assert copied["id"] != first["id"]
    assert error(server, CREATE, idempotencyKey="")["path"] == ["idempotencyKey"]
    assert error(server, CREATE, idempotencyKey="x" * 201)["path"] == ["idempotencyKey"]
    server.data(DELETE, input={"id": first["id"]})
    gone = error(server, CREATE, **given)
    assert (gone["code"], gone["path"]) == ("NOT_FOUND", ["idempotencyKey"])


@pytest.mark.requirement("Idempotency keys on every creating mutation")
def test_who_repeats_a_request_gets_what_it_made_also_where_what_it_was_made_of_is_gone(server: RunningServer) -> None:
    source = made(server, CREATE, displayName=a_name(), coverage={"cells": disk(1)})
    create = {"displayName": a_name(), "associateIds": [source["id"]], "idempotencyKey": str(uuid4())}
    copy = {"displayName": a_name(), "sourceId": source["id"], "include": ["TILES"], "idempotencyKey": str(uuid4())}
    asked = ((CREATE, create), (COPY, copy))
    first = [made(server, mutation, **given)["id"] for mutation, given in asked]
    server.data(DELETE, input={"id": source["id"], "purge": True})
    assert [made(server, mutation, **given)["id"] for mutation, given in asked] == first
    for mutation, given in asked:
        anew = {**given, "displayName": a_name(), "idempotencyKey": str(uuid4())}
        assert error(server, mutation, **anew)["code"] == "NOT_FOUND"


@pytest.mark.requirement("Idempotency keys on every creating mutation")
def test_who_repeats_a_request_changes_no_coverage(server: RunningServer) -> None:
    cells = disk(1)
    create = {"displayName": a_name(), "coverage": {"cells": cells}, "idempotencyKey": str(uuid4())}
    first = made(server, CREATE, **create)
    copy = {"displayName": a_name(), "sourceId": first["id"], "include": ["TILES"], "idempotencyKey": str(uuid4())}
    assert made(server, COPY, **copy)["partition"] == {"tileCount": 7}
    tiles = [f"{first['id']}:{cell}" for cell in cells[:3]]
    (unregistered,) = server.data(UNREGISTER, input={"tileIds": tiles}).values()
    assert unregistered["errors"] == []
    server.data(REGISTER_TILES, input={"sessionId": first["id"], "coverage": {"cells": disk(2)[-2:]}})
    assert made(server, CREATE, **create)["partition"] == {"tileCount": 7 - 3 + 2}
    assert made(server, COPY, **copy)["partition"] == {"tileCount": 7}


@pytest.mark.requirement("Idempotency keys on every creating mutation")
def test_ten_requests_at_once_with_one_key_make_one_session(server: RunningServer) -> None:
    for given in ({"displayName": a_name()}, {}, {"displayName": a_name(), "nameConflict": "SUFFIX"}):
        key = str(uuid4())
        with ThreadPoolExecutor(10) as threads:
            ids = [
                *threads.map(lambda _, i={**given, "idempotencyKey": key}: made(server, CREATE, **i)["id"], range(10))
            ]
        assert len(set(ids)) == 1
