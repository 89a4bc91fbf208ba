"""The lifecycle of sessions over the real server: what callers change, delete and restore, and what time does."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from subgraph.adapters.data_directory import DATABASE_NAME
from tests.support.server import PATIENT, RunningServer, running_server, until
from tests.support.subscriber import subscribed
from tests.support.world import disk, new_session

SESSION = (
    "session { id displayName title state isMain revision expiresAt ttl details { key value } context dataSource }"
)
ERRORS = """errors { code path message ... on SessionExpired { expiredAt } ... on SessionNameTaken { conflictingId }
  ... on SessionManagerInvalidInput { limit }
  ... on SessionIllegalState { state } ... on SessionRevisionConflict { currentRevision } }"""
UPDATE = f"mutation($input: UpdateSessionInput!) {{ updateSession(input: $input) {{ {SESSION} {ERRORS} }} }}"
RENAME = f"mutation($input: RenameSessionInput!) {{ renameSession(input: $input) {{ {SESSION} {ERRORS} }} }}"
TITLE = f"mutation($input: TitleSessionInput!) {{ titleSession(input: $input) {{ title source {SESSION} {ERRORS} }} }}"
EXTEND = f"mutation($input: ExtendSessionInput!) {{ extendSession(input: $input) {{ {SESSION} {ERRORS} }} }}"
END = f"mutation($input: EndSessionInput!) {{ endSession(input: $input) {{ {SESSION} {ERRORS} }} }}"
DELETE = f"""mutation($input: DeleteSessionInput!) {{ deleteSession(input: $input) {{
  sessionId deletedAt purged newMain {{ id isMain displayName }} {ERRORS} }} }}"""
RESTORE = f"mutation($input: RestoreSessionInput!) {{ restoreSession(input: $input) {{ {SESSION} {ERRORS} }} }}"
ASSOCIATE = f"""mutation($input: AssociateSessionsInput!) {{ associateSessions(input: $input) {{
  session {{ id associates {{ totalCount edges {{ node {{ id parents {{ edges {{ node {{ id }} }} }} }} }} }} }}
  {ERRORS} }} }}"""
CLEAN_UP = "mutation { cleanUpExpiredSessions { expired purged errors { code } } }"
READ = """query($id: ID!) { session(ref: {id: $id}) { id state tiles { totalCount } } }"""
MAIN = "{ mainSession { id isMain displayName expiryPolicy expiresAt } }"
STARTED = "subscription($source: String!) { sessionStarted(dataSource: $source) { sessionKey } }"
STOPPED = "subscription($source: String!) { sessionStopped(dataSource: $source) { sessionKey } }"
LEADER = "{ fleet { leader } }"
LISTED = "{ sessions { totalCount edges { node { id } } } }"
ABOUT = "{ sessionManager { enabled showSessionPicker defaultTtl defaultMaxHistory retention limits } }"


@pytest.fixture(scope="module")
def fast_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that looks for expired sessions all the time."""
    settings = {**PATIENT, "SESSION_MANAGER_SESSION_SWEEP_SECONDS": "0.1", "SESSION_MANAGER_SHOW_SESSION_PICKER": "0"}
    with running_server(tmp_path_factory.mktemp("fast") / "data", **settings) as running:
        yield running


def done(server: RunningServer, mutation: str, **wanted: Any) -> dict[str, Any]:
    (payload,) = server.data(mutation, input=wanted).values()
    assert payload["errors"] == [], payload
    return dict(payload)


def refused(server: RunningServer, mutation: str, **wanted: Any) -> dict[str, Any]:
    (payload,) = server.data(mutation, input=wanted).values()
    (error,) = payload["errors"]
    return dict(error)


def journal_of(data: Path) -> list[str]:
    """The types of all events that a server has written into its data directory."""
    with contextlib.closing(sqlite3.connect(data / DATABASE_NAME)) as database:
        return [row[0] for row in database.execute("SELECT type FROM session_event ORDER BY position")]


def state_of(server: RunningServer, session_id: str) -> str:
    """The state as a query tells it, also where it is told as an error."""
    answer = server.ask(READ, id=session_id)
    if "errors" in answer:
        return str(answer["errors"][0]["extensions"]["code"])
    return "ABSENT" if answer["data"]["session"] is None else str(answer["data"]["session"]["state"])


