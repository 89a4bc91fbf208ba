"""How a process sweeps: all that is due, in batches that hold the writer briefly, with rests that serve callers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.ids import TenantId
from subgraph.operations.sessions.session_ports import SweptBatch
from subgraph.operations.sessions.session_sweeper import (
    BATCH_MAX,
    BATCH_MIN,
    HOLD_SECONDS,
    RESTS_PER_BATCH,
    SessionSweeper,
    Swept,
    next_batch,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIND_SECONDS = 0.003
CALLER = Caller(TenantId("tenant"), "ann", ALL_SCOPES)


class SlowSweeps:
    """Sessions that are due, and a store in which finding a batch takes a while, and each of it holds the writer."""

    def __init__(self, due: int, seconds_each: float, clock: "Clock") -> None:
        self.due, self.seconds_each, self.clock = due, seconds_each, clock
        self.batches: list[int] = []
        self.batch_max = due
        self.waited_seconds = 0.0
        self.are_taken = False

    async def expire_due(self, now: datetime, limit: int, tenant_id: TenantId | None = None) -> SweptBatch:
        count = 0 if self.are_taken else min(limit, self.batch_max, self.due)
        self.due -= count
        self.batches.append(count)
        held_seconds = count * self.seconds_each
        self.clock.seconds += FIND_SECONDS + self.waited_seconds + held_seconds
        return SweptBatch(count, self.waited_seconds, held_seconds, is_last=self.due < 1)

    async def purge_stopped(
        self, before: datetime, now: datetime, limit: int, tenant_id: TenantId | None = None
    ) -> SweptBatch:
        return SweptBatch(0, 0.0, 0.0, is_last=True)


class Clock:
    """A monotonic clock that only a test's store moves on, and rests."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.rests: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


def sweeper(sweeps: SlowSweeps) -> SessionSweeper:
    return SessionSweeper(sweeps, lambda: NOW, sweeps.clock, lambda: None, timedelta(days=30), 5.0)


@pytest.mark.parametrize("seconds_each", [0.00005, 0.0001, 0.0003])
async def test_a_backlog_drains_in_batches_that_hold_the_writer_about_as_long_as_they_may(
    clock: Clock, seconds_each: float
) -> None:
    sweeps = SlowSweeps(10_000, seconds_each, clock)
    assert await sweeper(sweeps).sweep() == Swept(10_000, 0)
    settled = [count for count in sweeps.batches[5:-1] if count < BATCH_MAX]
    assert all(count * seconds_each <= 1.01 * HOLD_SECONDS for count in settled)
    assert sum(settled) * seconds_each >= 0.9 * len(settled) * HOLD_SECONDS


async def test_after_each_batch_a_process_rests_for_longer_than_all_of_it_took(clock: Clock) -> None:
    sweeps = SlowSweeps(500, 0.001, clock)
    await sweeper(sweeps).sweep()
    took = [FIND_SECONDS + count * 0.001 for count in sweeps.batches[:-1]]
    assert clock.rests == pytest.approx([RESTS_PER_BATCH * seconds for seconds in took])


async def test_the_wait_until_others_were_served_counts_as_rest(clock: Clock) -> None:
    sweeps = SlowSweeps(BATCH_MIN * 30, 0.001, clock)
    sweeps.waited_seconds = 0.02
    await sweeper(sweeps).sweep()
    busy = [FIND_SECONDS + count * 0.001 for count in sweeps.batches[:-1]]
    assert clock.rests == pytest.approx([max(0.0, RESTS_PER_BATCH * seconds - 0.02) for seconds in busy])
    assert max(clock.rests) > 0.0


async def test_a_batch_of_fewer_than_asked_for_is_the_last_only_if_it_says_so(clock: Clock) -> None:
    sweeps = SlowSweeps(7, 0.001, clock)
    sweeps.batch_max = 2
    assert await sweeper(sweeps).sweep() == Swept(7, 0)
    assert sweeps.batches == [2, 2, 2, 1]


async def test_what_others_have_at_the_moment_is_left_to_the_next_sweep(clock: Clock) -> None:
    sweeps = SlowSweeps(7, 0.001, clock)
    sweeps.are_taken = True
    assert await sweeper(sweeps).sweep() == Swept(0, 0)
    assert sweeps.batches == [0]


async def test_one_callers_clean_up_is_bounded_and_the_next_one_goes_on(clock: Clock) -> None:
    sweeps = SlowSweeps(1_000_000, 0.01, clock)
    first = await sweeper(sweeps).clean_up(CALLER)
    assert 0 < first.expired < 1_000_000
    assert (await sweeper(sweeps).clean_up(CALLER)).expired > 0
    assert sweeps.due == 1_000_000 - sum(sweeps.batches)


def test_the_next_batch_follows_how_long_the_last_one_held_the_writer_within_bounds() -> None:
    assert next_batch(80, 2 * HOLD_SECONDS) == 40
    assert next_batch(40, HOLD_SECONDS / 1.5) == 60
    assert next_batch(40, 0.0) == 80
    assert next_batch(BATCH_MAX, 0.0) == BATCH_MAX
    assert next_batch(100, 1_000.0) == BATCH_MIN
