"""Owns how a pod's instance keeps its lease and reports loads: through the session manager, in Redis itself, or both.

With a link to Redis the lease is renewed there, and once a lease time the session manager is asked what is newest; it
takes over the renewals whenever Redis does not answer. What was renewed counts from when it was asked for.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from subgraph.client.lease import LeaseClock
from subgraph.client.manager import SessionManager, TileLoad, Unreachable

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 4
LATE_RENEWALS = 1.5
"""So many renewal intervals after the last success the other way is tried too."""

LOADS_PER_CALL = 10_000
REPORTS_SLOWED_MAX = 16.0
"""Reports that are not taken come less and less often, down to this share of their rate."""


class DirectLink(Protocol):
    """A way to renew and report past the session manager. Both raise LeaseRefused, Superseded and Unreachable."""

    async def renew(self, pod_id: str, token: str, applied_version: int) -> None:
        """Renew the lease."""
        ...

    async def report(self, pod_id: str, token: str, applied_version: int, loads: Sequence[TileLoad]) -> bool:
        """Renew the lease and hand in loads; whether these were taken."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """One running instance of a pod: its token, and what it can be renewed through."""

    manager: SessionManager
    direct: DirectLink | None
    lease: LeaseClock
    pod_id: str
    token: str
    applied_version: Callable[[], int]

    async def heartbeats(self, hear_of: Callable[[int], None]) -> None:
        """Renew through the session manager as far as that is needed, and tell the newest version it knows of."""
        interval = self.lease.lease_seconds / RENEWALS_PER_LEASE
        turns_until_due = 0
        while True:
            if turns_until_due <= 0 or self.lease.renewed_seconds_ago > LATE_RENEWALS * interval:
                asked_at = self.lease.now()
                try:
                    newest = await self.manager.heartbeat(self.pod_id, self.token, self.applied_version())
                    self.lease.renewed(asked_at)
                    hear_of(newest)
                except Unreachable as error:
                    logger.warning("%s could not renew its lease: %s", self.pod_id, error)
                turns_until_due = RENEWALS_PER_LEASE if self.direct else 1
            turns_until_due -= 1
            await asyncio.sleep(interval)

    async def renewals(self) -> None:
        """Renew in Redis itself, if there is a way to."""
        while self.direct is not None:
            asked_at = self.lease.now()
            try:
                await self.direct.renew(self.pod_id, self.token, self.applied_version())
                self.lease.renewed(asked_at)
            except Unreachable as error:
                logger.warning("%s could not renew its lease in Redis: %s", self.pod_id, error)
            await asyncio.sleep(self.lease.lease_seconds / RENEWALS_PER_LEASE)

    async def reports(self, loads: Callable[[], Sequence[TileLoad]], report_seconds: float) -> None:
        """Report what is measured, less often while reports are not taken: the next one tells of a longer time."""
        seconds = report_seconds
        while True:
            await asyncio.sleep(seconds)
            measured = loads()
            parts = [measured[start : start + LOADS_PER_CALL] for start in range(0, len(measured), LOADS_PER_CALL)]
            are_taken = [await self._report(part) for part in parts]
            if all(are_taken):
                seconds = max(report_seconds, seconds / 2)
            else:
                seconds = min(REPORTS_SLOWED_MAX * report_seconds, seconds * 2)
                logger.warning("%s reports every %.1f s: its reports are not taken", self.pod_id, seconds)

    async def _report(self, loads: Sequence[TileLoad]) -> bool:
        asked_at = self.lease.now()
        if self.direct is not None:
            try:
                is_taken = await self.direct.report(self.pod_id, self.token, self.applied_version(), loads)
                self.lease.renewed(asked_at)
                return is_taken
            except Unreachable as error:
                logger.warning("%s could not report in Redis: %s", self.pod_id, error)
                asked_at = self.lease.now()
        try:
            await self.manager.report(self.pod_id, self.token, loads)
        except Unreachable as error:
            logger.warning("%s could not report: %s", self.pod_id, error)
            return False
        self.lease.renewed(asked_at)
        return True