@pytest.mark.requirement("Details merge key by key while the session runs")
def test_an_update_merges_and_removes_by_name(server: RunningServer) -> None:
    session_id = new_session(server, details=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    after = done(
        server,
        UPDATE,
        id=session_id,
        expectedRevision=1,
        details=[{"key": "a", "value": ""}, {"key": "c", "value": "3"}],
        removeDetails=["b"],
        context={"k": [1]},
        dataSource="trains",
    )["session"]
    assert after["details"] == [{"key": "a", "value": "1"}, {"key": "c", "value": "3"}]
    assert (after["context"], after["dataSource"], after["revision"]) == ({"k": [1]}, "trains", 2)
    conflict = refused(server, UPDATE, id=session_id, expectedRevision=1, version=2)
    assert (conflict["code"], conflict["currentRevision"]) == ("REVISION_CONFLICT", 2)
    assert refused(server, UPDATE, id=session_id, details=[{"key": "", "value": "x"}])["path"] == [
        "details",
        "0",
        "key",
    ]


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("removeDetails", ["x"] * 101, "100 keys"),
        ("removeContext", ["x"] * 10_001, "10000 keys"),
        ("context", {"x": "y" * 262_144}, "262144 bytes"),
        ("extendTtl", "PT0S", "PT1S"),
        ("extendTtl", "P3651D", "P3650D"),
        ("maxHistory", 0, "1"),
        ("tokenBudget", 0, "1"),
        ("tokenBudget", -1, "1"),
    ],
)
def test_an_update_beyond_a_limit_is_refused_by_field_whatever_session_it_is_for(
    server: RunningServer, field: str, value: object, limit: str
) -> None:
    error = refused(server, UPDATE, id="nobody looks for it", **{field: value})
    assert (error["code"], error["path"], error["limit"]) == ("INVALID_INPUT", [field], limit)


@pytest.mark.requirement("id immutable, displayName mutable; renaming changes no id")
def test_a_renamed_session_keeps_its_id(server: RunningServer) -> None:
    session_id, name = new_session(server), f"name-{uuid4()}"
    renamed = done(server, RENAME, id=session_id, displayName=name)["session"]
    assert (renamed["id"], renamed["displayName"]) == (session_id, name)
    other = new_session(server)
    taken = refused(server, RENAME, id=other, displayName=name)
    assert (taken["code"], taken["conflictingId"]) == ("NAME_TAKEN", session_id)


@pytest.mark.requirement("Title: skip if there is one; from a title provider if one")
def test_a_title_comes_from_the_query_stays_and_gives_way_to_a_users(server: RunningServer) -> None:
    session_id = new_session(server)
    made = done(server, TITLE, id=session_id, query="This is a very long query that exceeds the limit")
    assert (made["title"], made["source"]) == ("This is a very long query that exceeds...", "FALLBACK")
    kept = done(server, TITLE, id=session_id, query="another")
    assert (kept["title"], kept["source"]) == (made["title"], "EXISTING")
    mine = done(server, TITLE, id=session_id, title="  Mine\u200b ")
    assert (mine["title"], mine["session"]["title"], mine["source"]) == ("Mine", "Mine", "USER")
    assert refused(server, TITLE, id=session_id)["code"] == "INVALID_INPUT"
    assert refused(server, TITLE, id=session_id, title="x", query="y")["code"] == "INVALID_INPUT"


@pytest.mark.requirement("Delete cascades through scenarios, runs, KPIs, datasets")
def test_a_deleted_session_is_invisible_at_once_and_back_when_restored(server: RunningServer) -> None:
    name = f"name-{uuid4()}"
    session_id = new_session(server, displayName=name)
    first = done(server, DELETE, id=session_id)
    assert (first["purged"], first["newMain"]) == (False, None)
    assert done(server, DELETE, id=session_id)["deletedAt"] == first["deletedAt"]
    assert state_of(server, session_id) == "ABSENT"
    assert refused(server, UPDATE, id=session_id, version=2)["code"] == "NOT_FOUND"
    taker = new_session(server, displayName=name)
    taken = refused(server, RESTORE, id=session_id)
    assert (taken["code"], taken["conflictingId"], taken["path"]) == ("NAME_TAKEN", taker, ["displayName"])
    back = done(server, RESTORE, id=session_id, displayName=f"{name}-back")["session"]
    assert (back["state"], back["displayName"]) == ("ACTIVE", f"{name}-back")
    assert refused(server, RESTORE, id=session_id)["code"] == "ILLEGAL_STATE"


@pytest.mark.requirement("Delete cascades through scenarios, runs, KPIs, datasets")
def test_a_purged_session_is_gone_for_good(server: RunningServer) -> None:
    session_id = new_session(server)
    gone = done(server, DELETE, id=session_id, purge=True)
    assert (gone["purged"], gone["deletedAt"]) == (True, None)
    assert refused(server, RESTORE, id=session_id)["code"] == "NOT_FOUND"
    assert refused(server, DELETE, id=session_id)["code"] == "NOT_FOUND"


