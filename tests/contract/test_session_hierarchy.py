"""The hierarchy on every database: no cycle whoever races, nobody twice, both ends there, and pages that hold still."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_hierarchy import SqlSessionHierarchy
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller, Scope
from subgraph.domain.errors import IllegalState, InvalidInput, NotAllowed, NotFound, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session
from subgraph.domain.sessions.copying import CopyPart, copy
from subgraph.domain.sessions.hierarchy import ASSOCIATES_PER_CALL_MAX
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_hierarchy import SessionFamilies
from subgraph.operations.sessions.session_making import SessionMaking
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.sessions import Sessions

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.requirement("Hierarchy: parents and associates, no duplicates, no cycles"),
]

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Caller(TENANT, "ann", frozenset({Scope.SESSION_WRITE}))
BOB = Caller(TENANT, "bob", frozenset({Scope.SESSION_WRITE}))
ADMIN = Caller(TENANT, "root", ALL_SCOPES)


@pytest.fixture
def families(database: Database) -> SessionFamilies:
    return families_on(database)


def families_on(database: Database) -> SessionFamilies:
    return SessionFamilies(SqlSessionHierarchy(database), lambda: NOW, lambda: None)


async def made(database: Database, name: str, owner: str = "ann", tenant_id: TenantId = TENANT) -> Session:
    age = timedelta(microseconds=sum(map(ord, name)))
    change = sessions.create(NewSession(display_name=name), tenant_id, owner, NOW + age)
    await SqlSessionStore(database).commit(change)
    return change.created[0]


async def names(families: SessionFamilies, of: Session, *, above: bool = False, caller: Caller = ANN) -> list[str]:
    page = (await families.relatives(caller, [of.id], above=above, first=100, after=None))[of.id]
    assert await families.count_relatives(caller, [of.id], above=above) == {of.id: len(page.items)}
    return [session.display_name for session in page.items]


async def told_of_relations(database: Database) -> list[tuple[SessionId, Any]]:
    """Which session is told what, of associations and copies, in the order of the journal."""
    entries = await SqlJournal(database).entries_after(0, 100)
    types = ("SESSION_ASSOCIATED", "SESSION_DISSOCIATED", "SESSION_COPIED")
    return [(entry.event.session_id, entry.event.payload) for entry in entries if entry.event.type in types]


async def test_both_ends_show_the_association_which_is_told_to_each_once(
    database: Database, families: SessionFamilies
) -> None:
    a, b, c = [await made(database, name) for name in "abc"]
    for _ in range(2):
        parent = await families.associate(ANN, a.id, [b.id, c.id, b.id])
        assert parent.revision == 2
    assert await names(families, a) == ["b", "c"]
    assert await names(families, b, above=True) == ["a"]
    assert await told_of_relations(database) == [
        (a.id, {"associateIds": [b.id, c.id]}),
        (b.id, {"parentId": a.id}),
        (c.id, {"parentId": a.id}),
    ]


async def test_a_journal_names_no_session_that_one_of_its_readers_may_not_see(
    database: Database, families: SessionFamilies
) -> None:
    creation = sessions.create_main(TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(creation)
    (main,) = creation.created
    of_bob, of_ann = await made(database, "bobs", "bob"), await made(database, "anns")
    for change in (families.associate, families.dissociate):
        await change(BOB, of_bob.id, [main.id])
        await change(ADMIN, of_bob.id, [of_ann.id])
        await change(ANN, main.id, [of_ann.id])
    once = [
        (of_bob.id, {"associateIds": [main.id]}),
        (of_bob.id, {"associateIds": []}),
        (main.id, {"associateIds": []}),
        (of_ann.id, {"parentId": main.id}),
    ]
    assert await told_of_relations(database) == [*once, *once]


async def test_a_dissociation_takes_away_what_is_given_and_is_told_once(
    database: Database, families: SessionFamilies
) -> None:
    a, b, c = [await made(database, name) for name in "abc"]
    await families.associate(ANN, a.id, [b.id, c.id])
    for _ in range(2):
        assert (await families.dissociate(ANN, a.id, [b.id])).revision == 3
    assert (await names(families, a), await names(families, b, above=True)) == (["c"], [])
    entries = await SqlJournal(database).entries_after(0, 100)
    told = [entry.event.session_id for entry in entries if entry.event.type is SessionEventType.SESSION_DISSOCIATED]
    assert told == [a.id, b.id]


@pytest.mark.parametrize("length", [1, 2, 5])
async def test_a_cycle_of_any_length_is_refused_by_the_entry_that_would_close_it(
    database: Database, families: SessionFamilies, length: int
) -> None:
    chain = [await made(database, str(number)) for number in range(length)]
    for parent, associate in itertools.pairwise(chain):
        await families.associate(ANN, parent.id, [associate.id])
    other = await made(database, "other")
    with pytest.raises(InvalidInput) as refused:
        await families.associate(ANN, chain[-1].id, [other.id, chain[0].id])
    assert refused.value.path == ("associateIds", "1")
    assert await names(families, chain[-1]) == []


async def test_of_associations_at_once_that_would_close_a_cycle_together_one_is_refused(
    database: Database, other_database: Database
) -> None:
    both = families_on(database), families_on(other_database)
    for round_number in range(10):
        ring = [await made(database, f"{round_number}-{name}") for name in "abcd"]
        links = list(zip(ring, [*ring[1:], ring[0]], strict=True))
        outcomes = await asyncio.gather(
            *(both[n % 2].associate(ANN, parent.id, [child.id]) for n, (parent, child) in enumerate(links)),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert [type(outcome) for outcome in refused] == [InvalidInput]


async def test_both_ends_must_exist_in_the_tenant_and_for_the_caller(
    database: Database, families: SessionFamilies
) -> None:
    own, bobs = await made(database, "own"), await made(database, "bobs", "bob")
    foreign = await made(database, "foreign", tenant_id=TenantId("other tenant"))
    deleted = await made(database, "deleted")
    await SqlSessionStore(database).commit(sessions.delete(deleted, actor="ann", now=NOW))
    for absent in (bobs.id, foreign.id, deleted.id, SessionId("nobody"), SessionId("\udcff")):
        with pytest.raises(NotFound) as refused:
            await families.associate(ANN, own.id, [absent])
        assert refused.value.path == ("associateIds", "0")
        with pytest.raises(NotFound) as refused:
            await families.associate(ANN, absent, [own.id])
        assert refused.value.path == ("parentId",)
    assert await names(families, own) == []


async def test_who_may_only_see_a_parent_is_told_what_it_lacks(database: Database, families: SessionFamilies) -> None:
    a, b = await made(database, "a"), await made(database, "b")
    reader = Caller(TENANT, "eve", frozenset({Scope.TENANT_READ, Scope.SESSION_WRITE}))
    with pytest.raises(NotAllowed):
        await families.associate(reader, a.id, [b.id])


async def test_relatives_are_those_that_the_caller_may_see(database: Database, families: SessionFamilies) -> None:
    own, other, bobs = await made(database, "a"), await made(database, "b"), await made(database, "c", "bob")
    await families.associate(ADMIN, own.id, [other.id, bobs.id])
    assert await names(families, own, caller=ADMIN) == ["b", "c"]
    assert await names(families, own, caller=ANN) == ["b"]
    assert await names(families, bobs, above=True, caller=BOB) == []


async def test_a_tenants_main_session_is_a_relative_that_all_of_the_tenant_see(
    database: Database, families: SessionFamilies
) -> None:
    main = sessions.create_main(TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(main)
    above, below = await made(database, "above", "bob"), await made(database, "below", "bob")
    await families.associate(ADMIN, main.created[0].id, [below.id])
    await families.associate(ADMIN, above.id, [main.created[0].id])
    assert await names(families, below, above=True, caller=BOB) == ["main"]
    assert await names(families, above, caller=BOB) == ["main"]


async def test_deleted_relatives_are_hidden_and_restored_ones_back_and_purged_ones_gone(
    database: Database, families: SessionFamilies
) -> None:
    a, b = await made(database, "a"), await made(database, "b")
    store = SqlSessionStore(database)
    await families.associate(ANN, a.id, [b.id])
    (deleted,) = sessions.delete(b, actor="ann", now=NOW).updated
    await store.commit(sessions.delete(b, actor="ann", now=NOW))
    assert await names(families, a) == []
    restoration = sessions.restore(deleted, actor="ann", now=NOW)
    await store.commit(restoration)
    assert await names(families, a) == ["b"]
    await store.commit(sessions.purge(restoration.updated[0], actor="ann", now=NOW))
    assert await names(families, a) == []


async def test_pages_of_associates_give_each_once(database: Database, families: SessionFamilies) -> None:
    parent = await made(database, "parent")
    children = [await made(database, f"child {number}") for number in range(7)]
    await families.associate(ANN, parent.id, [child.id for child in children])
    seen: list[str] = []
    after = None
    while True:
        page = (await families.relatives(ANN, [parent.id], above=False, first=3, after=after))[parent.id]
        assert len(page.items) <= 3
        seen += [session.id for session in page.items]
        if not page.has_next:
            break
        after = page.cursors[-1]
    assert sorted(seen) == sorted(child.id for child in children)


async def test_pages_and_counts_of_many_sessions_are_those_of_each_by_itself(
    database: Database, families: SessionFamilies
) -> None:
    parents = [await made(database, name) for name in "pqr"]
    children = [await made(database, f"child {number}") for number in range(5)]
    shared = [child.id for child in children]
    await families.associate(ANN, parents[0].id, shared)
    await families.associate(ANN, parents[1].id, shared[3:])
    ids = [*(parent.id for parent in parents), parents[0].id, SessionId("nobody"), SessionId("\udcff")]
    pages = await families.relatives(ANN, ids, above=False, first=3, after=None)
    assert [len(pages[one].items) for one in ids] == [3, 2, 0, 3, 0, 0]
    assert [pages[one].has_next for one in ids] == [True, False, False, True, False, False]
    cursor = pages[parents[0].id].cursors[2]
    behind = await families.relatives(ANN, ids, above=False, first=3, after=cursor)
    assert [child.id for child in behind[parents[0].id].items] == shared[3:]
    above = await families.relatives(ANN, shared, above=True, first=3, after=None)
    assert [[one.display_name for one in above[child].items] for child in shared] == [["p"]] * 3 + [["p", "q"]] * 2
    counts = await families.count_relatives(ANN, ids, above=False)
    assert [counts[one] for one in ids] == [5, 2, 0, 5, 0, 0]


async def test_limits_states_and_revisions_are_kept(database: Database, families: SessionFamilies) -> None:
    a, b = await made(database, "a"), await made(database, "b")

    async def attempt(associates: Sequence[SessionId], revision: int | None = None) -> None:
        await families.associate(ANN, a.id, associates, revision)

    with pytest.raises(RevisionConflict):
        await attempt([b.id], 7)
    with pytest.raises(InvalidInput, match="at most 100 associates"):
        await attempt([b.id] * (ASSOCIATES_PER_CALL_MAX + 1))
    with pytest.raises(InvalidInput, match="of itself"):
        await attempt([a.id])
    await SqlSessionStore(database).commit(sessions.end(a, actor="ann", now=NOW))
    with pytest.raises(IllegalState):
        await attempt([b.id])


async def test_too_many_associates_are_refused_before_anything_is_looked_for(families: SessionFamilies) -> None:
    nobody = SessionId("nobody")
    for change in (families.associate, families.dissociate):
        with pytest.raises(InvalidInput, match="at most 100 associates"):
            await change(ANN, nobody, [SessionId(str(number)) for number in range(ASSOCIATES_PER_CALL_MAX + 1)])


def making_on(database: Database) -> SessionMaking:
    store = SqlSessionStore(database)
    return SessionMaking(
        Sessions(store, lambda: NOW, lambda: None),
        SessionNames(store, SqlSessionDirectory(database), lambda: NOW),
        Idempotency(SqlIdempotencyKeys(database), lambda: NOW, timedelta(hours=1)),
    )


async def test_a_session_is_created_with_its_associates_or_not_at_all(
    database: Database, families: SessionFamilies
) -> None:
    child, operations = await made(database, "child"), making_on(database)
    parent = (await operations.create(ANN, NewSession(display_name="p", associate_ids=(child.id, child.id)))).session
    assert await names(families, parent) == ["child"]
    assert sorted(await told_of_relations(database)) == sorted(
        [(parent.id, {"associateIds": [child.id]}), (child.id, {"parentId": parent.id})]
    )
    with pytest.raises(NotFound) as refused:
        await operations.create(ANN, NewSession(display_name="q", associate_ids=(child.id, SessionId("nobody"))))
    assert refused.value.path == ("associateIds", "1")


async def test_what_is_created_with_associates_names_none_that_a_reader_of_the_journal_may_not_see(
    database: Database,
) -> None:
    creation = sessions.create_main(TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(creation)
    (main,) = creation.created
    of_ann, of_bob = await made(database, "anns"), await made(database, "bobs", "bob")
    wanted = NewSession(display_name="parent", associate_ids=(of_ann.id, of_bob.id, main.id))
    parent = (await making_on(database).create(Caller(TENANT, "bob", ALL_SCOPES), wanted)).session
    told = await told_of_relations(database)
    assert sorted(told, key=str) == sorted(
        [(parent.id, {"associateIds": [of_bob.id, main.id]}), (of_bob.id, {"parentId": parent.id})], key=str
    )


@pytest.mark.parametrize(
    ("owner", "of_main", "is_named"), [("ann", False, True), ("bob", False, False), ("bob", True, True)]
)
def test_a_copy_names_its_source_where_all_readers_of_its_journal_may_see_it(
    owner: str, of_main: bool, is_named: bool
) -> None:
    (main,) = sessions.create_main(TENANT, "ann", NOW).created
    source = main if of_main else sessions.create(NewSession(), TENANT, "ann", NOW).created[0]
    change = copy(source, "copy", {CopyPart.TILES}, TENANT, owner, NOW)
    assert change.created[0].copied_from == source.id
    named = {"sourceId": source.id} if is_named else {}
    assert change.events[-1].payload == {**named, "include": ["TILES"]}
