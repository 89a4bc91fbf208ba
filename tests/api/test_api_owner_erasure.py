"""The erasure of an owner over GraphQL, on a server with pods: tiles are let go of, and nothing anywhere is left."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.issuer import token
from tests.support.server import PATIENT, RunningServer, running_server
from tests.support.world import FakeWork, disk, new_session, until_owned

SECRET = "a-shared-secret-of-at-least-32-bytes"
ERASE = """mutation($input: EraseSessionOwnerInput!) { eraseSessionOwner(input: $input) { sessions residues
  errors { code path message ... on SessionManagerNotAllowed { requiredScope } } } }"""
AUDIT = "{ sessionAuditLog(first: 100) { edges { node { sessionId type actor } } } }"
ALL = "session:write tenant:write fleet:operate pod admin"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    secret = {"SESSION_MANAGER_JWT_SECRET": SECRET, "SESSION_MANAGER_DRAIN_SECONDS": "1"}
    with running_server(tmp_path_factory.mktemp("erasure") / "data", **PATIENT, **secret) as server:
        yield server


def act_as(server: RunningServer, owner: str, tenant: str = "acme", scopes: str = ALL) -> RunningServer:
    claims = {"sub": owner, "tenant": tenant, "scope": scopes}
    server.http.headers["Authorization"] = f"Bearer {token(SECRET.encode(), 'HS256', seconds=3_000, **claims)}"
    return server


def erase(server: RunningServer, owner: str, **fields: Any) -> dict[str, Any]:
    done: dict[str, Any] = server.data(ERASE, input={"ownerId": owner, **fields})["eraseSessionOwner"]
    return done


def test_an_owner_with_tiles_on_a_pod_is_erased_and_others_keep_theirs(guarded: RunningServer) -> None:
    pod = FakeWork(act_as(guarded, "root"))
    pod.register()
    anns = new_session(act_as(guarded, "ann"), disk(1))
    others = new_session(act_as(guarded, "ann", "umbrella"))
    kept = new_session(act_as(guarded, "root"), disk(0))
    assert guarded.data("{ mainSession { ownerId } }")["mainSession"] == {"ownerId": "ann"}
    until_owned(guarded, anns, 7)
    pod.acknowledge()
    assert guarded.data("query($id: ID!) { session(ref: {id: $id}) { id } }", id=anns)["session"]

    counted = erase(guarded, "ann")
    # The tenant's main session is hers, too: she came first.
    assert (counted["sessions"], counted["errors"]) == (2, [])
    assert counted["residues"] >= 8
    assert guarded.data("query($id: ID!) { session(ref: {id: $id}) { id } }", id=anns)["session"]

    assert erase(guarded, "ann", dryRun=False) == {"sessions": 2, "residues": 0, "errors": []}
    assert guarded.data("{ mainSession { ownerId } }")["mainSession"] == {"ownerId": "root"}
    assert guarded.data("query($id: ID!) { session(ref: {id: $id}) { id } }", id=anns)["session"] is None
    told = guarded.data(AUDIT)["sessionAuditLog"]["edges"]
    assert anns not in {edge["node"]["sessionId"] for edge in told}
    assert kept in {edge["node"]["sessionId"] for edge in told}
    history = "query($id: ID!) { assignmentHistory(sessionId: $id, first: 10) { edges { node { tileId } } } }"
    assert guarded.data(history, id=kept)["assignmentHistory"]["edges"]
    assert erase(guarded, "ann", dryRun=False) == {"sessions": 0, "residues": 0, "errors": []}
    assert new_session(act_as(guarded, "root")) != kept
    found = act_as(guarded, "ann", "umbrella").data("query($id: ID!) { session(ref: {id: $id}) { id } }", id=others)
    assert found["session"] == {"id": others}


@pytest.mark.parametrize("scopes", ["session:write", "tenant:read", "fleet:operate"])
def test_an_erasure_needs_tenant_write(guarded: RunningServer, scopes: str) -> None:
    (error,) = erase(act_as(guarded, "ann", scopes=scopes), "ann", dryRun=False)["errors"]
    assert (error["code"], error["requiredScope"]) == ("NOT_ALLOWED", "tenant:write")


@pytest.mark.parametrize("owner", ["", "x" * 1_001, "(erased)"])
def test_an_owner_that_cannot_be_is_refused(guarded: RunningServer, owner: str) -> None:
    (error,) = erase(act_as(guarded, "root"), owner)["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["ownerId"])
