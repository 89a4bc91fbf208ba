"""Authentication as callers meet it: over HTTP and WebSocket, with tokens of an issuer, an access token, a gateway."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.issuer import Endpoint, ec_key, jwk_of, pem_of, published, rsa_key, token
from tests.support.server import RunningServer, running_server
from tests.support.subscriber import socket_to

KEY, ROTATED = ec_key(), rsa_key()
ACCESS_TOKEN = "the-access-token"
SECRET = "the-secret-of-the-gateway"
ALL = "session:read session:write tenant:read tenant:write fleet:read fleet:operate pod admin"
PAGE = {"Accept": "text/html"}


class Deployment(NamedTuple):
    server: RunningServer
    issuer: Endpoint

    def post(self, query: str, bearer: str | None = None, **headers: str) -> httpx.Response:
        shown = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return self.server.http.post("/graphql", json={"query": query}, headers=shown | headers)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server whose callers show tokens of an issuer, or the access token."""
    with (
        published(jwk_of(KEY, "k1")) as issuer,
        running_server(
            tmp_path_factory.mktemp("authenticated"),
            SESSION_MANAGER_ACCESS_TOKEN=ACCESS_TOKEN,
            SESSION_MANAGER_JWT_JWKS_URL=issuer.url,
            SESSION_MANAGER_JWT_ISSUER="https://issuer.example",
            SESSION_MANAGER_JWT_LEEWAY_SECONDS="0",
        ) as server,
    ):
        yield Deployment(server, issuer)


def signed(scope: str = ALL, seconds: float = 60, **claims: Any) -> str:
    return token(KEY, "ES256", "k1", seconds, iss="https://issuer.example", scope=scope, **claims)


