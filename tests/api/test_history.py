"""The history of ownership through GraphQL: who owned what, until when and why; and how much was moved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.server import PATIENT, RunningServer, running_server, until
from tests.support.world import FakeWork, disk, new_session, until_owned

TERM = "id tileId podId epoch state reason pinned assignedAt acknowledgedAt releasedAt load tile { id } pod { id }"
HISTORY = f"""query($session: ID, $pod: ID, $since: DateTime, $until: DateTime, $first: Int! = 50, $after: String) {{
  assignmentHistory(sessionId: $session, podId: $pod, since: $since, until: $until, first: $first, after: $after) {{
    totalCount pageInfo {{ hasNextPage endCursor }} edges {{ cursor node {{ {TERM} }} }} }} }}"""
ONE = f"query($id: ID!) {{ podAssignment(id: $id) {{ {TERM} }} }}"
OF_TILES = """query($session: ID!, $first: Int! = 20) { session(ref: {id: $session}) {
  tiles(first: 1000) { edges { node {
    id history(first: $first) { pageInfo { hasNextPage } edges { node { epoch state podId } } } } } } } }"""
CHURN = 'query($window: Duration! = "PT1H") { fleet { churn(window: $window) { reason moves loadMoved } } }'
ENTITIES = """query($reps: [_Any!]!) { _entities(representations: $reps) {
  ... on PodAssignment { id state releasedAt } } }"""
MOVE = """mutation($input: PlaceTileInput!) { moveTile(input: $input) {
  assignment { id state reason load } errors { code message } } }"""


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server on which nothing has happened yet."""
    with running_server(tmp_path / "data", **PATIENT) as running:
        yield running


def page(server: RunningServer, **wanted: Any) -> dict[str, Any]:
    found: dict[str, Any] = server.data(HISTORY, **wanted)["assignmentHistory"]
    return found


def history(server: RunningServer, **wanted: Any) -> list[dict[str, Any]]:
    return [edge["node"] for edge in page(server, **wanted)["edges"]]


def refusal(server: RunningServer, query: str = HISTORY, **wanted: Any) -> dict[str, Any]:
    (error,) = server.ask(query, **wanted)["errors"]
    extensions: dict[str, Any] = error["extensions"]
    assert extensions["code"] == "INVALID_INPUT", error
    return {**extensions, "message": error["message"]}


