"""Titles made of queries: a provider that fails costs nobody the title, and is shown no more than it must be."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller, Scope
from subgraph.domain.errors import IllegalState, InvalidInput, NotAllowed, NotFound, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions.titles import TitleSource
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.sessions.title_making import TitleMaking, TitleNotProvided, TitleOutcome

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANN = Caller(TenantId("tenant"), "ann", ALL_SCOPES)
BOB = Caller(TenantId("tenant"), "bob", frozenset({Scope.SESSION_WRITE}))
READS = Caller(TenantId("tenant"), "service", frozenset({Scope.TENANT_READ}))
QUERY = "Which trains are late?\nAnd why?"


@dataclass
class Provider:
    """Answers what a test says, or fails with it, after something has happened meanwhile."""

    answers: str | Exception
    meanwhile: Callable[[], Awaitable[object]] | None = None
    sent: list[str] = field(default_factory=list)

    async def title_of(self, query: str) -> str:
        self.sent.append(query)
        if self.meanwhile is not None:
            await self.meanwhile()
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[SessionChanges]:
    database = await open_database(f"sqlite:///{tmp_path}/titles.sqlite3")
    yield SessionChanges(Sessions(SqlSessionStore(database), lambda: NOW, lambda: None))
    await database.close()


async def made(changes: SessionChanges) -> SessionId:
    change = sessions.create(NewSession(), ANN.tenant_id, ANN.owner_id, NOW)
    await changes.sessions.commit(change)
    return change.created[0].id


def asking(changes: SessionChanges, provider: Provider) -> SessionChanges:
    return SessionChanges(changes.sessions, TitleMaking(provider))


@pytest.mark.requirement("Title: skip if there is one; from a title provider if one")
async def test_a_provider_makes_the_title_of_a_session_that_has_none(plain: SessionChanges) -> None:
    provider = Provider("  Late trains ")
    changes, session_id = asking(plain, provider), await made(plain)
    session, source = await changes.entitle(ANN, session_id, query=QUERY)
    assert (session.title, source) == ("Late trains", TitleSource.PROVIDER)
    again, source = await changes.entitle(ANN, session_id, query="Another one")
    assert (again.title, source) == ("Late trains", TitleSource.EXISTING)
    assert provider.sent == [QUERY]
    assert changes.titles.outcomes == Counter({TitleOutcome.PROVIDED: 1})


@pytest.mark.requirement("Title: skip if there is one; from a title provider if one")
@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ("", TitleOutcome.REJECTED),
        ("\u200b\n", TitleOutcome.REJECTED),
        ("ü" * 101, TitleOutcome.REJECTED),
        ("[Incomplete response: token limit]", TitleOutcome.REJECTED),
        (TitleNotProvided(TitleOutcome.LATE, "not within 10 s"), TitleOutcome.LATE),
        (RuntimeError(f"could not ask about {QUERY}"), TitleOutcome.BROKEN),
    ],
)
async def test_without_a_providers_title_it_is_the_first_line_and_the_log_tells_why_but_no_content(
    plain: SessionChanges, answers: str | Exception, outcome: TitleOutcome, caplog: pytest.LogCaptureFixture
) -> None:
    changes = asking(plain, Provider(answers))
    for _ in range(3):
        session, source = await changes.entitle(ANN, await made(plain), query=QUERY)
        assert (session.title, source) == ("Which trains are late?", TitleSource.FALLBACK)
    assert changes.titles.outcomes == Counter({outcome: 3})
    (told,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert ("RuntimeError" if outcome is TitleOutcome.BROKEN else outcome) in told
    assert "trains" not in told


async def test_that_titles_fail_is_told_anew_after_one_was_provided(
    plain: SessionChanges, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider("")
    changes = asking(plain, provider)
    for provider.answers in ("", "", "Late trains", "", ""):
        await changes.entitle(ANN, await made(plain), query=QUERY)
    assert [one.levelno for one in caplog.records].count(logging.WARNING) == 2


async def test_a_title_by_hand_that_comes_while_the_provider_thinks_stays(plain: SessionChanges) -> None:
    session_id = await made(plain)
    provider = Provider("Late trains", lambda: plain.entitle(ANN, session_id, title="By hand"))
    session, source = await asking(plain, provider).entitle(ANN, session_id, query=QUERY)
    assert (session.title, source) == ("By hand", TitleSource.EXISTING)


async def test_a_query_is_shown_to_no_provider_where_no_title_would_be_set(plain: SessionChanges) -> None:
    provider = Provider("Late trains")
    changes, session_id = asking(plain, provider), await made(plain)
    with pytest.raises(NotFound):
        await changes.entitle(BOB, session_id, query=QUERY)
    with pytest.raises(NotAllowed):
        await changes.entitle(READS, session_id, query=QUERY)
    with pytest.raises(RevisionConflict):
        await changes.entitle(ANN, session_id, query=QUERY, expected_revision=7)
    with pytest.raises(InvalidInput):
        await changes.entitle(ANN, session_id, query=" \n")
    with pytest.raises(InvalidInput):
        await changes.entitle(ANN, session_id, query="x" * 100_001)
    await changes.sessions.change(ANN, session_id, lambda session: sessions.end(session, actor="ann", now=NOW))
    with pytest.raises(IllegalState):
        await changes.entitle(ANN, session_id, query=QUERY)
    assert provider.sent == []
    assert not changes.titles.outcomes