def end_of(socket: ClientConnection) -> tuple[int, str]:
    """The code and reason with which a socket ends, whatever comes before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(30)
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


def closed_with(websocket_url: str, init: dict[str, Any] | None, **headers: str) -> tuple[int, str]:
    """The code and reason with which a socket is closed."""
    protocols = [Subprotocol("graphql-transport-ws")]
    with connect(websocket_url, subprotocols=protocols, additional_headers=headers) as socket:
        socket.send(json.dumps({"type": "connection_init", **({} if init is None else {"payload": init})}))
        return end_of(socket)


def test_a_token_says_whose_session_it_is(deployment: Deployment) -> None:
    created = "mutation { createSession(input: {}) { session { tenantId ownerId } errors { code } } }"
    for tenant, owner in (("acme", "ann"), ("other", "eve")):
        payload = deployment.post(created, signed(tenant=tenant, sub=owner)).json()["data"]["createSession"]
        assert payload == {"session": {"tenantId": tenant, "ownerId": owner}, "errors": []}
    payload = deployment.post(created, ACCESS_TOKEN).json()["data"]["createSession"]
    assert payload["session"] == {"tenantId": "default", "ownerId": "local"}


def test_without_a_token_it_says_that_one_is_needed_and_how(deployment: Deployment) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = deployment.post("{ sessionManager { version } }", **headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


def test_every_token_that_is_not_accepted_gets_the_same_answer(deployment: Deployment) -> None:
    bad = {
        "expired": signed(seconds=-1),
        "another key": token(ec_key(), "ES256", "k1", iss="https://issuer.example"),
        "an unknown key": token(KEY, "ES256", "k2", iss="https://issuer.example"),
        "another issuer": token(KEY, "ES256", "k1", iss="https://evil.example"),
        "no tenant": signed(tenant=None),
        "no owner": signed(sub=None),
        "an end that is text": signed(exp=str(int(time.time()) + 60)),
        "a public key as a secret": token(pem_of(KEY)[27:-26], "HS256", "k1", iss="https://issuer.example"),
        "no token at all": "x.y.z",
        "half the access token": ACCESS_TOKEN[:-1],
        "not even text": "ÿ",
    }
    answers = {}
    for name, text in bad.items():
        answer = deployment.server.http.post(
            "/graphql",
            json={"query": "{ sessionManager { version } }"},
            headers={b"Authorization": f"Bearer {text}".encode("latin-1")},
        )
        assert answer.status_code == 401, name
        answers[name] = (answer.headers["WWW-Authenticate"], answer.text)
    assert set(answers.values()) == {answers["expired"]}
    assert answers["expired"][0] == 'Bearer error="invalid_token"'


def test_the_scheme_may_be_written_in_any_case(deployment: Deployment) -> None:
    answer = deployment.post("{ sessionManager { version } }", Authorization=f"bearer {signed()}")
    assert answer.status_code == 200


def test_a_query_beyond_ones_scopes_is_an_error_that_names_the_scope(deployment: Deployment) -> None:
    answer = deployment.post("{ sessionManager { version } fleet { podCount } }", signed("session:read")).json()
    assert answer["data"] is None
    (error,) = answer["errors"]
    assert error["path"] == ["fleet"]
    assert error["extensions"]["code"] == "NOT_ALLOWED"
    assert error["extensions"]["requiredScope"] == "fleet:read"


def test_a_mutation_beyond_ones_scopes_is_refused_in_its_payload(deployment: Deployment) -> None:
    errors = "errors { __typename code message ... on SessionManagerNotAllowed { requiredScope } }"
    query = f"mutation {{ createSession(input: {{}}) {{ session {{ id }} {errors} }} }}"
    answer = deployment.post(query, signed("session:read tenant:read fleet:operate pod")).json()
    assert "errors" not in answer
    (error,) = answer["data"]["createSession"]["errors"]
    assert (error["__typename"], error["code"]) == ("SessionManagerNotAllowed", "NOT_ALLOWED")
    assert error["requiredScope"] == "session:write"
    assert answer["data"]["createSession"]["session"] is None


def test_an_entity_beyond_ones_scopes_is_an_error_in_its_place(deployment: Deployment) -> None:
    refs = '[{__typename: "Pod", id: "p"}, {__typename: "Session", id: "s"}]'
    query = f"{{ _entities(representations: {refs}) {{ ... on Session {{ id }} ... on Pod {{ id }} }} }}"
    answer = deployment.post(query, signed("session:read")).json()
    assert answer["data"] == {"_entities": [None, None]}
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["requiredScope"]) == (["_entities", 0], "fleet:read")


def test_a_rotated_key_is_accepted_without_a_restart(deployment: Deployment) -> None:
    rotated = token(ROTATED, "RS256", "k-rotated", iss="https://issuer.example")
    deployment.issuer.publish(jwk_of(KEY, "k1"), jwk_of(ROTATED, "k-rotated"))
    give_up_at = time.monotonic() + 30
    while (status := deployment.post("{ sessionManager { version } }", rotated).status_code) != 200:
        assert status == 401
        assert time.monotonic() < give_up_at, "within the time after which it asks again"
        time.sleep(0.5)
    assert deployment.post("{ sessionManager { version } }", signed()).status_code == 200


def test_graphiql_loads_without_a_token_and_its_queries_need_one(deployment: Deployment) -> None:
    page = deployment.server.http.get("/graphql", headers=PAGE)
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]
    asked = deployment.server.http.get("/graphql", headers=PAGE, params={"query": "{ sessionManager { version } }"})
    assert asked.status_code == 401


def test_health_needs_no_token_and_metrics_need_admin(deployment: Deployment) -> None:
    http = deployment.server.http
    assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200
    assert http.get("/metrics").status_code == 401
    lesser = http.get("/metrics", headers={"Authorization": f"Bearer {signed('tenant:write fleet:operate')}"})
    assert lesser.status_code == 403
    assert lesser.json()["errors"][0]["extensions"] == {"code": "NOT_ALLOWED", "requiredScope": "admin"}
    for bearer in (signed("admin"), ACCESS_TOKEN):
        assert http.get("/metrics", headers={"Authorization": f"Bearer {bearer}"}).status_code == 200


def test_a_socket_shows_its_token_in_its_first_message_or_when_it_opens(deployment: Deployment) -> None:
    url = deployment.server.websocket_url
    query = {"query": "{ mainSession { tenantId ownerId } }"}
    with socket_to(url, Authorization=f"Bearer {signed(tenant='by-init')}") as socket:
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
        assert json.loads(socket.recv(30))["payload"]["data"]["mainSession"]["tenantId"] == "by-init"
    headers = {"Authorization": f"Bearer {signed(tenant='by-header')}"}
    with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], additional_headers=headers) as socket:
        socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket.recv(30))["type"] == "connection_ack"
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
        assert json.loads(socket.recv(30))["payload"]["data"]["mainSession"]["tenantId"] == "by-header"


@pytest.mark.parametrize(
    "init",
    [None, {}, {"Authorization": 7}, {"Authorization": "Bearer x.y.z"}, {"authorization": f"Basic {ACCESS_TOKEN}"}, []],
)
def test_a_socket_without_an_accepted_token_is_closed_for_good(deployment: Deployment, init: Any) -> None:
    assert closed_with(deployment.server.websocket_url, init) == (4401, "Unauthorized")


def test_an_expired_token_opens_no_socket(deployment: Deployment) -> None:
    init = {"Authorization": f"Bearer {signed(seconds=-1)}"}
    assert closed_with(deployment.server.websocket_url, init) == (4401, "Unauthorized")


def test_a_socket_ends_when_its_token_does_and_says_so(deployment: Deployment) -> None:
    seconds = 2
    url, expires_at = deployment.server.websocket_url, time.time() + seconds
    with socket_to(url, Authorization=f"Bearer {signed(seconds=seconds)}") as socket:
        query = {"query": "subscription { fleetChanges { version } }"}
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
        assert "errors" not in json.loads(socket.recv(30))["payload"]
        assert end_of(socket) == (4403, "Token expired")
    assert time.time() >= expires_at - 0.1


def test_a_subscription_beyond_ones_scopes_is_an_error_of_its_own_and_the_socket_lives_on(
    deployment: Deployment,
) -> None:
    with socket_to(deployment.server.websocket_url, Authorization=f"Bearer {signed('session:read')}") as socket:
        query = {"query": "subscription { fleetChanges { version } }"}
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
        told = json.loads(socket.recv(30))
        assert told["type"] == "error"
        assert told["payload"][0]["extensions"]["code"] == "NOT_ALLOWED"
        assert told["payload"][0]["extensions"]["requiredScope"] == "fleet:read"
        socket.send(json.dumps({"id": "2", "type": "subscribe", "payload": {"query": "{ mainSession { tenantId } }"}}))
        assert json.loads(socket.recv(30))["payload"]["data"] == {"mainSession": {"tenantId": "acme"}}


@pytest.fixture(scope="module")
def behind_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that answers a gateway alone."""
    with running_server(
        tmp_path_factory.mktemp("behind"),
        SESSION_MANAGER_ACCESS_TOKEN=ACCESS_TOKEN,
        SESSION_MANAGER_GATEWAY_SECRET=SECRET,
        SESSION_MANAGER_GATEWAY_SECRET_HEADER="X-From-Gateway",
    ) as server:
        yield server


