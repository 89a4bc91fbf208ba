"""Odd characters on every database: what is accepted is read as it was written, what no text holds matches nothing."""

from datetime import UTC, datetime

import pytest

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.errors import InvalidInput
from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.session_list import SessionFilter, SessionOrder
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_lookup import SessionLookup
from subgraph.operations.sessions.sessions import Sessions

pytestmark = pytest.mark.anyio

CALLER = Caller(TenantId("tenant"), "ann", ALL_SCOPES)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ODD = NewSession(
    display_name="雪 é %_\\",
    type="👩\u200d🚀",
    data_source="'\"; --",
    external_id="\u202eabc\u2028",
    details={"é\u200b": "two\nlines\tand \\u0000", "👩\u200d🚀": "'"},
    metadata={"text": "any\0thing\x1b", "list": [{"é": "\u2028"}]},
    context={"👩\u200d🚀": "\0"},
)


def lookup_on(database: Database) -> SessionLookup:
    store = Sessions(SqlSessionStore(database), lambda: NOW, lambda: None)
    return SessionLookup(store, SqlSessionDirectory(database), lambda: NOW)


async def found(database: Database, wanted: SessionFilter) -> list[SessionId]:
    lookup = lookup_on(database)
    listed = await lookup.listed(CALLER, wanted, SessionOrder())
    ids = [one.id for one in (await lookup.page(listed, 100, None)).items]
    assert await lookup.count(listed) == len(ids)
    return ids


async def test_what_is_accepted_is_read_as_it_was_written_and_found_by_it(database: Database) -> None:
    store = SqlSessionStore(database)
    change = sessions.create(ODD, CALLER.tenant_id, CALLER.owner_id, NOW)
    await store.commit(change)
    (session,) = change.created
    assert await store.sessions(CALLER.tenant_id, [session.id]) == {session.id: session}
    for wanted in (
        SessionFilter(type=ODD.type),
        SessionFilter(data_source=ODD.data_source),
        SessionFilter(display_name_contains="%_\\"),
        SessionFilter(detail=("é\u200b", "two\nlines\tand \\u0000")),
    ):
        assert await found(database, wanted) == [session.id]


@pytest.mark.parametrize("text", ["a\0", "\0", "\ud83d", "\n"])
async def test_a_filter_by_what_no_text_holds_matches_nothing(database: Database, text: str) -> None:
    assert len(await found(database, SessionFilter())) == 1, "there is main"
    for wanted in (
        SessionFilter(type=text),
        SessionFilter(data_source=text),
        SessionFilter(owner_id=text),
        SessionFilter(display_name_contains=text),
        SessionFilter(detail=(text, "x")),
        SessionFilter(detail=("x", text)),
    ):
        assert await found(database, wanted) == []


@pytest.mark.parametrize("text", ["a\0", "\ud83d", "a\nb", ""])
async def test_an_idempotency_key_of_odd_characters_is_refused_by_name(database: Database, text: str) -> None:
    async def make(_: IdempotencyKey | None) -> SessionId:
        raise AssertionError("nothing is made")

    idempotency = Idempotency(SqlIdempotencyKeys(database), lambda: NOW)
    with pytest.raises(InvalidInput) as refused:
        await idempotency.once(CALLER, "createSession", text, "", make)
    assert refused.value.path == ("idempotencyKey",)
