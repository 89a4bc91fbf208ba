"""Two servers on the same stores: what one of them has changed, the other shows, in whatever way it is asked."""

from itertools import count
from pathlib import Path

import pytest

from tests.support.server import RunningServer, running_server, until
from tests.support.world import new_session

RENAME = """mutation($id: ID!, $name: String!) {
  renameSession(input: {id: $id, displayName: $name}) { session { revision } errors { message } }
}"""
SHOWN = """query($id: ID!, $references: [_Any!]!) {
  session(ref: {id: $id}) { displayName revision }
  _entities(representations: $references) { ... on Session { displayName revision } }
}"""
END = "mutation($id: ID!) { endSession(input: {id: $id}) { session { revision } errors { message } } }"
EVENTS = "subscription($id: ID!) { sessionEvents(sessionId: $id) { type } }"


def shown(server: RunningServer, session_id: str) -> list[dict[str, object]]:
    references = [{"__typename": "Session", "id": session_id}]
    data = server.data(SHOWN, id=session_id, references=references)
    return [data["session"], *data["_entities"]]


@pytest.mark.requirement("A local cache in front of Redis: least recently used, at most")
def test_what_one_server_answers_the_other_shows_at_once(tmp_path: Path) -> None:
    from tests.support.subscriber import subscribed

    with running_server(tmp_path / "one") as one:
        urls = {"SESSION_MANAGER_REDIS_URL": one.redis_url}
        urls["SESSION_MANAGER_DATABASE_URL"] = f"sqlite:///{tmp_path}/one/session-manager.sqlite3"
        with running_server(tmp_path / "two", **urls) as two:
            session_id = new_session(one)
            for number in range(40):
                asked, other = (one, two) if number % 2 else (two, one)
                renamed = asked.data(RENAME, id=session_id, name=f"name {number}")["renameSession"]
                assert renamed["errors"] == []
                now = {"displayName": f"name {number}", "revision": renamed["session"]["revision"]}
                assert shown(other, session_id) == shown(asked, session_id) == shown(other, session_id) == [now, now]
            with subscribed(two.websocket_url, EVENTS, id=session_id) as subscriber:
                names = (f"later {number}" for number in count())
                until(lambda: one.data(RENAME, id=session_id, name=next(names)) and subscriber.has_more, "it is told")
                shown(two, session_id)
                ended = one.data(END, id=session_id)["endSession"]["session"]
                while subscriber.next_data("sessionEvents")["type"] != "SESSION_ENDED":
                    pass
                assert [entity["revision"] for entity in shown(two, session_id)] == [ended["revision"]] * 2
            reads = [line for line in two.http.get("/metrics").text.splitlines() if "session_reads_total{" in line]
            assert any(
                'copies="local"' in line and 'outcome="hit"' in line and not line.endswith(" 0.0") for line in reads
            )
