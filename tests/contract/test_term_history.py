"""The history of ownership on every database: the later account counts, pages neither skip nor repeat, bounds hold."""

import random
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.domain.errors import InvalidInput, Unavailable
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId
from subgraph.domain.ownership import AssignmentReason, AssignmentState, Term
from subgraph.operations.history.term_history import TERMS_PER_WRITE_MAX, Churn, TermFilter, TermHistory
from subgraph.operations.ports import Page
from tests.support.fleets import SESSION, T1, T2, TENANT, A, B, tile_ids

pytestmark = pytest.mark.anyio

OTHER_SESSION, OTHER_TENANT = SessionId("other"), TenantId("another")
ACTIVE, DRAINING, PREPARING = AssignmentState.ACTIVE, AssignmentState.DRAINING, AssignmentState.PREPARING
RELEASED, LOST, ABORTED = AssignmentState.RELEASED, AssignmentState.LOST, AssignmentState.ABORTED


@pytest.fixture
def history(database: Database) -> TermHistory:
    return SqlTermHistory(database, "fleet")


def fact(
    epoch: int,
    state: AssignmentState = ACTIVE,
    *,
    tile_id: TileId = T1,
    pod_id: PodId = A,
    at_ms: int = 1_000,
    ended_at_ms: int | None = None,
    version: int = 0,
    tenant_id: TenantId = TENANT,
    reason: AssignmentReason = AssignmentReason.LOAD_BALANCE,
    load: float = 1.5,
    acknowledged_at_ms: int | None = None,
    pinned: bool = False,
) -> TermFacts:
    """A term as of a version; of that of its epoch, when nothing is said."""
    term = Term(pod_id, epoch, reason, at_ms, acknowledged_at_ms=acknowledged_at_ms, load=load)
    return TermFacts(TermChange(tile_id, term, state, pinned, ended_at_ms=ended_at_ms), tenant_id, version or epoch)


async def everything(history: TermHistory, wanted: TermFilter | None = None, first: int = 1_000) -> list[TermFacts]:
    """All pages, one after the other."""
    found: list[TermFacts] = []
    after: str | None = None
    while True:
        page = await history.page(wanted or TermFilter(), first, after)
        assert len(page.items) == len(page.cursors) <= first
        assert page.total_count is None
        found += page.items
        if not page.has_next:
            return found
        after = page.cursors[-1]


def epochs(facts: list[TermFacts] | Page[TermFacts]) -> list[int]:
    return [one.change.term.epoch for one in (facts.items if isinstance(facts, Page) else facts)]


# ── Recording ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_terms_are_read_as_they_were_recorded(history: TermHistory) -> None:
    facts = [
        fact(2**53 - 1, RELEASED, ended_at_ms=9_000, acknowledged_at_ms=1_500, pinned=True, version=2**53),
        fact(7, PREPARING, tile_id=T2, pod_id=PodId("ü'|"), load=0.125, tenant_id=OTHER_TENANT),
    ]
    await history.record(facts)
    assert await history.terms([7, 8, 2**53 - 1]) == {7: facts[1], 2**53 - 1: facts[0]}
    assert await history.terms([]) == {}
    await history.record([])


async def test_the_account_of_the_later_version_counts_in_whatever_order_they_come(history: TermHistory) -> None:
    story = [
        fact(7, PREPARING, version=10),
        fact(7, ACTIVE, version=11),
        fact(7, ACTIVE, version=12, acknowledged_at_ms=1_500),
        fact(7, DRAINING, version=13, acknowledged_at_ms=1_500),
        fact(7, RELEASED, version=14, acknowledged_at_ms=1_500, ended_at_ms=9_000),
    ]
    for seed in range(20):
        told = [replace(one, change=structs.replace(one.change, term=_at_epoch(one, 100 + seed))) for one in story]
        random.Random(seed).shuffle(told)
        split = seed % len(told)
        await history.record(told[:split])
        await history.record(told[split:])
        await history.record(told[:2])
        (found,) = (await history.terms([100 + seed])).values()
        assert (found.change.state, found.change.ended_at_ms, found.version) == (RELEASED, 9_000, 14)


def _at_epoch(facts: TermFacts, epoch: int) -> Term:
    term = facts.change.term
    return Term(
        term.pod_id, epoch, term.reason, term.assigned_at_ms, acknowledged_at_ms=term.acknowledged_at_ms, load=term.load
    )


