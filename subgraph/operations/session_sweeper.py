"""Owns what happens to sessions by the passing of time: they expire, and retention removes those that stopped long ago.

Every process sweeps. A batch is claimed, decided and written in one transaction, so no two do the same; between
batches a process rests for as long as the last one took, and leaves the database to callers.
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
from subgraph.operations.ports import Clock, MonotonicClock, SessionSweeps

logger = logging.getLogger(__name__)

SWEEP_BATCH = 100
CLEAN_UP_BATCHES_MAX = 100
"""Batches of each kind that one caller's clean-up carries out; what is left is for the next one."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How many sessions expired, and how many were removed."""

    expired: int
    purged: int


class _Batch(Protocol):
    def __call__(self) -> Awaitable[int]: ...


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
            await self._until_done(lambda: self._expire(None)), await self._until_done(lambda: self._purge(None))
        )

    async def clean_up(self, caller: Caller) -> Swept:
        """Expire and remove what is due of the caller's tenant, up to a bound.

        Raises:
            Unavailable: the store did not answer.
        """
        return Swept(
            await self._until_done(lambda: self._expire(caller.tenant_id), CLEAN_UP_BATCHES_MAX),
            await self._until_done(lambda: self._purge(caller.tenant_id), CLEAN_UP_BATCHES_MAX),
        )

    async def _expire(self, tenant_id: TenantId | None) -> int:
        return await self.sweeps.expire_due(self.clock(), SWEEP_BATCH, tenant_id)

    async def _purge(self, tenant_id: TenantId | None) -> int:
        now = self.clock()
        return await self.sweeps.purge_stopped(now - self.retention, now, SWEEP_BATCH, tenant_id)

    async def _until_done(self, batch: _Batch, batches_max: int | None = None) -> int:
        swept = batches = 0
        while batches_max is None or batches < batches_max:
            began = self.monotonic()
            count = await batch()
            if count:
                self.wake_relay()
            swept += count
            batches += 1
            if count < SWEEP_BATCH:
                break
            await asyncio.sleep(self.monotonic() - began)
        return swept
