"""A server without authentication serves this machine alone, whatever a web page in its browser tries."""

import json

import pytest
import websockets.sync.client as websocket_client
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from subgraph.api.local_only import is_this_machine
from tests.support.server import RunningServer

PROTOCOL = Subprotocol("graphql-transport-ws")
ASKED = {"query": "{ __typename }"}


@pytest.mark.parametrize("host", ["localhost", "localhost:4001", "127.0.0.1:4001", "127.9.9.9", "[::1]:4001", "[::1]"])
def test_names_and_addresses_of_this_machine_are_known(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[", "evil@127.0.0.1x"]
)
def test_others_are_not(host: str) -> None:
    assert not is_this_machine(host)


def test_a_page_whose_name_was_made_to_point_here_gets_nothing(server: RunningServer) -> None:
    refused = server.http.post("/graphql", json=ASKED, headers={"Host": "evil.example"})
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["extensions"]["code"] == "NOT_ALLOWED"


def test_a_browser_is_led_from_the_root_to_graphiql_and_nobody_else_is(server: RunningServer) -> None:
    led = server.http.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (led.status_code, led.headers["location"]) == (307, "graphql")
    assert server.http.get("/").status_code == 404
    assert server.http.get("/", headers={"Accept": "text/html", "Host": "evil.example"}).status_code == 403


def test_a_page_from_elsewhere_gets_nothing(server: RunningServer) -> None:
    assert server.http.post("/graphql", json=ASKED, headers={"Origin": "http://evil.example"}).status_code == 403
    assert server.http.post("/graphql", json=ASKED, headers={"Origin": "null"}).status_code == 403
    assert server.http.post("/graphql", json=ASKED, headers={"Origin": server.url}).status_code == 200


def test_a_page_from_elsewhere_opens_no_websocket(server: RunningServer) -> None:
    url = server.url.replace("http", "ws") + "/graphql"
    with pytest.raises(InvalidStatus) as refused:
        websocket_client.connect(url, origin=Origin("http://evil.example"), subprotocols=[PROTOCOL])
    assert refused.value.response.status_code == 403
    with websocket_client.connect(url, origin=Origin(server.url), subprotocols=[PROTOCOL]) as own:
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv(30))["type"] == "connection_ack"