@pytest.mark.requirement("A tenant always has a `main`: made on its first contact")
def test_a_deleted_main_is_followed_by_another_and_comes_back_as_an_ordinary_session(
    fast_server: RunningServer,
) -> None:
    former = fast_server.data(MAIN)["mainSession"]
    assert (former["expiryPolicy"], former["expiresAt"]) == ("NEVER", None)
    successor = done(fast_server, DELETE, id=former["id"])["newMain"]
    assert (successor["isMain"], successor["displayName"]) == (True, "main")
    assert fast_server.data(MAIN)["mainSession"]["id"] == successor["id"]
    restored = done(fast_server, RESTORE, id=former["id"])["session"]
    assert (restored["isMain"], restored["ttl"]) == (False, "PT720H")
    assert done(fast_server, EXTEND, id=former["id"], ttl="PT1H")["session"]["ttl"] == "PT1H"
    assert fast_server.data(MAIN)["mainSession"]["id"] == successor["id"]


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
def test_an_expired_session_says_so_until_it_is_extended_and_its_tiles_go_and_come_with_it(
    fast_server: RunningServer,
) -> None:
    server, source = fast_server, f"source-{uuid4()}"
    with (
        subscribed(server.websocket_url, STARTED, source=source) as started,
        subscribed(server.websocket_url, STOPPED, source=source) as stopped,
    ):
        session_id = new_session(server, disk(1), dataSource=source, ttl="PT4S", expiryPolicy="FIXED")
        assert started.next_data("sessionStarted")["sessionKey"] == session_id
        assert server.data(READ, id=session_id)["session"]["tiles"]["totalCount"] == 7
        assert stopped.next_data("sessionStopped")["sessionKey"] == session_id
        assert state_of(server, session_id) == "SESSION_EXPIRED"
        error = refused(server, END, id=session_id)
        assert error["code"] == "SESSION_EXPIRED"
        assert error["expiredAt"]
        revived = done(server, EXTEND, id=session_id, ttl="PT1H")["session"]
        assert (revived["state"], revived["ttl"]) == ("ACTIVE", "PT1H")
        assert started.next_data("sessionStarted")["sessionKey"] == session_id
        until(lambda: server.data(READ, id=session_id)["session"]["tiles"]["totalCount"] == 7, "its tiles are back")
        done(server, END, id=session_id)
        assert stopped.next_data("sessionStopped")["sessionKey"] == session_id
        until(lambda: server.data(READ, id=session_id)["session"]["tiles"]["totalCount"] == 0, "its tiles are gone")


@pytest.mark.requirement("Delete cascades through scenarios, runs, KPIs, datasets")
def test_a_restored_session_has_its_tiles_again(server: RunningServer) -> None:
    session_id = new_session(server, disk(1))
    tile_id = f"{session_id}:{disk(0)[0]}"
    done(server, DELETE, id=session_id)
    until(lambda: server.data("query($id: ID!) { tile(id: $id) { id } }", id=tile_id)["tile"] is None, "it is gone")
    done(server, RESTORE, id=session_id)
    until(lambda: server.data(READ, id=session_id)["session"]["tiles"]["totalCount"] == 7, "its tiles are back")


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
def test_a_clean_up_expires_what_is_due(server: RunningServer) -> None:
    session_id = new_session(server, ttl="PT1S", expiryPolicy="FIXED")
    until(lambda: state_of(server, session_id) == "SESSION_EXPIRED", "it has expired")
    swept = server.data(CLEAN_UP)["cleanUpExpiredSessions"]
    assert (swept["errors"], swept["purged"]) == ([], 0)


@pytest.mark.requirement("Hierarchy: parents and associates, no duplicates, no cycles")
def test_associates_are_shown_at_both_ends_and_make_no_cycle(server: RunningServer) -> None:
    child = new_session(server)
    parent = new_session(server, associateIds=[child])
    other = new_session(server)
    shown = done(server, ASSOCIATE, parentId=parent, associateIds=[other, child])["session"]["associates"]
    assert shown["totalCount"] == 2
    assert {edge["node"]["id"] for edge in shown["edges"]} == {child, other}
    assert all(edge["node"]["parents"]["edges"] == [{"node": {"id": parent}}] for edge in shown["edges"])
    cycle = refused(server, ASSOCIATE, parentId=child, associateIds=[parent])
    assert (cycle["code"], cycle["path"]) == ("INVALID_INPUT", ["associateIds", "0"])