class Handover:
    """A tile with load 2 that a pod worked on and another took over from it: two terms, the first RELEASED."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.former, self.heir = FakeWork(server), FakeWork(server)
        self.former.register()
        self.session_id = new_session(server, disk(0))
        (tile,) = until_owned(server, self.session_id, 1)
        self.tile_id: str = tile["id"]
        self.former.acknowledge()
        (first,) = self.former.terms()
        self.former.report([{"tileId": self.tile_id, "epoch": first["epoch"], "recordsPerSecond": 2.0}])
        self.heir.register()
        moved = server.data(MOVE, input={"tileId": self.tile_id, "podId": self.heir.id})["moveTile"]
        assert moved["errors"] == []
        self.heir.acknowledge()
        until(lambda: {one["state"] for one in self.heir.terms()} == {"ACTIVE"}, "the cut-over")
        self.heir.acknowledge()
        self.former.acknowledge()
        self.ids = [first["id"], self.heir.terms()[0]["id"]]

    def recorded(self) -> list[dict[str, Any]]:
        """Both terms, the newest first, once all is recorded."""
        return recorded(self.server, self.session_id)


def recorded(server: RunningServer, session_id: str) -> list[dict[str, Any]]:
    """A session's two terms, the newest first, once the former one's end is recorded."""

    def both() -> list[dict[str, Any]] | None:
        found = history(server, session=session_id)
        return found if len(found) == 2 and found[1]["releasedAt"] else None

    found: list[dict[str, Any]] = until(both, "both terms are recorded")
    return found


def test_a_handover_is_told_with_who_when_and_why(own_server: RunningServer) -> None:
    handover = Handover(own_server)
    second, first = handover.recorded()
    assert [first["id"], second["id"]] == handover.ids
    assert (first["podId"], first["state"], first["reason"], first["load"]) == (
        handover.former.id,
        "RELEASED",
        "INITIAL",
        0.0,
    )
    assert (second["podId"], second["state"], second["reason"], second["load"]) == (
        handover.heir.id,
        "ACTIVE",
        "MANUAL",
        2.0,
    )
    assert first["tile"] == second["tile"] == {"id": handover.tile_id}
    assert first["assignedAt"] <= first["acknowledgedAt"] <= second["assignedAt"] <= first["releasedAt"]
    assert second["releasedAt"] is None
    for one in (first, second):
        assert until(lambda one=one: own_server.data(ONE, id=one["id"])["podAssignment"], "the term") == one


def test_an_ended_term_resolves_as_an_entity(own_server: RunningServer) -> None:
    handover = Handover(own_server)
    _, first = handover.recorded()
    absent = f"{handover.tile_id}@1"
    reps = [{"__typename": "PodAssignment", "id": one} for one in (*handover.ids, absent, "nonsense")]
    told = own_server.data(ENTITIES, reps=reps)["_entities"]
    assert told == [
        {"id": handover.ids[0], "state": "RELEASED", "releasedAt": first["releasedAt"]},
        {"id": handover.ids[1], "state": "ACTIVE", "releasedAt": None},
        None,
        None,
    ]


def test_a_term_that_has_just_ended_is_never_told_as_in_force(own_server: RunningServer) -> None:
    """Whatever the moment at which the record of its end comes."""
    server = own_server
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(0))
    until_owned(server, session_id, 1)
    pod.acknowledge()
    (term,) = pod.terms()
    until(lambda: history(server, session=session_id), "the term is recorded")
    pod.leave()
    owner = "query($id: ID!) { tile(id: $id) { assignment { id } } }"
    until(lambda: server.data(owner, id=term["tileId"])["tile"]["assignment"] is None, "nobody owns the tile")
    told = [server.data(ONE, id=term["id"])["podAssignment"] for _ in range(50)]
    assert {one["state"] for one in told} == {"LOST"}
    until(lambda: server.data(ONE, id=term["id"])["podAssignment"]["releasedAt"], "the time of its end is recorded")


def test_each_tile_tells_its_own_history(own_server: RunningServer) -> None:
    server = own_server
    handover = Handover(server)
    handover.recorded()
    (tile,) = server.data(OF_TILES, session=handover.session_id, first=1)["session"]["tiles"]["edges"]
    assert tile["node"]["history"]["pageInfo"] == {"hasNextPage": True}
    assert [edge["node"]["podId"] for edge in tile["node"]["history"]["edges"]] == [handover.heir.id]
    session_id = new_session(server, disk(2, 10, 10))
    until_owned(server, session_id, 19)

    def told() -> bool:
        tiles = server.data(OF_TILES, session=session_id)["session"]["tiles"]["edges"]
        return [len(one["node"]["history"]["edges"]) for one in tiles] == [1] * 19

    until(told, "each tile tells of its owner")


def test_pages_follow_one_another(own_server: RunningServer) -> None:
    server = own_server
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(1))
    until_owned(server, session_id, 7)
    until(lambda: len(history(server, session=session_id)) == 7, "all are recorded")
    found, after = [], None
    while True:
        told = page(server, session=session_id, first=3, after=after)
        assert told["totalCount"] is None
        found += [edge["node"]["epoch"] for edge in told["edges"]]
        after = told["pageInfo"]["endCursor"]
        if not told["pageInfo"]["hasNextPage"]:
            break
    assert len(found) == 7
    assert found == sorted(set(found), reverse=True)


def test_it_is_restricted_by_session_pod_and_time(fresh_server: RunningServer) -> None:
    server = fresh_server
    handover = Handover(server)
    second, first = handover.recorded()
    other = new_session(server, disk(0, 10, 10))
    until_owned(server, other, 1)
    until(lambda: history(server, session=other), "the other session's term is recorded")

    def epochs(**wanted: Any) -> list[int]:
        return [one["epoch"] for one in history(server, **wanted)]

    both, heirs = [second["epoch"], first["epoch"]], epochs(pod=handover.heir.id)
    assert epochs(session=handover.session_id, pod=handover.former.id) == [first["epoch"]]
    assert epochs()[-2:] == both
    assert second["epoch"] in heirs
    assert first["epoch"] not in heirs
    assert epochs(session=handover.session_id, since=second["assignedAt"]) == [second["epoch"]]
    assert epochs(session=handover.session_id, until=second["assignedAt"]) == [first["epoch"]]
    zoneless = second["assignedAt"].removesuffix("+00:00")
    assert epochs(session=handover.session_id, since=zoneless) == [second["epoch"]]
    assert epochs(session=handover.session_id, since="2000-01-01T00:00:00Z", until="2001-01-01T00:00:00Z") == []
    assert epochs(session=str(uuid4())) == epochs(pod="nobody") == []


def test_churn_sums_up_by_reason_what_was_given(fresh_server: RunningServer) -> None:
    handover = Handover(fresh_server)
    handover.recorded()

    def churn() -> Any:
        found = fresh_server.data(CHURN)["fleet"]["churn"]
        return found if len(found) == 2 else None

    assert until(churn, "both are counted") == [
        {"reason": "MANUAL", "moves": 1, "loadMoved": 2.0},
        {"reason": "INITIAL", "moves": 1, "loadMoved": 0.0},
    ]
    assert fresh_server.data(CHURN, window="PT0.001S")["fleet"]["churn"] == []
    assert fresh_server.data(CHURN, window="PT24H")["fleet"]["churn"] == fresh_server.data(CHURN)["fleet"]["churn"]


def test_a_tile_that_never_reported_can_be_moved_by_hand(own_server: RunningServer) -> None:
    server = own_server
    owner, other = FakeWork(server), FakeWork(server)
    owner.register()
    session_id = new_session(server, disk(0))
    (tile,) = until_owned(server, session_id, 1)
    owner.acknowledge()
    other.register()
    moved = server.data(MOVE, input={"tileId": tile["id"], "podId": other.id})["moveTile"]
    assert moved["errors"] == []
    assert (moved["assignment"]["reason"], moved["assignment"]["load"]) == ("MANUAL", 0.0)


def test_history_survives_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", **PATIENT) as server:
        handover = Handover(server)
        before = handover.recorded()
        server.stop()
    with running_server(tmp_path / "data", **PATIENT, SESSION_MANAGER_LOG_LEVEL="info") as server:
        # What was not carried into SQL by then waits in Redis, and whoever leads next carries it.
        after = recorded(server, handover.session_id)
    assert [(one["id"], one["assignedAt"]) for one in after] == [(one["id"], one["assignedAt"]) for one in before]
    eras = [line for line in (tmp_path / "data.log").read_text().splitlines() if "begins an era" in line]
    assert [" INFO " in line for line in eras] == [True], "an orderly restart of the embedded stores is no incident"
    assert after[1]["releasedAt"] == before[1]["releasedAt"]


def test_metrics_tell_what_waits_and_what_was_dropped(server: RunningServer) -> None:
    text = server.http.get("/metrics").text
    for name in ("session_manager_history_unrecorded", "session_manager_history_dropped"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
        assert float(line.rsplit(" ", 1)[1]) >= 0
    assert server.data("{ fleet { unrecordedChanges } }")["fleet"]["unrecordedChanges"] >= 0


# ── Bad input ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_time_that_ends_before_it_begins_is_refused(server: RunningServer) -> None:
    wrong = refusal(server, since="2024-01-02T00:00:00Z", until="2024-01-01T00:00:00Z")
    assert wrong["argumentPath"] == ["since"]
    assert history(server, since="2024-01-01T00:00:00Z", until="2024-01-01T00:00:00Z") == []
    assert history(server, until="0001-01-01T00:00:00Z", since="0001-01-01T00:00:00Z") == []
    assert history(server, since="9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize(("first", "limit"), [(0, "1"), (-1, "1"), (1_001, "1000")])
def test_a_page_has_its_limits_and_the_broken_one_is_named(server: RunningServer, first: int, limit: str) -> None:
    wrong = refusal(server, first=first)
    assert (wrong["argumentPath"], wrong["limit"]) == (["first"], limit)
    assert "between 1 and 1,000" in wrong["message"]


@pytest.mark.parametrize("after", ["", "x", "W10", "ü" * 1_000])
def test_what_is_no_cursor_is_refused(server: RunningServer, after: str) -> None:
    assert refusal(server, after=after)["argumentPath"] == ["after"]


def test_a_tiles_history_has_a_smaller_limit_and_a_wrong_cursor_spoils_nothing_else(server: RunningServer) -> None:
    session_id = new_session(server, disk(0))
    query = """query($session: ID!) { session(ref: {id: $session}) { tiles { edges { node { id
      wrong: history(after: "x") { edges { cursor } } large: history(first: 101) { edges { cursor } }
      right: history { edges { cursor } } } } } } }"""
    answer = server.ask(query, session=session_id)
    assert {error["path"][-1]: error["extensions"]["argumentPath"] for error in answer["errors"]} == {
        "wrong": ["after"],
        "large": ["first"],
    }
    (edge,) = answer["data"]["session"]["tiles"]["edges"]
    assert (edge["node"]["wrong"], edge["node"]["large"]) == (None, None)
    assert isinstance(edge["node"]["right"]["edges"], list)


@pytest.mark.parametrize("window", ["PT0S", "-PT1H", "PT24H0.001S", "P36500D"])
def test_a_window_has_its_limit(server: RunningServer, window: str) -> None:
    answer = server.ask(CHURN, window=window)
    (error,) = answer["errors"]
    assert (error["extensions"]["argumentPath"], error["extensions"]["limit"]) == (["window"], "PT24H")
    assert answer["data"] == {"fleet": {"churn": None}}