async def test_a_term_that_a_store_brought_back_lives_again(history: TermHistory) -> None:
    """The store lost the change that ended it, and a later one, of a later incarnation, shows it in force."""
    await history.record([fact(7, LOST, version=10, ended_at_ms=9_000)])
    await history.record([fact(7, ACTIVE, version=2**32 + 1)])
    assert (await history.terms([7]))[7].change.ended_at_ms is None
    assert await history.living_epochs(0, 10) == [(7, ACTIVE)]


async def test_more_terms_than_fit_in_a_transaction_are_recorded(history: TermHistory) -> None:
    count = 2 * TERMS_PER_WRITE_MAX + 1
    await history.record([fact(epoch) for epoch in range(1, count + 1)])
    assert len(await history.terms(range(1, count + 1))) == count
    assert len(await everything(history)) == count


async def test_fleets_have_histories_of_their_own(history: TermHistory, database: Database) -> None:
    other = SqlTermHistory(database, "other fleet")
    await history.record([fact(7, pod_id=A)])
    await other.record([fact(7, RELEASED, pod_id=B, ended_at_ms=1)])
    assert (await history.terms([7]))[7].change.term.pod_id == A
    assert epochs(await everything(other, TermFilter(pod_id=A))) == []
    assert await other.sweep(10, 10) == 1
    assert epochs(await everything(history)) == [7]
    assert (await history.churn(0), await other.churn(0)) != ([], [])
    assert await other.living_epochs(0, 10) == []


# ── Terms of which nothing is left ────────────────────────────────────────────────────────────────────────────────


async def test_living_terms_are_listed_by_rising_epoch(history: TermHistory) -> None:
    await history.record([fact(9, PREPARING), fact(5), fact(7, RELEASED, ended_at_ms=1), fact(6, DRAINING)])
    assert await history.living_epochs(0, 2) == [(5, ACTIVE), (6, DRAINING)]
    assert await history.living_epochs(6, 2) == [(9, PREPARING)]
    assert await history.living_epochs(9, 2) == []


async def test_terms_that_vanished_are_lost_or_were_never_in_force_and_others_stay_as_they_are(
    history: TermHistory,
) -> None:
    ended = fact(4, RELEASED, ended_at_ms=2_000)
    await history.record([fact(1), fact(2, PREPARING), fact(3, DRAINING), ended, fact(5)])
    assert await history.end_vanished([1, 2, 3, 4, 6], 9_000) == 3
    assert await history.end_vanished([1, 2, 3, 4, 6], 9_999) == 0
    found = await history.terms([1, 2, 3, 4, 5, 6])
    assert {epoch: (one.change.state, one.change.ended_at_ms) for epoch, one in found.items()} == {
        1: (LOST, 9_000),
        2: (ABORTED, 9_000),
        3: (LOST, 9_000),
        4: (RELEASED, 2_000),
        5: (ACTIVE, None),
    }


async def test_what_the_log_says_after_all_counts_for_more_than_that_a_term_vanished(history: TermHistory) -> None:
    await history.record([fact(7, DRAINING, version=10)])
    await history.end_vanished([7], 9_000)
    await history.record([fact(7, RELEASED, version=11, ended_at_ms=5_000)])
    found = (await history.terms([7]))[7].change
    assert (found.state, found.ended_at_ms) == (RELEASED, 5_000)


# ── Pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pages_hold_every_term_once_newest_first(history: TermHistory) -> None:
    randomly = random.Random(7)
    facts = [fact(epoch, at_ms=randomly.randint(1, 9)) for epoch in randomly.sample(range(1, 1_000), 100)]
    await history.record(facts)
    expected = epochs(sorted(facts, key=lambda one: (-one.change.term.assigned_at_ms, -one.change.term.epoch)))
    for first in (1, 7, 100, 101):
        assert epochs(await everything(history, first=first)) == expected


async def test_what_is_recorded_meanwhile_neither_shifts_nor_repeats_a_page(history: TermHistory) -> None:
    await history.record([fact(epoch, at_ms=epoch) for epoch in range(10, 20)])
    page = await history.page(TermFilter(), 4, None)
    await history.record([fact(epoch, at_ms=epoch) for epoch in (5, 25)])
    following = await history.page(TermFilter(), 4, page.cursors[-1])
    assert (epochs(page), epochs(following)) == ([19, 18, 17, 16], [15, 14, 13, 12])


