"""Events of sessions over the real server: pages and streams by one cursor, without gap or repeat."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.server import RunningServer, until
from tests.support.subscriber import subscribed
from tests.support.world import new_session

EVENTS = """subscription($id: ID, $source: String, $types: [SessionEventType!], $after: String) {
  sessionEvents(sessionId: $id, dataSource: $source, types: $types, after: $after) {
    id sequence cursor type sessionId actor agentId runId message occurredAt payload session { state } } }"""
PAGE = """query($id: ID!, $first: Int!, $after: String, $types: [SessionEventType!]) { session(ref: {id: $id}) {
  events(first: $first, after: $after, types: $types) {
    totalCount pageInfo { hasNextPage endCursor }
    edges { cursor node { id sequence cursor type sessionId actor occurredAt } } } } }"""
LABELS = """mutation($id: ID!, $value: String!) {
  updateSession(input: {id: $id, requiredLabels: [{key: "n", value: $value}]}) { errors { message } } }"""
END = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { message } } }"


def change(server: RunningServer, session_id: str, value: object) -> None:
    """Change the session, which tells SESSION_UPDATED."""
    server.data(LABELS, id=session_id, value=str(value))


def page(server: RunningServer, session_id: str, first: int = 50, **variables: object) -> dict[str, Any]:
    found: dict[str, Any] = server.data(PAGE, id=session_id, first=first, **variables)["session"]["events"]
    return found


@pytest.mark.requirement("Resumable subscriptions: the cursor of the page and of the stream")
def test_pages_by_cursor_give_every_event_of_a_session_once_and_in_order(server: RunningServer) -> None:
    session_id = new_session(server)
    for n in range(4):
        change(server, session_id, n)
    sequences, after = [], None
    while True:
        found = page(server, session_id, 2, after=after)
        sequences += [edge["node"]["sequence"] for edge in found["edges"]]
        assert found["totalCount"] is None
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert sequences == [1, 2, 3, 4, 5]
    started = page(server, session_id, types=["SESSION_STARTED"])["edges"]
    assert [edge["node"]["type"] for edge in started] == ["SESSION_STARTED"]
    assert started[0]["node"]["id"] == f"{session_id}/1"


@pytest.mark.requirement("Resumable subscriptions: the cursor of the page and of the stream")
def test_a_stream_with_a_cursor_gives_all_that_followed_and_goes_on_live(server: RunningServer) -> None:
    session_id = new_session(server)
    cursor = page(server, session_id)["pageInfo"]["endCursor"]
    for n in range(3):
        change(server, session_id, n)
    with subscribed(server.websocket_url, EVENTS, id=session_id, after=cursor) as subscriber:
        told = [subscriber.next_data("sessionEvents") for _ in range(3)]
        change(server, session_id, "live")
        server.data(END, id=session_id)
        told += [subscriber.next_data("sessionEvents") for _ in range(2)]
        assert not subscriber.has_more
    assert [event["sequence"] for event in told] == [2, 3, 4, 5, 6]
    assert told[-1]["type"] == "SESSION_ENDED"
    assert told[-1]["session"] == {"state": "ENDED"}
    # The cursors of the stream are those of the page.
    assert [event["cursor"] for event in told] == [
        edge["cursor"] for edge in page(server, session_id, after=cursor)["edges"]
    ]


@pytest.mark.requirement("Resumable subscriptions: the cursor of the page and of the stream")
def test_who_leaves_and_comes_back_with_its_last_cursor_sees_each_event_once(server: RunningServer) -> None:
    session_id = new_session(server)
    first = page(server, session_id)["edges"][0]
    sequences, cursor = [first["node"]["sequence"]], first["cursor"]
    for turn in range(5):
        change(server, session_id, f"while away {turn}")
        with subscribed(server.websocket_url, EVENTS, id=session_id, after=cursor) as subscriber:
            change(server, session_id, f"while there {turn}")
            for _ in range(2):
                event = subscriber.next_data("sessionEvents")
                sequences.append(event["sequence"])
                cursor = event["cursor"]
    assert sequences == list(range(1, 12))


def test_a_stream_without_a_cursor_is_live_only(server: RunningServer) -> None:
    session_id = new_session(server)
    with subscribed(server.websocket_url, EVENTS, id=session_id) as subscriber:

        def told() -> bool:
            change(server, session_id, uuid4())
            return subscriber.has_more

        until(told, "the subscription is live")
        assert subscriber.next_data("sessionEvents")["type"] == "SESSION_UPDATED"


def test_a_stream_of_a_data_source_tells_of_its_sessions_alone_and_of_the_types_asked_for(
    server: RunningServer,
) -> None:
    source = f"source-{uuid4()}"
    marker = new_session(server, dataSource=source)
    cursor = page(server, marker)["pageInfo"]["endCursor"]
    with subscribed(
        server.websocket_url, EVENTS, source=source, types=["SESSION_STARTED", "SESSION_ENDED"], after=cursor
    ) as subscriber:
        other, mine = new_session(server, dataSource="another"), new_session(server, dataSource=source)
        change(server, mine, 1)
        server.data(END, id=other)
        server.data(END, id=mine)
        told = [subscriber.next_data("sessionEvents") for _ in range(2)]
    assert [(event["sessionId"], event["type"]) for event in told] == [
        (mine, "SESSION_STARTED"),
        (mine, "SESSION_ENDED"),
    ]


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", "W10", "WzEsMl0", "Wy0xXQ", "WzkyMjMzNzIwMzY4NTQ3NzU4MDhd", "x" * 999],
    ids=range(7),
)
def test_what_is_no_cursor_is_refused_by_page_and_stream_alike(server: RunningServer, cursor: str) -> None:
    session_id = new_session(server)
    with subscribed(server.websocket_url, EVENTS, id=session_id, after=cursor) as subscriber:
        (error,) = subscriber.next()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["argumentPath"]) == ("INVALID_INPUT", ["after"])
    answer = server.ask(PAGE, id=session_id, first=5, after=cursor)
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


def test_a_cursor_ahead_of_the_journal_is_refused_with_what_to_do(server: RunningServer) -> None:
    session_id = new_session(server)
    with subscribed(server.websocket_url, EVENTS, id=session_id, after="Wzk5OTk5OTk5OTld") as subscriber:
        (error,) = subscriber.next()["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "read anew" in error["message"]


def test_a_session_that_is_not_there_has_no_stream(server: RunningServer) -> None:
    with subscribed(server.websocket_url, EVENTS, id=str(uuid4())) as subscriber:
        (error,) = subscriber.next()["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"


AUDIT = """query($filter: SessionFilter, $after: String) { sessionAuditLog(filter: $filter, after: $after) {
  totalCount edges { cursor node { sessionId type actor } } } }"""
PURGE = "mutation($id: ID!) { deleteSession(input: {id: $id, purge: true}) { errors { message } } }"


@pytest.mark.requirement("A journal that is also the audit log; export, import, erase")
def test_the_audit_log_tells_of_all_sessions_in_order_and_keeps_the_purge_of_one_that_is_gone(
    server: RunningServer,
) -> None:
    source = f"source-{uuid4()}"
    before = page(server, new_session(server))["pageInfo"]["endCursor"]
    kept, gone = new_session(server, dataSource=source), new_session(server, dataSource=source)
    server.data(END, id=kept)
    server.data(PURGE, id=gone)

    def told(**variables: object) -> list[tuple[str, str]]:
        edges = server.data(AUDIT, after=before, **variables)["sessionAuditLog"]["edges"]
        return [(edge["node"]["sessionId"], edge["node"]["type"]) for edge in edges]

    assert [one for one in told() if one[0] in (kept, gone)] == [
        (kept, "SESSION_STARTED"),
        (kept, "SESSION_ENDED"),
        (gone, "SESSION_DELETED"),
        (gone, "SESSION_PURGED"),
    ]
    assert told(filter={"dataSource": source}) == [(kept, "SESSION_STARTED"), (kept, "SESSION_ENDED")]
    assert told(filter={"dataSource": source, "states": ["ACTIVE"]}) == []
