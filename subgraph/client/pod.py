"""Owns the life of a pod: register, renew, follow the assignments, acknowledge, report — and stop when it must.

A service implements `TileWorker` and runs a `PodClient`. Before each piece of work it asks `may_work(tile, epoch)`:
the answer is no as soon as the lease may have ended, also after a pause of the process or of the machine.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from subgraph.client.connection import (
    ChangeTold,
    Connection,
    LeaseRefused,
    Superseded,
    TermTold,
    TileLoad,
    Unreachable,
)
from subgraph.client.lease import LeaseClock, boot_clock_seconds

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 4
RETRY_SECONDS = 0.2
ACKNOWLEDGEMENTS_PER_CALL = 1_000
LOADS_PER_CALL = 10_000
CHANGES_BUFFERED_MAX = 1_000

OwnedTerm = tuple[str, int]
"""A tile's id, and the epoch at which it is owned."""


class TileWorker(Protocol):
    """What a service does with tiles. Each call gets all the tiles of one change; an exception ends the pod client."""

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        """Get ready to take over, while another pod works on. READY is acknowledged after it."""
        ...

    async def activate(self, terms: Sequence[OwnedTerm]) -> None:
        """Raise the epoch at every sink, re-read the tail, begin to work. ACTIVE is acknowledged after it."""
        ...

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        """Stop working on the tiles, finishing what is under way. RELEASED is acknowledged after it."""
        ...

    def loads(self) -> Sequence[TileLoad]:
        """What was measured since the last call, of tiles owned now."""
        ...


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
    """One pod. `run` until it is cancelled, or `leave` was called and done."""

    def __init__(
        self,
        url: str,
        registration: PodRegistration,
        worker: TileWorker,
        *,
        access_token: str | None = None,
        report_seconds: float = 1.0,
        clock: Callable[[], float] = boot_clock_seconds,
    ) -> None:
        self._connection = Connection(url, access_token)
        self._registration = registration
        self._worker = worker
        self._report_seconds = report_seconds
        self._lease = LeaseClock(registration.lease_seconds, clock)
        self._token = ""
        self._owned: dict[str, int] = {}
        self._prepared: set[OwnedTerm] = set()
        self._applied_version = 0
        self._behind_since_version: int | None = None
        self._leaving = asyncio.Event()
        self._idle = asyncio.Event()

    @property
    def owned(self) -> dict[str, int]:
        """Tiles this pod was told it owns, with their epochs; whether it may work on them now says `may_work`."""
        return dict(self._owned)

    def may_work(self, tile_id: str, epoch: int) -> bool:
        """Whether the pod may work on a tile at an epoch at this moment."""
        return self._owned.get(tile_id) == epoch and self._lease.is_held

    async def run(self) -> None:
        """Be a pod until cancelled; whenever the lease is lost, register again with what is still held.

        Raises:
            Superseded: another process has registered under this pod's id: this one must not work any more.
            CallRefused: the registration is not acceptable, for the reason it says.
        """
        async with self._connection:
            while True:
                try:
                    told = await self._register()
                    await self._live(told)
                    return
                except Superseded:
                    self._lease.lost()
                    raise
                except LeaseRefused as refused:
                    self._lease.lost()
                    logger.warning("%s must register again: %s", self._registration.pod_id, refused)
                except Unreachable as unreachable:
                    logger.warning("%s tries again: %s", self._registration.pod_id, unreachable)
                    await asyncio.sleep(RETRY_SECONDS)

    def leave(self) -> None:
        """Have all tiles moved away, then deregister; `run` returns when that is done."""
        self._leaving.set()

    async def _register(self) -> ChangeTold:
        asked_at = self._lease.now()
        held = list(self._owned.items())
        self._token, told = await self._connection.register(self._registration.to_input(held))
        self._lease.renewed(asked_at)
        return told

    async def _live(self, first: ChangeTold) -> None:
        changes: asyncio.Queue[ChangeTold] = asyncio.Queue(CHANGES_BUFFERED_MAX)
        changes.put_nowait(first)
        with contextlib.suppress(_Left):
            async with _first_failure_of_group() as tasks:
                tasks.create_task(self._renew())
                tasks.create_task(self._report())
                tasks.create_task(self._follow(changes, first.version))
                tasks.create_task(self._apply_all(changes))
                tasks.create_task(self._leave_when_told())

    async def _renew(self) -> None:
        while True:
            asked_at = self._lease.now()
            try:
                newest = await self._connection.heartbeat(self._registration.pod_id, self._token, self._applied_version)
                self._lease.renewed(asked_at)
                self._note_newest(newest)
            except Unreachable as error:
                logger.warning("%s could not renew its lease: %s", self._registration.pod_id, error)
            await asyncio.sleep(self._registration.lease_seconds / RENEWALS_PER_LEASE)

    def _note_newest(self, newest: int) -> None:
        # One late renewal may meet a change that is still on its way; being behind the same change twice is a loss.
        if newest <= self._applied_version:
            self._behind_since_version = None
        elif self._behind_since_version is not None and self._applied_version <= self._behind_since_version:
            self._behind_since_version = None
            raise Unreachable("a change of the assignments was missed")
        else:
            self._behind_since_version = self._applied_version

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._report_seconds)
            loads = [load for load in self._worker.loads() if self._owned.get(load.tile_id) == load.epoch]
            for start in range(0, len(loads), LOADS_PER_CALL):
                asked_at = self._lease.now()
                try:
                    chunk = loads[start : start + LOADS_PER_CALL]
                    await self._connection.report(self._registration.pod_id, self._token, chunk)
                    self._lease.renewed(asked_at)
                except Unreachable as error:
                    logger.warning("%s could not report: %s", self._registration.pod_id, error)

    async def _follow(self, changes: asyncio.Queue[ChangeTold], after_version: int) -> None:
        version: int | None = after_version
        while True:
            try:
                async for change in self._connection.follow(self._registration.pod_id, version):
                    if change.previous_version is not None and change.previous_version != version:
                        version = None  # something is missing in between: a snapshot tells all
                        break
                    version = change.version
                    await changes.put(change)
            except Unreachable as error:
                logger.warning("%s follows its assignments anew: %s", self._registration.pod_id, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _apply_all(self, changes: asyncio.Queue[ChangeTold]) -> None:
        while True:
            change = await changes.get()
            await self._apply(change)
            self._applied_version = max(self._applied_version, change.version)
            if self._owned or self._prepared:
                self._idle.clear()
            else:
                self._idle.set()

    async def _apply(self, change: ChangeTold) -> None:
        by_state: dict[str, list[OwnedTerm]] = {}
        for term in change.terms:
            by_state.setdefault(term.state, []).append((term.tile_id, term.epoch))
        ended = [*by_state.get("RELEASED", ()), *by_state.get("LOST", ()), *by_state.get("ABORTED", ())]
        if change.is_snapshot:
            ended += self._not_in(change.terms)
        await self._drop(ended)
        await self._release(by_state.get("DRAINING", ()))
        await self._activate(by_state.get("ACTIVE", ()), change.is_snapshot)
        await self._prepare(by_state.get("PREPARING", ()), change.is_snapshot)

    def _not_in(self, terms: Sequence[TermTold]) -> list[OwnedTerm]:
        living = {(term.tile_id, term.epoch) for term in terms}
        return [term for term in (*self._owned.items(), *self._prepared) if term not in living]

    async def _drop(self, terms: Sequence[OwnedTerm]) -> None:
        dropped = [(tile_id, epoch) for tile_id, epoch in terms if self._owned.get(tile_id) == epoch]
        for tile_id, _ in dropped:
            del self._owned[tile_id]
        self._prepared.difference_update(terms)
        if dropped:
            await self._worker.release(dropped)

    async def _release(self, terms: Sequence[OwnedTerm]) -> None:
        if not terms:
            return
        await self._worker.release(terms)
        for tile_id, epoch in terms:
            if self._owned.get(tile_id) == epoch:
                del self._owned[tile_id]
        await self._acknowledge(terms, "RELEASED")

    async def _activate(self, terms: Sequence[OwnedTerm], is_snapshot: bool) -> None:
        new = [(tile_id, epoch) for tile_id, epoch in terms if self._owned.get(tile_id) != epoch]
        if new:
            await self._worker.activate(new)
            self._owned.update(new)
            self._prepared.difference_update(new)
        # An acknowledgement may have been lost with the lease; repeating those of a snapshot is harmless.
        await self._acknowledge(terms if is_snapshot else new, "ACTIVE")

    async def _prepare(self, terms: Sequence[OwnedTerm], is_snapshot: bool) -> None:
        new = [term for term in terms if term not in self._prepared]
        if new:
            await self._worker.prepare(new)
            self._prepared.update(new)
        await self._acknowledge(terms if is_snapshot else new, "READY")

    async def _acknowledge(self, terms: Sequence[OwnedTerm], phase: str) -> None:
        for start in range(0, len(terms), ACKNOWLEDGEMENTS_PER_CALL):
            chunk = terms[start : start + ACKNOWLEDGEMENTS_PER_CALL]
            while True:
                try:
                    await self._connection.acknowledge(self._registration.pod_id, self._token, chunk, phase)
                    break
                except Unreachable as error:
                    logger.warning("%s acknowledges again: %s", self._registration.pod_id, error)
                    await asyncio.sleep(RETRY_SECONDS)

    async def _leave_when_told(self) -> None:
        await self._leaving.wait()
        while True:
            try:
                await self._connection.drain(self._registration.pod_id)
                await self._idle.wait()
                await self._connection.deregister(self._registration.pod_id, self._token)
            except Unreachable as error:
                logger.warning("%s leaves as soon as it can: %s", self._registration.pod_id, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                raise _Left


class _Left(Exception):
    """The pod has deregistered."""


@contextlib.asynccontextmanager
async def _first_failure_of_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure comes out as itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
