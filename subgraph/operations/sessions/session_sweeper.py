"""Owns what happens to sessions by the passing of time: they expire, and retention removes those that stopped long ago.

Every process sweeps. A batch is claimed and written in one transaction, so no two do the same. Callers who write wait
for that transaction to end; so the store begins it when somebody was just served and nobody waits, and a batch is as
large as fits into some milliseconds. Then a process rests for longer than the batch took, finding it included.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from subgraph.domain.access import Caller
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import TenantId
from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import Clock, MonotonicClock
from subgraph.operations.sessions.session_ports import SessionSweeps, SweptBatch

logger = logging.getLogger(__name__)

HOLD_SECONDS = 0.006
"""For how long a batch is to keep others from writing: not much longer than a caller's own change, most of it the wait
for the disk. What comes before and after, finding and fencing, keeps nobody from writing."""
BATCH_FIRST, BATCH_MIN, BATCH_MAX = 25, 10, 100
"""Sessions of a batch. Of fewer most of the time would go to the wait for the disk, of which there is one in each."""
RESTS_PER_BATCH = 2.0
"""How many times as long as a batch the rest after it is: sweeps take a third of the time, and of a processor less."""
CLEAN_UP_BATCHES_MAX = 200
"""Batches of each kind that one caller's clean-up carries out; what is left is for the next one."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How many sessions expired, and how many were removed."""

    expired: int
    purged: int


class _Batch(Protocol):
    def __call__(self, limit: int) -> Awaitable[SweptBatch]: ...


def next_batch(size: int, held_seconds: float) -> int:
    """How many sessions the next batch is for, after one of a size that held the writer so long: at most twice that."""
    wanted = 2.0 * size if held_seconds <= 0 else size * min(2.0, HOLD_SECONDS / held_seconds)
    return max(BATCH_MIN, min(BATCH_MAX, int(wanted)))


@dataclass(frozen=True, slots=True)
class SessionSweeper:
    """The sweeps of one process. `run` must be kept running."""

    sweeps: SessionSweeps
    clock: Clock
    monotonic: MonotonicClock
    wake_relay: Callable[[], None]
    retention: timedelta
    interval_seconds: float

    async def run(self) -> None:
        """Sweep until cancelled; what cannot be written now is due at the next sweep."""
        interruption = Interruption(logger, "the sweep of sessions")
        while True:
            try:
                swept = await self.sweep()
                if swept.expired or swept.purged:
                    logger.info("sessions: %d expired, %d removed for good", swept.expired, swept.purged)
            except Unavailable as error:
                interruption.failed(error)
            else:
                interruption.succeeded()
            await asyncio.sleep(self.interval_seconds)

    async def sweep(self) -> Swept:
        """Expire and remove all that is due now.

        Raises:
            Unavailable: the store did not answer; what was swept before stays so.
        """
        return Swept(
            await self._until_done(lambda limit: self._expire(limit, None)),
            await self._until_done(lambda limit: self._purge(limit, None)),
        )

    async def clean_up(self, caller: Caller) -> Swept:
        """Expire and remove what is due of the caller's tenant, up to a bound.

        Raises:
            Unavailable: the store did not answer.
        """
        return Swept(
            await self._until_done(lambda limit: self._expire(limit, caller.tenant_id), CLEAN_UP_BATCHES_MAX),
            await self._until_done(lambda limit: self._purge(limit, caller.tenant_id), CLEAN_UP_BATCHES_MAX),
        )

    async def _expire(self, limit: int, tenant_id: TenantId | None) -> SweptBatch:
        return await self.sweeps.expire_due(self.clock(), limit, tenant_id)

    async def _purge(self, limit: int, tenant_id: TenantId | None) -> SweptBatch:
        now = self.clock()
        return await self.sweeps.purge_stopped(now - self.retention, now, limit, tenant_id)

    async def _until_done(self, batch: _Batch, batches_max: int | None = None) -> int:
        swept = batches = 0
        size = BATCH_FIRST
        while batches_max is None or batches < batches_max:
            began = self.monotonic()
            done = await batch(size)
            if done.count:
                self.wake_relay()
            swept += done.count
            batches += 1
            # None, and yet not the last: others have them at the moment.
            if done.is_last or not done.count:
                break
            size = next_batch(size, done.held_seconds)
            busy_seconds = self.monotonic() - began - done.waited_seconds
            # It has rested already while it let others go first.
            await asyncio.sleep(max(0.0, RESTS_PER_BATCH * busy_seconds - done.waited_seconds))
        return swept