def test_behind_a_gateway_a_token_alone_is_not_enough_nor_is_the_secret(behind_gateway: RunningServer) -> None:
    def status(**headers: str) -> int:
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        query = {"query": "{ sessionManager { version } }"}
        return behind_gateway.http.post("/graphql", json=query, headers=shown).status_code

    bearer = f"Bearer {ACCESS_TOKEN}"
    assert status(Authorization=bearer) == 403
    assert status(Authorization=bearer, X_From_Gateway=SECRET[:-1]) == 403
    assert status(Authorization=bearer, X_Gateway_Secret=SECRET) == 403
    assert status(X_From_Gateway=SECRET) == 401
    assert status(Authorization=bearer, X_From_Gateway=SECRET) == 200


def test_metrics_too_are_for_the_gateway_alone(behind_gateway: RunningServer) -> None:
    shown = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    refused = behind_gateway.http.get("/metrics", headers=shown)
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (403, "NOT_ALLOWED")
    assert behind_gateway.http.get("/metrics", headers=shown | {"X-From-Gateway": SECRET}).status_code == 200


def test_a_gateway_shows_its_secret_to_a_socket_as_a_header_or_in_the_first_message(
    behind_gateway: RunningServer,
) -> None:
    url, bearer = behind_gateway.websocket_url, f"Bearer {ACCESS_TOKEN}"
    assert closed_with(url, {"Authorization": bearer}) == (4403, "Forbidden")
    assert closed_with(url, {"Authorization": bearer, "x-from-gateway": "false"}) == (4403, "Forbidden")
    assert closed_with(url, {"x-from-gateway": SECRET}) == (4401, "Unauthorized")
    with socket_to(url, **{"Authorization": bearer, "x-from-gateway": SECRET}):
        pass
    headers = {"X-From-Gateway": SECRET}
    with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], additional_headers=headers) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": bearer}}))
        assert json.loads(socket.recv(30))["type"] == "connection_ack"
