"""The history of ownership as a user finds it: complete, whichever server is killed, however long SQL is locked."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from subgraph.adapters.data_directory import DATABASE_NAME
from subgraph.adapters.sql.database import sqlite_url
from tests.support.server import PATIENT, RunningServer, running_server, until
from tests.support.world import FakeWork, disk, new_session, until_owned

pytestmark = [pytest.mark.xdist_group("history"), pytest.mark.long]

TILES = 7
HISTORY = """query($session: ID!) { assignmentHistory(sessionId: $session, first: 100) { edges { node {
  id podId state reason assignedAt acknowledgedAt releasedAt } } } }"""
WAITING = "{ fleet { leader unrecordedChanges rebalancing { lastSkip } } }"
DRAIN = "mutation($id: ID!) { drainPod(input: {podId: $id}) { errors { message } } }"


@contextmanager
def locked(database: Path) -> Iterator[Callable[[], None]]:
    """Nobody else can write to the database, until it is unlocked."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection.close
    connection.close()


def history(server: RunningServer, session_id: str) -> list[dict[str, Any]]:
    """The terms, the oldest first."""
    edges = server.data(HISTORY, session=session_id)["assignmentHistory"]["edges"]
    return [edge["node"] for edge in reversed(edges)]


def begin(server: RunningServer) -> tuple[FakeWork, str]:
    """A pod that works on all tiles of a session, and a history that knows."""
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(1))
    until_owned(server, session_id, TILES)
    pod.acknowledge()
    until(
        lambda: sum(1 for one in history(server, session_id) if one["acknowledgedAt"]) == TILES,
        "the first terms are recorded",
    )
    return pod, session_id


def hand_over(server: RunningServer, former: FakeWork) -> FakeWork:
    """All tiles go from one pod to another, step by step."""
    heir = FakeWork(server)
    heir.register()
    assert server.data(DRAIN, id=former.id)["drainPod"]["errors"] == []
    until(lambda: [one["state"] for one in heir.terms()] == ["PREPARING"] * TILES, "the heir is to prepare")
    heir.acknowledge()
    until(lambda: [one["state"] for one in heir.terms()] == ["ACTIVE"] * TILES, "the cut-over")
    heir.acknowledge()
    former.acknowledge()
    until(lambda: not former.terms(), "all is released")
    return heir


def assert_all_is_told(server: RunningServer, session_id: str, former: FakeWork, heir: FakeWork, by: str) -> None:
    """Both terms of every tile, the first over by a time at which the server that saw it still lived."""

    def complete() -> bool:
        told = history(server, session_id)
        ended = sum(1 for one in told if one["releasedAt"])
        return (len(told), ended) == (2 * TILES, TILES) and all(one["acknowledgedAt"] for one in told)

    until(complete, "the ends are recorded", seconds_max=30)
    told = history(server, session_id)
    first, second = told[:TILES], told[TILES:]
    assert [(one["podId"], one["state"], one["reason"]) for one in first] == [
        (former.id, "RELEASED", "INITIAL")
    ] * TILES
    assert [(one["podId"], one["state"], one["reason"]) for one in second] == [
        (heir.id, "ACTIVE", "POD_DRAINED")
    ] * TILES
    assert all(one["acknowledgedAt"] for one in told)
    for one in first:
        moments = [datetime.fromisoformat(moment) for moment in (one["assignedAt"], one["releasedAt"], by)]
        assert moments == sorted(moments)


def test_what_happened_while_sql_was_locked_is_told_after_the_server_was_killed(tmp_path: Path) -> None:
    with locked_after_begin(tmp_path) as (server, former, session_id, unlock):
        heir = hand_over(server, former)
        until(lambda: server.data(WAITING)["fleet"]["unrecordedChanges"] >= 5 * TILES, "all of it waits")
        line = next(one for one in server.http.get("/metrics").text.splitlines() if "history_unrecorded{" in one)
        assert float(line.rsplit(" ", 1)[1]) >= 5 * TILES
        # Reading goes on: whoever saw a term end tells so, though it is not recorded.
        told = history(server, session_id)
        assert [(one["state"], bool(one["releasedAt"])) for one in told] == [("RELEASED", True)] * TILES
        by = last_cycle(server)
        server.stop(signal.SIGKILL)
        unlock()
    with running_server(tmp_path / "data", **PATIENT) as again:
        assert_all_is_told(again, session_id, former, heir, by)
        until(lambda: again.data(WAITING)["fleet"]["unrecordedChanges"] == 0, "nothing waits any more")


def last_cycle(server: RunningServer) -> str:
    """About now, by the clock of the store: a cycle is told with the time at which it began."""
    moment: str = server.data("{ fleet { lastCycleAt } }")["fleet"]["lastCycleAt"]
    return seconds_later(moment, 2.0)


@contextmanager
def locked_after_begin(tmp_path: Path) -> Iterator[tuple[RunningServer, FakeWork, str, Callable[[], None]]]:
    with running_server(tmp_path / "data", **PATIENT) as server:
        former, session_id = begin(server)
        with locked(tmp_path / "data" / DATABASE_NAME) as unlock:
            yield server, former, session_id, unlock


def seconds_later(moment: str, seconds: float) -> str:
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat()


def test_what_a_killed_leader_did_not_write_the_next_one_tells(tmp_path: Path, valkey_url: str) -> None:
    """Two servers on one store and one database."""
    database = tmp_path / "shared.sqlite3"
    shared = {
        **PATIENT,
        "SESSION_MANAGER_REDIS_URL": valkey_url,
        "SESSION_MANAGER_DATABASE_URL": sqlite_url(database),
        "SESSION_MANAGER_FLEET": f"fleet-{uuid4().hex}",
    }
    with ExitStack() as ends:
        one = ends.enter_context(running_server(tmp_path / "one", **shared))
        other = ends.enter_context(running_server(tmp_path / "other", **shared))
        former, session_id = begin(one)
        leader_pid = int(one.data(WAITING)["fleet"]["leader"].rpartition("/")[2])
        survivor = other if leader_pid == one.process.pid else one
        former.server = survivor
        with locked(database) as unlock:
            heir = hand_over(survivor, former)
            by = last_cycle(survivor)
            os.kill(leader_pid, signal.SIGKILL)
            unlock()
        assert_all_is_told(survivor, session_id, former, heir, by)
