"""Subscriptions over the real server: starts and stops, a pod's desired state, tiles for maps, the fleet."""

import json
import queue
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.support.server import RunningServer, until
from tests.support.subscriber import Subscriber, socket_to, subscribed
from tests.support.world import FakeWork, disk, new_session, until_owned

STARTED = "subscription($s: String!) { sessionStarted(dataSource: $s) { sessionKey dataSource session { state } } }"
STOPPED = "subscription($s: String!) { sessionStopped(dataSource: $s) { sessionKey session { state } } }"
ASSIGNMENTS = """subscription($id: ID!, $after: Long) { podAssignments(podId: $id, afterVersion: $after) {
  version previousVersion kind assignments { id tileId podId epoch state } } }"""
BOUND_ASSIGNMENTS = """subscription($id: ID!, $token: ID!) { podAssignments(podId: $id, leaseToken: $token) {
  version kind assignments { id } } }"""
TILES = """subscription($id: ID!) { tileChanges(sessionId: $id) {
  cycle removedIds tiles { id health load { recordsPerSecond } assignment { podId epoch } } } }"""
END = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { message } } }"


def live(server: RunningServer, subscriber: Subscriber, source: str) -> None:
    """Start sessions until one is told: from then on the subscription is known to be live."""

    def told() -> bool:
        new_session(server, dataSource=source)
        return subscriber.has_more

    until(told, "the subscription is live")
    while subscriber.has_more:
        subscriber.next()


def test_starts_are_told_for_exactly_their_data_source(server: RunningServer) -> None:
    source = f"source-{uuid4()}"
    with subscribed(server.websocket_url, STARTED, s=source) as subscriber:
        live(server, subscriber, source)
        new_session(server, dataSource=source + "-other")
        session_id = new_session(server, dataSource=source)
        keys = [subscriber.next_data("sessionStarted")["sessionKey"]]
        while keys[-1] != session_id:
            keys.append(subscriber.next_data("sessionStarted")["sessionKey"])
        assert len(set(keys)) == len(keys)
        assert not subscriber.has_more


def test_a_stop_is_told_once_to_every_subscriber(server: RunningServer) -> None:
    source = f"source-{uuid4()}"
    with (
        subscribed(server.websocket_url, STOPPED, s=source) as one,
        subscribed(server.websocket_url, STOPPED, s=source) as other,
    ):

        def both_live() -> bool:
            server.data(END, id=new_session(server, dataSource=source))
            return one.has_more and other.has_more

        until(both_live, "both subscriptions are live")
        session_id = new_session(server, dataSource=source)
        for _ in range(2):
            server.data(END, id=session_id)
        last = new_session(server, dataSource=source)
        server.data(END, id=last)
        for subscriber in (one, other):
            told: list[dict[str, Any]] = [subscriber.next_data("sessionStopped")]
            while told[-1]["sessionKey"] != last:
                told.append(subscriber.next_data("sessionStopped"))
            mine = [event for event in told if event["sessionKey"] == session_id]
            assert mine == [{"sessionKey": session_id, "session": {"state": "ENDED"}}]


