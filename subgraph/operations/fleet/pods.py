"""Owns the use cases of registered pods: lease, load reports, acknowledgements and departure."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from subgraph.domain import ownership
from subgraph.domain.errors import EpochStale, InvalidInput, LeaseLost, NotFound, SessionManagerFailure
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.terms import TermChange, living_terms
from subgraph.domain.ids import TileId
from subgraph.domain.load_report import LoadReport, pack_report
from subgraph.domain.loads import LoadBatch, check_batch
from subgraph.domain.ownership import AcknowledgedPhase, TileRecord
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import COMMIT_ATTEMPTS_MAX, TILES_PER_COMMIT_MAX, PodLease, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet

ACKNOWLEDGEMENTS_MAX = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A pod's word that a term has reached a phase."""

    tile_id: TileId
    epoch: int
    phase: AcknowledgedPhase


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of a fleet, once they are registered."""

    live: LiveFleet
    view: FleetView

    async def heartbeat(self, lease: PodLease, applied_version: int | None) -> int:
        """Renew the lease. Returns the newest version that concerns the pod.

        Raises:
            NotFound, LeaseLost: the pod is unknown, or another instance or nobody has its lease.
        """
        async with self._known_if_refused(lease):
            await self.live.renew_lease(lease, applied_version)
        # The lease is renewed, whatever this process knows: a pod is not stopped because it cannot be told of changes.
        pod = self.view.current().pods.get(lease.pod_id) if self.view.is_current else None
        return pod.concerned_at if pod else 0

    async def report(self, lease: PodLease, batch: LoadBatch) -> tuple[int, list[EpochStale]]:
        """Take a pod's load report, and renew its lease. Entries of terms not in force are refused one by one.

        Returns:
            How many entries were accepted, and a failure for each that was not.

        Raises:
            InvalidInput: an entry is no load; nothing of the report is taken.
            NotFound, LeaseLost: as for a heartbeat.
        """
        check_batch(batch)
        fleet = self.view.current()
        pod_row = fleet.pods.row(lease.pod_id)
        accepted: list[int] = []
        rows: list[int] = []
        refused: list[EpochStale] = []
        for index, (tile_id, epoch) in enumerate(zip(batch.tile_ids, batch.epochs, strict=True)):
            row = fleet.tiles.row(TileId(tile_id))
            current = 0 if row is None else int(fleet.tiles.owner_epoch[row])
            draining = None if row is None else fleet.tiles.draining.get(row)
            if row is not None and current == epoch and fleet.tiles.owner[row] == pod_row:
                accepted.append(index)
                rows.append(row)
            elif not (draining and draining.epoch == epoch and draining.pod_id == lease.pod_id):
                # A former owner that drains may report what it still does; it is not counted, and no mistake.
                refused.append(EpochStale(tile_id, epoch, current, ("loads", str(index))))
        taken = _packed(fleet, batch, accepted, rows) if accepted else None
        async with self._known_if_refused(lease):
            await self.live.renew_lease(lease, None, taken)
        return len(accepted), refused

    async def acknowledge(
        self, lease: PodLease, acknowledgements: Sequence[Acknowledgement]
    ) -> tuple[list[TermChange], list[SessionManagerFailure]]:
        """Record what a pod has done. Repeated and late acknowledgements change nothing.

        Returns:
            The terms acknowledged as they now stand, and a failure for each acknowledgement of no such term.

        Raises:
            NotFound, LeaseLost: as for a heartbeat. InvalidInput: too many at once.
        """
        if len(acknowledgements) > ACKNOWLEDGEMENTS_MAX:
            raise InvalidInput(
                f"at most {ACKNOWLEDGEMENTS_MAX:,} acknowledgements a call, not {len(acknowledgements):,}",
                ("acknowledgements",),
                f"{ACKNOWLEDGEMENTS_MAX}",
            )
        terms: list[TermChange] = []
        failures: list[SessionManagerFailure] = []
        # At least once: even with nothing to say, a fenced instance must learn that it is.
        for start in range(0, max(1, len(acknowledgements)), TILES_PER_COMMIT_MAX):
            chunk = acknowledgements[start : start + TILES_PER_COMMIT_MAX]
            async with self._known_if_refused(lease):
                await self._acknowledge_chunk(lease, chunk, start, terms, failures)
        return terms, failures

    async def deregister(self, lease: PodLease) -> None:
        """The pod leaves. Tiles it still has are treated as a lost pod's: placed elsewhere at once.

        Raises:
            NotFound, LeaseLost: as for a heartbeat.
        """
        stored = await self.live.read_pod(lease.pod_id)
        if stored is None:
            raise NotFound("Pod", lease.pod_id, ("podId",))
        gone = stored.record.with_status(PodStatus.GONE, self.view.now_ms())
        version = await self.live.end_pod(lease, gone)
        await self.view.caught_up(version)

    async def _acknowledge_chunk(
        self,
        lease: PodLease,
        acknowledgements: Sequence[Acknowledgement],
        offset: int,
        terms: list[TermChange],
        failures: list[SessionManagerFailure],
    ) -> None:
        open_ones = list(enumerate(acknowledgements, offset))
        for _ in range(COMMIT_ATTEMPTS_MAX):
            stored = await self.live.read_tiles(list({a.tile_id for _, a in open_ones}))
            now_ms = self.view.now_ms()
            after: dict[TileId, TileRecord | None] = {tile_id: found.record for tile_id, found in stored.items()}
            refused: list[tuple[int, SessionManagerFailure]] = []
            for index, ack in open_ones:
                record = after.get(ack.tile_id)
                try:
                    if record is None:
                        if ack.phase is AcknowledgedPhase.RELEASED:
                            continue  # the tile went with this very release, or an earlier one
                        raise EpochStale(ack.tile_id, ack.epoch, 0)
                    after[ack.tile_id] = ownership.acknowledge(
                        ack.tile_id, record, lease.pod_id, ack.epoch, ack.phase, now_ms
                    )
                except EpochStale as failure:
                    failure.path = ("acknowledgements", str(index))
                    refused.append((index, failure))
            writes = [
                TileWrite(tile_id, stored[tile_id].version, record)
                for tile_id, record in after.items()
                if record != stored[tile_id].record
            ]
            committed = await self.live.commit(lease, writes)
            refused_at = {index for index, _ in refused}
            failures += [failure for _, failure in refused if not _conflicts(failure, committed.tile_conflicts)]
            for index, ack in open_ones:
                if ack.tile_id not in committed.tile_conflicts and index not in refused_at:
                    terms += _term_of(ack, after.get(ack.tile_id))
            open_ones = [(index, ack) for index, ack in open_ones if ack.tile_id in committed.tile_conflicts]
            if not open_ones:
                return
        failures += [EpochStale(ack.tile_id, ack.epoch, 0, ("acknowledgements", str(i))) for i, ack in open_ones]

    @asynccontextmanager
    async def _known_if_refused(self, lease: PodLease) -> AsyncIterator[None]:
        """Tell a pod that never registered from one whose lease is lost; only a refusal costs the look."""
        try:
            yield
        except LeaseLost:
            if await self.live.read_pod(lease.pod_id) is None:
                raise NotFound("Pod", lease.pod_id, ("podId",)) from None
            raise


def _conflicts(failure: SessionManagerFailure, conflicts: frozenset[TileId]) -> bool:
    return isinstance(failure, EpochStale) and failure.tile_id in conflicts


def _term_of(ack: Acknowledgement, record: TileRecord | None) -> list[TermChange]:
    living = living_terms(ack.tile_id, record) if record else []
    return [change for change in living if change.term.epoch == ack.epoch]


def _packed(fleet: Fleet, batch: LoadBatch, indices: Sequence[int], rows: Sequence[int]) -> LoadReport:
    def taken(column: Sequence[T]) -> list[T]:
        return [column[index] for index in indices]

    return pack_report(
        batch.pod_id,
        [fleet.tiles.session_of(row) for row in rows],
        fleet.tiles.cell[rows].tolist(),
        taken(batch.epochs),
        taken(batch.records_per_second),
        taken(batch.bytes_per_second),
        taken(batch.volume_bytes),
        taken(batch.backlog),
    )