async def test_every_restriction_applies(history: TermHistory) -> None:
    other_tile = tile_ids(1, OTHER_SESSION)[0]
    await history.record(
        [
            fact(1, pod_id=A, at_ms=100),
            fact(2, pod_id=B, at_ms=200, ended_at_ms=300, state=LOST),
            fact(3, pod_id=A, at_ms=300, tile_id=T2),
            fact(4, pod_id=A, at_ms=400, tile_id=other_tile, tenant_id=OTHER_TENANT),
        ]
    )

    async def found(**wanted: Any) -> list[int]:
        return epochs(await everything(history, TermFilter(**wanted), first=1))

    assert await found() == [4, 3, 2, 1]
    assert await found(session_id=SESSION) == [3, 2, 1]
    assert await found(pod_id=A) == [4, 3, 1]
    assert await found(session_id=SESSION, pod_id=A) == [3, 1]
    assert await found(tenant_id=TENANT, session_id=OTHER_SESSION) == []
    assert await found(tenant_id=OTHER_TENANT, session_id=OTHER_SESSION) == [4]
    assert await found(since_ms=200) == [4, 3, 2]
    assert await found(until_ms=300) == [2, 1]
    assert await found(since_ms=200, until_ms=200) == []
    assert await found(pod_id=A, since_ms=300, until_ms=400) == [3]
    assert await found(pod_id=PodId("nobody")) == []


async def test_each_tile_has_its_own_pages(history: TermHistory) -> None:
    await history.record([fact(epoch, tile_id=(T1, T2)[epoch % 2]) for epoch in range(1, 8)])
    absent = tile_ids(3)[2]
    pages = await history.pages_of_tiles([T1, T2, absent], 2, None)
    assert {one: (epochs(page), page.has_next) for one, page in pages.items()} == {
        T1: ([6, 4], True),
        T2: ([7, 5], True),
        absent: ([], False),
    }
    following = await history.pages_of_tiles([T2], 5, pages[T2].cursors[-1])
    assert (epochs(following[T2]), following[T2].has_next) == ([3, 1], False)


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "ü", "x" * 10_000, "W10", "WzFd", "WzEsMl0x", "WzEsInki XQ", "WzEsLTFd", "WzEuNSwyXQ",
        "WzEsOTIyMzM3MjAzNjg1NDc3NTgwOF0",  # [1, 2**63]
        "WyIyMDI0LTAxLTAxVDAwOjAwOjAwWiIsIngiXQ",  # a cursor of sessions
    ],
)  # fmt: skip
async def test_what_is_no_cursor_is_refused_by_its_field(history: TermHistory, cursor: str) -> None:
    for refused in (history.page(TermFilter(), 1, cursor), history.pages_of_tiles([T1], 1, cursor)):
        with pytest.raises(InvalidInput) as failure:
            await refused
        assert failure.value.path == ("after",)


# ── Churn and age ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_churn_counts_what_came_into_force_by_reason(history: TermHistory) -> None:
    joined, lost = AssignmentReason.POD_JOINED, AssignmentReason.POD_LOST
    await history.record(
        [
            fact(1, reason=lost, at_ms=99),
            fact(2, reason=lost, at_ms=100, load=2.0),
            fact(3, LOST, reason=lost, at_ms=150, load=0.5, ended_at_ms=160),
            fact(4, DRAINING, reason=joined, at_ms=150, load=4.0),
            fact(5, RELEASED, reason=joined, at_ms=150, load=1.0, ended_at_ms=200),
            fact(6, PREPARING, reason=joined, at_ms=150),
            fact(7, ABORTED, reason=AssignmentReason.MANUAL, at_ms=150, ended_at_ms=160),
        ]
    )
    assert set(await history.churn(100)) == {Churn(joined, 2, 5.0), Churn(lost, 2, 2.5)}
    assert await history.churn(151) == []


async def test_the_sweep_deletes_the_oldest_of_those_that_ended_before(history: TermHistory) -> None:
    ended = [fact(epoch, LOST, at_ms=1, ended_at_ms=1_000 - epoch) for epoch in range(1, 6)]
    await history.record([*ended, fact(6, at_ms=1), fact(7, LOST, ended_at_ms=1_000)])
    assert await history.sweep(1_000, 2) == 2
    assert sorted(epochs(await everything(history))) == [1, 2, 3, 6, 7]
    assert await history.sweep(1_000, 100) == 3
    assert await history.sweep(1_000, 100) == 0
    assert sorted(epochs(await everything(history))) == [6, 7]


async def test_it_outlives_its_process(database: Database, history: TermHistory, database_url: str) -> None:
    await history.record([fact(7)])
    await database.close()
    uses = (history.record([fact(8)]), history.page(TermFilter(), 1, None), history.churn(0), history.sweep(0, 1))
    for use in uses:
        with pytest.raises(Unavailable):
            await use
    again = await open_database(database_url)
    assert epochs(await everything(SqlTermHistory(again, "fleet"))) == [7]
    await again.close()
