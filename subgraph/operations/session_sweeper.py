"""Owns what happens to sessions by the passing of time: they expire, and retention removes those that stopped long ago.

Every process sweeps. A batch is claimed, decided and written in one transaction, so no two do the same. Callers wait
for a batch to end, so it is as large as fits into some milliseconds; then a process rests for as long as it took.
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
from subgraph.operations.ports import Clock, MonotonicClock
from subgraph.operations.session_ports import SessionSweeps

logger = logging.getLogger(__name__)

BATCH_SECONDS = 0.03
"""How long a batch is to take: finding and fencing its sessions, and a time no longer for which others cannot write."""
BATCH_FIRST, BATCH_MIN, BATCH_MAX = 50, 25, 100
"""Sessions of a batch. Of fewer most of the time would go to the wait for the disk, of which there is one in each."""
CLEAN_UP_BATCHES_MAX = 200
"""Batches of each kind that one caller's clean-up carries out; what is left is for the next one."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How many sessions expired, and how many were removed."""

    expired: int
    purged: int


class _Batch(Protocol):
    def __call__(self, limit: int) -> Awaitable[int]: ...


def next_batch(size: int, took_seconds: float) -> int:
    """How many sessions the next batch is for, after one of a size that took so long: at most twice as many."""
    wanted = 2.0 * size if took_seconds <= 0 else size * min(2.0, BATCH_SECONDS / took_seconds)
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
        while True:
            try:
                swept = await self.sweep()
                if swept.expired or swept.purged:
                    logger.info("sessions: %d expired, %d removed for good", swept.expired, swept.purged)
            except Unavailable as error:
                logger.warning("sessions wait to be swept: %s", error)
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

    async def _expire(self, limit: int, tenant_id: TenantId | None) -> int:
        return await self.sweeps.expire_due(self.clock(), limit, tenant_id)

    async def _purge(self, limit: int, tenant_id: TenantId | None) -> int:
        now = self.clock()
        return await self.sweeps.purge_stopped(now - self.retention, now, limit, tenant_id)

    async def _until_done(self, batch: _Batch, batches_max: int | None = None) -> int:
        swept = batches = 0
        size = BATCH_FIRST
        while batches_max is None or batches < batches_max:
            began = self.monotonic()
            count = await batch(size)
            if count:
                self.wake_relay()
            swept += count
            batches += 1
            if count < size:
                break
            took_seconds = self.monotonic() - began
            size = next_batch(size, took_seconds)
            await asyncio.sleep(took_seconds)
        return swept