@pytest.mark.requirement("A switch in `sessionManager` for session pickers")
def test_front_ends_are_told_whether_to_show_a_picker_and_the_limits(
    server: RunningServer, fast_server: RunningServer
) -> None:
    about = server.data(ABOUT)["sessionManager"]
    assert (about["enabled"], about["showSessionPicker"]) == (True, True)
    assert (about["defaultTtl"], about["defaultMaxHistory"], about["retention"]) == ("PT720H", 500, "PT720H")
    assert about["limits"]["titleCharacters"] == 60
    told = {"pageEntries": 100, "pageTiles": 1_000, "requestBytes": 5_000_000, "associatesPerCall": 100}
    told |= {"tickIntervalSecondsMin": 1, "tickIntervalSecondsMax": 86_400, "tilesPerCall": 1_000}
    assert about["limits"].items() >= told.items()
    assert fast_server.data(ABOUT)["sessionManager"]["showSessionPicker"] is False


@pytest.mark.requirement("Switch: session management can be disabled; then every")
def test_where_it_is_disabled_every_mutation_says_so_streams_end_and_reads_go_on(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", SESSION_MANAGER_ENABLED="false") as server:
        assert server.data(ABOUT)["sessionManager"]["enabled"] is False
        for mutation, wanted in ((UPDATE, {"id": "x"}), (DELETE, {"id": "x"}), (EXTEND, {"id": "x", "ttl": "PT1H"})):
            assert refused(server, mutation, **wanted)["code"] == "DISABLED"
        assert server.data(CLEAN_UP)["cleanUpExpiredSessions"]["errors"] == [{"code": "DISABLED"}]
        pod = 'mutation { registerPod(input: {id: "p", service: "s", capacity: 1}) { errors { code } } }'
        assert server.data(pod)["registerPod"]["errors"] == [{"code": "DISABLED"}]
        with subscribed(server.websocket_url, STARTED, source="x") as stream:
            assert "DISABLED" in str(stream.next())


@pytest.mark.requirement("Switch: session management can be disabled; then every")
def test_while_it_is_disabled_nothing_is_written_by_reading_or_by_time(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_server(data) as server:
        new_session(server, tickInterval="PT1S")
        main = server.data(MAIN)["mainSession"]["id"]
        until(lambda: "SESSION_TICK" in journal_of(data), "a tick")
    with running_server(data, SESSION_MANAGER_ENABLED="false") as server:
        assert server.data(MAIN)["mainSession"]["id"] == main
        before = journal_of(data)
        # A leader that ticked would have told of it by then.
        until(lambda: server.data(LEADER)["fleet"]["leader"], "a leader")
        time.sleep(2.5)
        assert journal_of(data) == before
    with running_server(tmp_path / "never met", SESSION_MANAGER_ENABLED="false") as server:
        assert server.data(LISTED)["sessions"] == {"totalCount": 0, "edges": []}
        (error,) = server.ask(MAIN)["errors"]
        assert error["extensions"]["code"] == "DISABLED"
        assert journal_of(tmp_path / "never met") == []


@pytest.mark.requirement("Details merge key by key while the session runs")
def test_what_is_taken_off_a_session_is_gone_from_every_view_of_it_and_free_for_others(server: RunningServer) -> None:
    alias, source = f"alias {uuid4()}", f"source {uuid4()}"
    fields = "externalId dataSource tokenBudget tickInterval"
    wanted: dict[str, Any] = {"externalId": alias, "dataSource": source, "tokenBudget": 5, "tickInterval": "PT1H"}
    session_id = new_session(server, **wanted)
    read = f"""query($id: ID!, $source: String) {{ session(ref: {{id: $id}}) {{ {fields} }} exportSession(id: $id)
      currentSessions(dataSource: $source) {{ totalCount }} }}"""
    seen = server.data(read, id=session_id, source=source)
    assert (seen["session"], seen["currentSessions"]["totalCount"]) == (wanted, 1)
    every = ["EXTERNAL_ID", "DATA_SOURCE", "TOKEN_BUDGET", "TICK_INTERVAL"]
    both = refused(server, UPDATE, id=session_id, dataSource="other", removeFields=every)
    assert (both["code"], both["path"]) == ("INVALID_INPUT", ["removeFields", "1"])
    changed = done(server, UPDATE, id=session_id, removeFields=every)["session"]
    assert (changed["dataSource"], changed["revision"]) == (None, 2)
    assert done(server, UPDATE, id=session_id, removeFields=every)["session"]["revision"] == 2
    seen = server.data(read, id=session_id, source=source)
    assert (seen["session"], seen["currentSessions"]["totalCount"]) == (dict.fromkeys(wanted), 0)
    assert {name: seen["exportSession"]["session"][name] for name in wanted} == dict.fromkeys(wanted)
    assert new_session(server, externalId=alias) != session_id
