"""However many references come, each type is loaded once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from graphql import GraphQLError

from subgraph.api.entities import resolve_entities
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session

pytestmark = pytest.mark.anyio

CALLER = Caller(TenantId("tenant"), "owner", ALL_SCOPES)


class CountingSessions:
    """Sessions in memory that remember how they were asked for."""

    def __init__(self, known: Sequence[Session], failure: Exception | None = None) -> None:
        self.known = {session.id: session for session in known}
        self.failure = failure
        self.asked: list[Sequence[SessionId]] = []

    async def shown(self, caller: Caller, ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        self.asked.append(ids)
        if self.failure:
            raise self.failure
        return {session_id: self.known[session_id] for session_id in ids if session_id in self.known}


def info(counting: CountingSessions) -> Any:
    return SimpleNamespace(context=SimpleNamespace(services=SimpleNamespace(sessions=counting), caller=CALLER))


def new_session() -> Session:
    return sessions.create(NewSession(), CALLER.tenant_id, CALLER.owner_id, datetime.now(UTC)).created[0]


async def test_a_thousand_references_are_one_load_of_distinct_ids() -> None:
    known = [new_session() for _ in range(500)]
    counting = CountingSessions(known)
    references = [{"__typename": "Session", "id": session.id} for session in known] * 2
    found = await resolve_entities(info(counting), references)
    assert [entity.id for entity in found] == [session.id for session in known] * 2
    assert [len(ids) for ids in counting.asked] == [500]


async def test_a_store_that_is_away_fails_its_type_index_by_index() -> None:
    counting = CountingSessions([], Unavailable("the database does not answer"))
    found = await resolve_entities(info(counting), [{"__typename": "Session", "id": "a"}] * 3)
    assert len(counting.asked) == 1
    codes = [(error.extensions or {}).get("code") for error in found if isinstance(error, GraphQLError)]
    assert codes == ["UNAVAILABLE"] * 3
