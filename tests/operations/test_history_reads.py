"""What is asked of the history: the record brought up to date by what lives, never a former owner as the present."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from subgraph.adapters.sql.database import Database, open_database, sqlite_url
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.domain.access import ALL_SCOPES, Caller, Scope
from subgraph.domain.errors import InvalidInput, NotAllowed, Unavailable
from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import TenantId
from subgraph.domain.loads import LoadMetric
from subgraph.domain.ownership import AssignmentReason, AssignmentState, Term, TileRecord
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.fleet import fleet_view
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.history import recent_ends
from subgraph.operations.history.churn import KEPT_SECONDS, WINDOW_MS_MAX, WINDOWS_KEPT_MAX, ChurnMeter
from subgraph.operations.history.history import History
from subgraph.operations.history.history_retention import HistoryRetention
from subgraph.operations.history.recent_ends import RecentEnds
from subgraph.operations.history.term_history import TERMS_PER_WRITE_MAX, Churn, TermFilter
from tests.support.fleets import SESSION, T1, T2, TENANT, A, B, held, pod, snapshot, term, tile
from tests.support.polling import eventually
from tests.support.scripted_live import ScriptedLive, current_view

pytestmark = pytest.mark.anyio

CALLER = Caller(TENANT, "ann", ALL_SCOPES)
ACTIVE, DRAINING, PREPARING = AssignmentState.ACTIVE, AssignmentState.DRAINING, AssignmentState.PREPARING
RELEASED, LOST, ABORTED = AssignmentState.RELEASED, AssignmentState.LOST, AssignmentState.ABORTED
LEASE_MS = 500


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url(tmp_path / "sessions.sqlite3"))
    yield opened
    await opened.close()


@pytest.fixture
def recorded(database: Database) -> SqlTermHistory:
    return SqlTermHistory(database, "fleet")


@pytest.fixture
def live() -> ScriptedLive:
    """T1 is on its way from A (epoch 7) to B (9)."""
    record = tile(owner=held(A, 7), next=term(B, 9))
    return ScriptedLive(snapshot({T1: record}, {A: pod(), B: pod()}, version=10))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def view(live: ScriptedLive, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FleetView]:
    monkeypatch.setattr(fleet_view, "RETRY_SECONDS", 0.02)
    async with current_view(live, LEASE_MS) as view:
        yield view


@pytest.fixture
def history(recorded: SqlTermHistory, view: FleetView) -> History:
    return History(recorded, view, RecentEnds(view))


def fact(
    epoch: int, state: AssignmentState, *, version: int = 5, ended_at_ms: int | None = None, at_ms: int = 1_000
) -> TermFacts:
    given = Term(A if epoch == 7 else B, epoch, AssignmentReason.INITIAL, at_ms)
    return TermFacts(TermChange(T1, given, state, ended_at_ms=ended_at_ms), TENANT, version)


async def shown(history: History) -> dict[int, tuple[AssignmentState, int | None]]:
    """The states and ends of all terms, however they are asked for."""
    page = await history.page(CALLER, SESSION, None, None, None, 100, None)
    of_tile = (await history.of_tiles([T1], 100, None))[T1]
    assert page.items == of_tile.items
    epochs = [one.term.epoch for one in page.items]
    single = await history.terms(CALLER, [(T1, epoch) for epoch in epochs])
    assert list(single.values()) == list(page.items)
    return {one.term.epoch: (one.state, one.ended_at_ms) for one in page.items}


async def become(live: ScriptedLive, view: FleetView, version: int, record: TileRecord | None) -> None:
    live.tell(FleetChange(live.published_version, version, {T1: record}))
    await view.caught_up(version, timeout_seconds=30)


# ── What lives is told as it lives ────────────────────────────────────────────────────────────────────────────────


async def test_what_lives_is_told_as_it_stands_now_whatever_is_recorded(
    recorded: SqlTermHistory, history: History
) -> None:
    await recorded.record([fact(7, PREPARING), fact(9, LOST, ended_at_ms=2_000)])
    assert await shown(history) == {7: (ACTIVE, None), 9: (PREPARING, None)}


@pytest.mark.parametrize(("was", "end"), [(ACTIVE, LOST), (PREPARING, ABORTED), (DRAINING, RELEASED)])
async def test_a_term_whose_end_is_not_recorded_yet_is_over_all_the_same(
    recorded: SqlTermHistory, history: History, live: ScriptedLive, view: FleetView, was: AssignmentState, end: object
) -> None:
    await recorded.record([fact(7, was)])
    await become(live, view, 11, tile(owner=held(B, 9)))
    assert (await shown(history))[7] == (end, None)
    await recorded.record([fact(7, RELEASED, version=11, ended_at_ms=3_000)])
    assert (await shown(history))[7] == (RELEASED, 3_000)


async def test_a_process_that_saw_a_term_end_tells_how_before_it_is_recorded(
    recorded: SqlTermHistory, live: ScriptedLive, view: FleetView
) -> None:
    recent = RecentEnds(view)
    collecting = asyncio.create_task(recent.collect())
    await asyncio.sleep(0)
    await recorded.record([fact(7, ACTIVE)])
    await become(live, view, 11, tile(owner=held(B, 9), draining=held(A, 7)))
    live.tell(FleetChange(11, 12, {T1: tile(owner=held(B, 9))}, at_ms=4_000))
    await view.caught_up(12, timeout_seconds=30)
    assert (await shown(History(recorded, view, recent)))[7] == (RELEASED, 4_000)
    collecting.cancel()
    await asyncio.wait([collecting])


async def test_only_so_many_ends_are_remembered_and_the_oldest_are_forgotten_first(
    live: ScriptedLive, view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_ends, "ENDS_MAX", 3)
    recent = RecentEnds(view)
    collecting = asyncio.create_task(recent.collect())
    await asyncio.sleep(0)
    for epoch in range(20, 26):
        await become(live, view, epoch, tile(owner=held(B, epoch)))
    await eventually(lambda: recent.of(24), "the last end is seen")
    assert [epoch for epoch in range(7, 26) if recent.of(epoch)] == [22, 23, 24]
    assert len(recent) == 3
    collecting.cancel()
    await asyncio.wait([collecting])


async def test_a_process_that_lags_behind_the_record_believes_it(recorded: SqlTermHistory, history: History) -> None:
    await recorded.record([fact(11, ACTIVE, version=12)])
    assert await shown(history) == {11: (ACTIVE, None)}


async def test_the_record_can_be_read_while_the_live_store_is_away(
    recorded: SqlTermHistory, history: History, live: ScriptedLive, view: FleetView
) -> None:
    await recorded.record([fact(5, RELEASED, ended_at_ms=2_000), fact(7, ACTIVE)])
    live.is_down = True
    await eventually(lambda: not view.is_current, "the process has lost touch")
    assert await shown(history) == {5: (RELEASED, 2_000), 7: (ACTIVE, None)}


# ── Whose it is ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_of_another_tenant_has_no_history(recorded: SqlTermHistory, history: History) -> None:
    stranger = Caller(TenantId("another"), "eve", frozenset({Scope.TENANT_WRITE}))
    await recorded.record([fact(5, RELEASED, ended_at_ms=2_000)])
    assert (await history.page(stranger, SESSION, None, None, None, 10, None)).items == ()
    assert (await history.page(stranger, SESSION, B, None, None, 10, None)).items == ()
    assert await history.terms(stranger, [(T1, 5)]) == {}
    with pytest.raises(NotAllowed):
        await history.page(stranger, None, B, None, None, 10, None)


async def test_with_fleet_read_the_history_of_all_tenants_can_be_read(
    recorded: SqlTermHistory, history: History
) -> None:
    operator = Caller(TenantId("another"), "eve", frozenset({Scope.FLEET_READ}))
    await recorded.record([fact(5, RELEASED, ended_at_ms=2_000)])
    for session_id, pod_id in ((None, None), (None, B), (SESSION, None)):
        assert len((await history.page(operator, session_id, pod_id, None, None, 10, None)).items) == 1
    assert list(await history.terms(operator, [(T1, 5)])) == [(T1, 5)]


async def test_an_epoch_under_the_id_of_another_tile_is_no_term(recorded: SqlTermHistory, history: History) -> None:
    await recorded.record([fact(5, RELEASED, ended_at_ms=2_000)])
    assert list(await history.terms(CALLER, [(T1, 5), (T2, 5), (T1, 6)])) == [(T1, 5)]


# ── Churn ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class CountingHistory(SqlTermHistory):
    """A history that counts how often it is summed up."""

    sums = 0

    async def churn(self, since_ms: int) -> list[Churn]:
        self.sums += 1
        await asyncio.sleep(0)
        return await super().churn(since_ms)


async def test_churn_is_summed_up_once_for_all_who_ask_within_a_second(
    database: Database, live: ScriptedLive, view: FleetView
) -> None:
    counting, clock = CountingHistory(database, "fleet"), Clock()
    meter = ChurnMeter(counting, view, clock)
    await counting.record([fact(5, ACTIVE, at_ms=live.now_ms)])
    answers = await asyncio.gather(*(meter.over(60_000) for _ in range(50)))
    assert answers == [[Churn(AssignmentReason.INITIAL, 1, 0.0)]] * 50
    assert counting.sums == 1
    await meter.over(120_000)
    assert counting.sums == 2
    await counting.record([fact(6, ACTIVE, at_ms=live.now_ms)])
    clock.seconds += KEPT_SECONDS + 0.01
    assert [one.moves for one in await meter.over(60_000)] == [2]
    for window_ms in range(1, WINDOWS_KEPT_MAX + 2):
        await meter.over(window_ms)
    before = counting.sums
    await meter.over(1)
    assert counting.sums == before + 1, "no more windows are kept than the limit"


async def test_reasons_that_moved_the_most_load_come_first(
    recorded: SqlTermHistory, live: ScriptedLive, view: FleetView
) -> None:
    def given(epoch: int, reason: AssignmentReason, load: float) -> TermFacts:
        return TermFacts(TermChange(T1, Term(A, epoch, reason, live.now_ms, load=load), ACTIVE), TENANT, epoch)

    joined, lost, balance = AssignmentReason.POD_JOINED, AssignmentReason.POD_LOST, AssignmentReason.LOAD_BALANCE
    await recorded.record(
        [
            given(1, lost, 1.0),
            given(2, lost, 1.0),
            given(3, joined, 5.0),
            given(4, balance, 1.0),
            given(5, balance, 1.0),
        ]
    )
    churn = await ChurnMeter(recorded, view, Clock()).over(WINDOW_MS_MAX)
    assert [one.reason for one in churn] == [joined, balance, lost]


@pytest.mark.parametrize("window_ms", [0, -1, WINDOW_MS_MAX + 1])
async def test_a_window_beyond_its_limit_is_refused(recorded: SqlTermHistory, view: FleetView, window_ms: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        await ChurnMeter(recorded, view, Clock()).over(window_ms)
    assert (refused.value.path, refused.value.limit) == (("window",), "PT24H")


async def test_a_time_that_ends_before_it_begins_is_refused(history: History) -> None:
    with pytest.raises(InvalidInput) as refused:
        await history.page(CALLER, SESSION, None, 2, 1, 10, None)
    assert refused.value.path == ("since",)


# ── Age ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Leader:
    """A candidacy of which only this is asked."""

    leads = True


LEADER = cast(Candidacy, Leader())


async def test_terms_that_ended_longer_ago_than_the_retention_are_swept_in_batches_and_living_ones_stay(
    recorded: SqlTermHistory, live: ScriptedLive, view: FleetView
) -> None:
    day_ms = timedelta(days=1) // timedelta(milliseconds=1)
    live.now_ms = 100 * day_ms
    await view.refresh()
    old, count = live.now_ms - 30 * day_ms - 1, 2 * TERMS_PER_WRITE_MAX + 1
    await recorded.record([fact(epoch, LOST, ended_at_ms=old) for epoch in range(100, 100 + count)])
    await recorded.record([fact(1, LOST, ended_at_ms=live.now_ms - 29 * day_ms), fact(2, ACTIVE, at_ms=1)])
    retention = HistoryRetention(recorded, view, LEADER, 30 * day_ms)
    assert await retention.sweep() == count
    assert await retention.sweep() == 0
    page = await recorded.page(TermFilter(), 10, None)
    assert sorted(one.change.term.epoch for one in page.items) == [1, 2]


async def test_nothing_is_swept_while_the_time_is_not_known(recorded: SqlTermHistory, live: ScriptedLive) -> None:
    ignorant = FleetView(live.as_port(), LEASE_MS, LoadMetric.RECORDS, Clock())
    await recorded.record([fact(1, LOST, ended_at_ms=1)])
    with pytest.raises(Unavailable):
        await HistoryRetention(recorded, ignorant, LEADER, 1).sweep()
    assert len((await recorded.page(TermFilter(), 10, None)).items) == 1
