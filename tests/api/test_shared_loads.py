"""What is told of many sessions, and who is related to them, is loaded at once for all that want it alike."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from subgraph.api.context import Context, Services
from subgraph.api.data_loads import EventPage, Relatives, RelativesCount
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.errors import InvalidInput, NotFound
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry, SessionEventType
from subgraph.domain.sessions import Session
from subgraph.operations.ports import Page
from tests.support.server import RunningServer
from tests.support.world import new_session

pytestmark = pytest.mark.anyio

IDS = [SessionId(f"s{number}") for number in range(100)]


class Families:
    """Families that are all alike, and note what they are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def relatives(
        self, _: Caller, session_ids: Sequence[SessionId], *, above: bool, first: int, after: str | None
    ) -> dict[SessionId, Page[Session]]:
        self.asked.append((len(session_ids), above, first, after))
        if after is not None:
            raise InvalidInput("no cursor", ("after",))
        return {one: Page((), (one,), has_next=False, total_count=None) for one in session_ids}

    async def count_relatives(
        self, _: Caller, session_ids: Sequence[SessionId], *, above: bool
    ) -> dict[SessionId, int]:
        self.asked.append((len(session_ids), above))
        return {one: int(one[1:]) for one in session_ids}


class Events:
    """Journals that are all alike, and note what they are asked; of the first session there is none."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def pages(
        self,
        _: Caller,
        session_ids: Sequence[SessionId],
        types: frozenset[SessionEventType] | None,
        first: int,
        after: str | None,
    ) -> dict[SessionId, Page[JournalEntry]]:
        self.asked.append((len(session_ids), types, first, after))
        return {one: Page((), (one,), has_next=False, total_count=None) for one in session_ids if one != IDS[0]}


def context(families: Families, events: Events | None = None) -> Context:
    services = cast("Services", SimpleNamespace(families=families, session_events=events))
    return Context(services, Caller(TenantId("tenant"), "ann", ALL_SCOPES))


async def test_the_pages_of_many_sessions_are_one_load_for_each_kind_of_page() -> None:
    families = Families()
    load = context(families).relatives_loader.load
    wanted = [Relatives(one, above, 20, None) for one in [*IDS, IDS[0]] for above in (True, False)]
    pages = await asyncio.gather(*map(load, wanted))
    assert [page.cursors for page in pages] == [(one.session_id,) for one in wanted]
    assert sorted(families.asked) == [(100, False, 20, None), (100, True, 20, None)]


async def test_a_cursor_that_is_none_spoils_no_other_page() -> None:
    load = context(Families()).relatives_loader.load
    bad, good = await asyncio.gather(
        load(Relatives(IDS[0], True, 20, "no cursor")), load(Relatives(IDS[0], True, 20, None)), return_exceptions=True
    )
    assert isinstance(bad, InvalidInput)
    assert isinstance(good, Page)


async def test_the_counts_of_many_sessions_are_one_load_a_direction() -> None:
    families = Families()
    load = context(families).relatives_count_loader.load
    counts = await asyncio.gather(*(load(RelativesCount(one, above)) for above in (True, False) for one in IDS))
    assert counts == [*range(100), *range(100)]
    assert sorted(families.asked) == [(100, False), (100, True)]


async def test_the_events_of_many_sessions_are_one_load_and_who_is_gone_is_named() -> None:
    events = Events()
    load = context(Families(), events).events_loader.load
    ended = frozenset({SessionEventType.SESSION_ENDED})
    wanted = [EventPage(one, types, 20, None) for one in IDS for types in (None, ended)]
    gone, *others = await asyncio.gather(*map(load, wanted), return_exceptions=True)
    assert isinstance(gone, NotFound)
    assert gone.entity_id == IDS[0]
    assert [page.cursors for page in others[1:] if isinstance(page, Page)] == [(one.session_id,) for one in wanted[2:]]
    assert events.asked == [(100, None, 20, None), (100, ended, 20, None)]


def test_families_are_shown_generation_by_generation(server: RunningServer) -> None:
    top, below, lowest = (new_session(server) for _ in range(3))
    associate = "mutation($i: AssociateSessionsInput!) { associateSessions(input: $i) { errors { message } } }"
    for parent, child in ((top, below), (below, lowest), (top, lowest)):
        server.data(associate, i={"parentId": parent, "associateIds": [child]})
    page = "totalCount pageInfo { hasNextPage } edges { node { id"
    text = f"""query($id: ID!) {{ session(ref: {{id: $id}}) {{ parents {{ totalCount }}
      associates(first: 1) {{ {page} associates {{ {page} parents {{ {page} }} }} }} }} }} }} }} }} }} }} }}"""
    session = server.data(text, id=top)["session"]
    assert session["parents"] == {"totalCount": 0}
    assert session["associates"]["totalCount"] == 2
    assert session["associates"]["pageInfo"] == {"hasNextPage": True}
    child = session["associates"]["edges"][0]["node"]
    assert child["id"] == below
    (grandchild,) = child["associates"]["edges"]
    assert {one["node"]["id"] for one in grandchild["node"]["parents"]["edges"]} == {top, below}