def test_a_pod_gets_a_snapshot_and_then_its_changes_in_a_chain(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    with subscribed(server.websocket_url, ASSIGNMENTS, id=pod.id) as subscriber:
        snapshot = subscriber.next_data("podAssignments")
        assert (snapshot["kind"], snapshot["previousVersion"]) == ("SNAPSHOT", None)
        session_id = new_session(server, disk(2))
        until_owned(server, session_id, 19)
        mine = {term["tileId"] for term in pod.terms() if term["tileId"].startswith(session_id)}
        told: set[str] = set()
        version = snapshot["version"]
        while told != mine:
            change = subscriber.next_data("podAssignments")
            assert (change["kind"], change["previousVersion"]) == ("CHANGES", version)
            version = change["version"]
            told |= {term["tileId"] for term in change["assignments"] if term["tileId"].startswith(session_id)}
    pod.leave()


def test_a_pod_that_has_missed_nothing_gets_no_second_snapshot(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    until_owned(server, new_session(server, disk(1)), 7)
    newest = pod.heartbeat()["version"]
    with (
        subscribed(server.websocket_url, ASSIGNMENTS, id=pod.id, after=newest) as subscriber,
        pytest.raises(queue.Empty),
    ):
        subscriber.next(0.5)
    with subscribed(server.websocket_url, ASSIGNMENTS, id=pod.id, after=1) as subscriber:
        assert subscriber.next_data("podAssignments")["kind"] == "SNAPSHOT"
    pod.leave()


def test_an_instance_hears_nothing_any_more_once_another_has_registered(server: RunningServer) -> None:
    former, latter = FakeWork(server), FakeWork(server)
    latter.id = former.id
    former.register()
    with subscribed(server.websocket_url, BOUND_ASSIGNMENTS, id=former.id, token=former.token) as subscriber:
        assert subscriber.next_data("podAssignments")["kind"] == "SNAPSHOT"
        latter.register()
        # Other tests' tiles may have been placed on it before.
        (error,) = until(lambda: subscriber.next().get("errors"), "it is told that it is over")
    assert (error["extensions"]["code"], error["extensions"]["superseded"]) == ("LEASE_LOST", True)
    with subscribed(server.websocket_url, BOUND_ASSIGNMENTS, id=former.id, token=former.token) as subscriber:
        (error,) = subscriber.next()["errors"]
    assert error["extensions"]["code"] == "LEASE_LOST"
    latter.leave()


def test_following_an_unknown_pod_is_refused(server: RunningServer) -> None:
    with subscribed(server.websocket_url, ASSIGNMENTS, id="nobody") as subscriber:
        (error,) = subscriber.next()["errors"]
        assert error["extensions"]["code"] == "NOT_FOUND"


def test_a_map_gets_all_tiles_then_those_that_change_then_those_that_go(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(1))
    tiles = until_owned(server, session_id, 7)
    with subscribed(server.websocket_url, TILES, id=session_id) as subscriber:
        assert {tile["id"] for tile in subscriber.next_data("tileChanges")["tiles"]} == {tile["id"] for tile in tiles}
        mine = [tile for tile in tiles if tile["assignment"]["podId"] == pod.id]
        pod.report([{"tileId": t["id"], "epoch": t["assignment"]["epoch"], "recordsPerSecond": 7.0} for t in mine])
        loaded: set[str] = set()
        while loaded != {tile["id"] for tile in mine}:
            batch = subscriber.next_data("tileChanges")
            loaded |= {tile["id"] for tile in batch["tiles"] if tile["load"]["recordsPerSecond"] == 7.0}
        server.data(END, id=session_id)
        removed: set[str] = set()

        def released() -> bool:
            pod.acknowledge()
            return not any(term["tileId"].startswith(session_id) for term in pod.terms())

        until(released, "the pod has released its tiles")
        while removed != {tile["id"] for tile in tiles}:
            removed |= set(subscriber.next_data("tileChanges", 30)["removedIds"])
    pod.leave()


def test_a_map_of_some_healths_is_told_which_tiles_are_not_of_them_any_more(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(1))
    mine = {t["id"]: t for t in until_owned(server, session_id, 7) if t["assignment"]["podId"] == pod.id}
    query = TILES.replace("sessionId: $id", "sessionId: $id, health: [HEALTHY, STALE]")

    def report(rate: float) -> None:
        pod.report(
            [{"tileId": t["id"], "epoch": t["assignment"]["epoch"], "recordsPerSecond": rate} for t in mine.values()]
        )

    report(1.0)
    with subscribed(server.websocket_url, query, id=session_id) as subscriber:
        shown = {tile["id"] for tile in subscriber.next_data("tileChanges")["tiles"]}
        assert mine.keys() <= shown
        report(1e9)
        left: set[str] = set()
        while left != mine.keys():
            batch = subscriber.next_data("tileChanges")
            left |= set(batch["removedIds"])
            assert not left & {tile["id"] for tile in batch["tiles"]}
    pod.leave()


def test_the_fleet_is_told_at_once_and_after_every_cycle(server: RunningServer) -> None:
    with subscribed(
        server.websocket_url, "subscription { fleetChanges { id version lagMs lastCycleAt } }"
    ) as subscriber:
        times = {subscriber.next_data("fleetChanges")["lastCycleAt"] for _ in range(4)}
    assert len(times) >= 3


def test_a_socket_survives_a_syntax_error_of_one_operation(server: RunningServer) -> None:
    with socket_to(server.websocket_url) as socket:
        socket.send(json.dumps({"id": "a", "type": "subscribe", "payload": {"query": "{ nonsense"}}))
        assert json.loads(socket.recv(30))["type"] == "error"
        socket.send(json.dumps({"id": "b", "type": "subscribe", "payload": {"query": "{ fleet { id } }"}}))
        assert json.loads(socket.recv(30))["payload"] == {"data": {"fleet": {"id": "default"}}}


@pytest.mark.parametrize(
    "message",
    ["[]", "nonsense", '{"type": 1}', '{"type": "subscribe", "id": "", "payload": {"query": "{ fleet { id } }"}}',
     '{"type": "complete", "id": ["a"]}', '{"type": "complete"}',
     '{"type": "subscribe", "id": "1"}', '{"type": "subscribe", "id": "1", "payload": []}'],
)  # fmt: skip
def test_a_message_that_is_none_closes_its_own_socket_with_4400(server: RunningServer, message: str) -> None:
    with socket_to(server.websocket_url) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    assert server.http.get("/healthz").status_code == 200


def test_a_socket_carries_as_many_operations_as_told_and_refuses_one_more_by_itself(server: RunningServer) -> None:
    most = server.data("{ sessionManager { limits } }")["sessionManager"]["limits"]["socketOperations"]
    with socket_to(server.websocket_url) as socket:

        def subscribe(operation_id: str, source: str) -> None:
            payload = {"query": STARTED, "variables": {"s": source}}
            socket.send(json.dumps({"id": operation_id, "type": "subscribe", "payload": payload}))

        unheard = f"unheard-{uuid4()}"
        for number in range(most):
            subscribe(str(number), unheard)
        subscribe("one more", unheard)
        told = json.loads(socket.recv(60))
        assert (told["id"], told["type"]) == ("one more", "error")
        assert told["payload"][0]["extensions"] == {
            "code": "QUOTA_EXCEEDED",
            "quota": "operations on a socket",
            "limit": most,
            "current": most + 1,
            "argumentPath": [],
        }
        socket.send(json.dumps({"id": "0", "type": "complete"}))
        heard = f"heard-{uuid4()}"
        subscribe("after all", heard)
        follower = Subscriber(socket)
        live(server, follower, heard)
