"""Owns the life of a pod: register, renew, follow the assignments, report — and stop when it must.

A service implements `TileWorker` and runs a `PodClient`. Before each piece of work it asks `may_work(tile, epoch)`:
the answer is no as soon as the lease may have ended, also after a pause of the process or of the machine.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from subgraph.client.assignments import Assignments
from subgraph.client.following import RETRY_SECONDS, Following
from subgraph.client.lease import LeaseClock, boot_clock_seconds
from subgraph.client.manager import (
    ChangeTold,
    LeaseRefused,
    OwnedTerm,
    SessionManager,
    Superseded,
    TileLoad,
    Unreachable,
)
from subgraph.client.renewal import DirectLink, Renewal
from subgraph.client.worker import TileWorker

logger = logging.getLogger(__name__)

ACKNOWLEDGEMENTS_PER_CALL = 1_000


@dataclass(frozen=True, slots=True)
class PodRegistration:
    """What a pod registers with. `capacity` is in the unit of the fleet's balanced load metric."""

    pod_id: str
    service: str
    capacity: float
    lease_seconds: float = 3.0
    tiles_max: int | None = None
    zone: str | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def to_input(self, held: Iterable[OwnedTerm]) -> dict[str, Any]:
        """The variables of `registerPod`."""
        return {
            "id": self.pod_id,
            "service": self.service,
            "capacity": self.capacity,
            "lease": f"PT{self.lease_seconds:f}S",
            "maxTiles": self.tiles_max,
            "zone": self.zone,
            "labels": [{"key": key, "value": value} for key, value in self.labels.items()],
            "held": [{"tileId": tile_id, "epoch": epoch} for tile_id, epoch in held],
        }


class PodClient:
    """One pod. `run` until it is cancelled, or `leave` was called and done.

    With `direct`, such as a `FleetRedis`, it renews its lease and reports its loads past the session manager.
    """

    def __init__(
        self,
        manager: SessionManager,
        registration: PodRegistration,
        worker: TileWorker,
        *,
        direct: DirectLink | None = None,
        report_seconds: float = 1.0,
        clock: Callable[[], float] = boot_clock_seconds,
    ) -> None:
        self._manager = manager
        self._direct = direct
        self._registration = registration
        self._pod_id = registration.pod_id
        self._worker = worker
        self._report_seconds = report_seconds
        self._lease = LeaseClock(registration.lease_seconds, clock)
        self._token = ""
        self._assignments = Assignments(worker, self._acknowledge)
        self._leaving = asyncio.Event()

    @property
    def owned(self) -> dict[str, int]:
        """Tiles this pod was told it owns, with their epochs; whether it may work on them now says `may_work`."""
        return self._assignments.owned

    def may_work(self, tile_id: str, epoch: int) -> bool:
        """Whether the pod may work on a tile at an epoch at this moment."""
        return self._assignments.owns(tile_id, epoch) and self._lease.is_held

    async def run(self) -> None:
        """Be a pod until cancelled; whenever the lease is lost, register again with what is still held.

        Raises:
            Superseded: another process has registered under this pod's id: this one must not work any more.
            CallRefused: the registration is not acceptable, for the reason it says.
        """
        while True:
            try:
                await self._live(await self._register())
                return
            except Superseded:
                self._lease.lost()
                raise
            except LeaseRefused as refused:
                self._lease.lost()
                logger.warning("%s must register again: %s", self._pod_id, refused)
            except Unreachable as unreachable:
                logger.warning("%s tries again: %s", self._pod_id, unreachable)
            await asyncio.sleep(RETRY_SECONDS)

    def leave(self) -> None:
        """Have all tiles moved away, then deregister; `run` returns when that is done."""
        self._leaving.set()

    async def _register(self) -> ChangeTold:
        asked_at = self._lease.now()
        held = {**self._assignments.owned, **self._assignments.unheard_of}
        self._token, told = await self._manager.register(self._registration.to_input(held.items()))
        self._assignments.unheard_of = {}
        # Before the lease is held again: what was given away meanwhile may not be worked on for a moment.
        self._assignments.restrict_to(told)
        self._lease.renewed(asked_at)
        return told

    async def _live(self, first: ChangeTold) -> None:
        following = Following(lambda after: self._manager.follow(self._pod_id, self._token, after), first)
        renewal = Renewal(
            self._manager,
            self._direct,
            self._lease,
            self._pod_id,
            self._token,
            lambda: self._assignments.applied_version,
        )
        with contextlib.suppress(_Left):
            await _run_together(
                renewal.heartbeats(following.hear_of),
                *([renewal.renewals()] if self._direct else []),
                renewal.reports(self._loads, self._report_seconds),
                following.run(),
                self._apply_all(following),
                self._leave_when_told(),
            )

    def _loads(self) -> list[TileLoad]:
        return [load for load in self._worker.loads() if self._assignments.owns(load.tile_id, load.epoch)]

    async def _apply_all(self, following: Following) -> None:
        while True:
            await self._assignments.apply(await following.changes.get())
            # After a pause what is heard is old, and so is the lease: then the sink knows nothing out of the ordinary.
            if self._assignments.unheard_of and self._lease.is_held:
                # It has been put back to an earlier state, with all that could tell it so: it must hear of these epochs
                # to give out higher ones, or no sink will take anything any more.
                raise LeaseRefused("a sink has seen epochs that the session manager knows nothing of")

    async def _acknowledge(self, terms: Sequence[OwnedTerm], phase: str) -> None:
        for start in range(0, len(terms), ACKNOWLEDGEMENTS_PER_CALL):
            chunk = terms[start : start + ACKNOWLEDGEMENTS_PER_CALL]
            while True:
                try:
                    await self._manager.acknowledge(self._pod_id, self._token, chunk, phase)
                    break
                except Unreachable as error:
                    logger.warning("%s acknowledges again: %s", self._pod_id, error)
                    await asyncio.sleep(RETRY_SECONDS)

    async def _leave_when_told(self) -> None:
        await self._leaving.wait()
        while True:
            try:
                await self._manager.drain(self._pod_id)
                await self._assignments.idle.wait()
                await self._manager.deregister(self._pod_id, self._token)
            except Unreachable as error:
                logger.warning("%s leaves as soon as it can: %s", self._pod_id, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                raise _Left


class _Left(Exception):
    """The pod has deregistered."""


async def _run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run works until one fails, which comes out as itself, and never in the place of a cancellation."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
