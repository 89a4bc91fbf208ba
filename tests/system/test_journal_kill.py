"""Servers killed while sessions change: rows and events agree, and who comes back with its cursor missed none."""

import contextlib
import os
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import RunningServer, running_server, until
from tests.support.subscriber import subscribed

pytestmark = pytest.mark.long

KILLS = 4
SECONDS_PER_LIFE = 1.0
EVENTS = "subscription($after: String) { sessionEvents(after: $after) { cursor sessionId sequence type } }"
CREATE = "mutation { createSession(input: {}) { session { id } errors { message } } }"
CHANGE = """mutation($id: ID!, $v: String!) {
  updateSession(input: {id: $id, details: [{key: "at", value: $v}]}) { errors { message } } }"""
END = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { message } } }"
PAGE = """query($after: String) { sessionAuditLog(first: 100, after: $after) {
  pageInfo { hasNextPage endCursor } edges { node { sessionId sequence type } } } }"""
SESSIONS = """query($after: String) { sessions(first: 100, after: $after) {
  pageInfo { hasNextPage endCursor } edges { node { id revision state } } } }"""


def change_until(server: RunningServer, dead: threading.Event) -> None:
    """Create, change and end sessions as fast as one client can, until the server is gone."""
    with contextlib.suppress(httpx.HTTPError):
        while not dead.is_set():
            session_id = server.data(CREATE)["createSession"]["session"]["id"]
            server.data(CHANGE, id=session_id, v="1")
            server.data(END, id=session_id)


def listed(server: RunningServer, query: str, field: str) -> list[dict[str, Any]]:
    """All nodes of a list, page by page."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = server.data(query, after=after)[field]
        found += [edge["node"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


def test_servers_killed_at_work_leave_rows_and_events_that_agree_and_streams_that_go_on_without_gap_or_repeat(
    tmp_path: Path,
) -> None:
    told: list[dict[str, Any]] = []
    cursor = "WzBd"  # of position 0: from the journal's beginning on
    for _ in range(KILLS):
        with running_server(tmp_path / "data") as server, subscribed(server.websocket_url, EVENTS, after=cursor) as one:
            dead = threading.Event()
            clients = [threading.Thread(target=change_until, args=(server, dead)) for _ in range(3)]
            for client in clients:
                client.start()
            time.sleep(SECONDS_PER_LIFE)
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            dead.set()
            for client in clients:
                client.join()
            while one.has_more:
                told.append(one.next_data("sessionEvents"))
            cursor = told[-1]["cursor"] if told else cursor
    with running_server(tmp_path / "data") as server:
        journal = listed(server, PAGE, "sessionAuditLog")
        with subscribed(server.websocket_url, EVENTS, after=cursor) as one:

            def all_told() -> bool:
                while one.has_more:
                    told.append(one.next_data("sessionEvents"))
                return len(told) >= len(journal)

            until(all_told, "the stream has told all that the journal holds")
        rows = {session["id"]: session for session in listed(server, SESSIONS, "sessions")}
    assert [(each["sessionId"], each["sequence"]) for each in told] == [
        (each["sessionId"], each["sequence"]) for each in journal
    ]
    types = defaultdict(list)
    for each in journal:
        types[each["sessionId"]].append(each["type"])
    assert rows.keys() == types.keys()
    assert len(rows) > KILLS
    for session_id, row in rows.items():
        assert len(types[session_id]) == row["revision"]
        assert types[session_id][0] == "SESSION_STARTED"
        assert ("SESSION_ENDED" in types[session_id]) == (row["state"] == "ENDED")
