"""A backup that is put back under a running server: streams end with what to do, copies go, and all begins again."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from redis import Redis

from subgraph.adapters.data_directory import DATABASE_NAME
from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.sql.database import sqlite_url
from tests.support.server import RunningServer, running_server, until
from tests.support.sql_backups import back_up
from tests.support.subscriber import subscribed
from tests.support.world import new_session

EVENTS = "subscription($id: ID!, $after: String) { sessionEvents(sessionId: $id, after: $after) { cursor sequence } }"
RENAME = (
    "mutation($id: ID!, $name: String!) { renameSession(input: {id: $id, displayName: $name}) { errors { code } } }"
)
NAME = "query($id: ID!) { session(ref: {id: $id}) { displayName } }"
FROM_THE_START = "WzBd"


def rename(server: RunningServer, session_id: str, name: str) -> None:
    assert server.data(RENAME, id=session_id, name=name)["renameSession"]["errors"] == []


def name_of(server: RunningServer, session_id: str) -> str:
    found: str = server.data(NAME, id=session_id)["session"]["displayName"]
    return found


def mains(server: RunningServer) -> list[bool]:
    """Of each session there is, whether it is main."""
    found = server.data("{ currentSessions { edges { node { isMain } } } }")["currentSessions"]
    return [edge["node"]["isMain"] for edge in found["edges"]]


def test_streams_end_with_a_code_their_cursors_are_refused_and_without_one_they_go_on(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        url = sqlite_url(server.data_dir / DATABASE_NAME)
        put_back_to_nothing = asyncio.run(back_up(url))
        session_id = new_session(server, displayName="kept")
        put_back = asyncio.run(back_up(url))
        with subscribed(server.websocket_url, EVENTS, id=session_id, after=FROM_THE_START) as subscriber:
            rename(server, session_id, "lost")
            told = [subscriber.next_data("sessionEvents") for _ in range(2)]
            assert [event["sequence"] for event in told] == [1, 2]
            assert name_of(server, session_id) == "lost"
            asyncio.run(put_back())
            (error,) = subscriber.next()["errors"]
        assert error["extensions"] == {"code": "JOURNAL_PUT_BACK"}
        assert "read anew, and subscribe without `after`" in error["message"]

        until(lambda: name_of(server, session_id) == "kept", "no copy is left of what was lost")

        with subscribed(server.websocket_url, EVENTS, id=session_id, after=told[-1]["cursor"]) as subscriber:
            (error,) = subscriber.next()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"
        with subscribed(server.websocket_url, EVENTS, id=session_id, after=told[0]["cursor"]) as subscriber:
            rename(server, session_id, "new")
            assert subscriber.next_data("sessionEvents")["sequence"] == 2

        assert (tmp_path / "data.log").read_text().count("restored from a backup") == 1

        asyncio.run(put_back_to_nothing())
        until(lambda: mains(server) == [True], "the tenant, which was never there, has its main session again")


def test_a_server_that_starts_on_an_older_journal_than_redis_knows_of_shows_no_copies_of_what_was_lost(
    tmp_path: Path, valkey_url: str
) -> None:
    redis = {"SESSION_MANAGER_REDIS_URL": valkey_url, "SESSION_MANAGER_FLEET": "put-back"}
    with running_server(tmp_path / "data", **redis) as server:
        session_id = new_session(server, displayName="kept")
        put_back = asyncio.run(back_up(sqlite_url(server.data_dir / DATABASE_NAME)))
        rename(server, session_id, "lost")
        assert name_of(server, session_id) == name_of(server, session_id) == "lost"
        with contextlib.closing(sqlite3.connect(server.data_dir / DATABASE_NAME)) as database:
            (newest,) = database.execute("SELECT max(position) FROM session_event").fetchone()
        with Redis.from_url(valkey_url) as noted:
            until(lambda: noted.get(fleet_key("put-back", "journal-seen")) == str(newest).encode(), "it is noted")
        server.stop()
    asyncio.run(put_back())
    with running_server(tmp_path / "data", **redis) as server:
        until(lambda: name_of(server, session_id) == "kept", "no copy is left of what was lost")
