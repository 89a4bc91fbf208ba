"""Owns the use cases of pods: registration, lease, load reports, acknowledgements, drain and departure."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from subgraph.domain import ownership
from subgraph.domain.errors import EpochStale, InvalidInput, LeaseLost, NotFound, SessionManagerFailure, Unavailable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.terms import TermChange, living_terms
from subgraph.domain.ids import PodId, TileId, incarnation_of, version_of
from subgraph.domain.load_report import LoadReport, pack_report
from subgraph.domain.loads import LoadBatch, check_batch
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentState, TileRecord, terms_of
from subgraph.domain.pods import PodRecord, PodStatus, check_registration
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.fleet_writes import TILES_PER_COMMIT_MAX, PodLease, TileWrite
from subgraph.operations.live_fleet import LiveFleet
from subgraph.operations.ports import NewToken

ACKNOWLEDGEMENTS_MAX = 10_000
COMMIT_ATTEMPTS_MAX = 10
CATCH_UP_SECONDS = 2.0
HELD_TILES_MAX = 100_000
INCARNATIONS_AHEAD_MAX = 1_000
"""How far SQL and the live store together can have been put back behind what pods remember."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewPod:
    """What a pod registers with. `held`: tiles it still works on, with their epochs, after it lost its lease."""

    id: PodId
    service: str
    capacity: float
    lease_ms: int | None = None
    tiles_max: int | None = None
    zone: str | None = None
    labels: Mapping[str, str] | None = None
    held: Mapping[TileId, int] | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A pod's new instance: its token, the version its assignments are of, and the assignments."""

    lease_token: str
    version: int
    assignments: tuple[TermChange, ...]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A pod's word that a term has reached a phase."""

    tile_id: TileId
    epoch: int
    phase: AcknowledgedPhase


@dataclass(frozen=True, slots=True)
class _Former:
    """The instances of a pod before the one that registered; `died_at_ms`: None if they left, or were drained."""

    pod_id: PodId
    registered_at: int
    died_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of a fleet."""

    live: LiveFleet
    view: FleetView
    lease_ms_default: int
    lease_ms_max: int
    new_token: NewToken
    quarantine: QuarantinePolicy = DEFAULT_QUARANTINE

    async def register(self, wanted: NewPod) -> Registered:
        """Make the caller the pod's one instance; a former one is fenced. Tiles it does not hold any more are let go.

        Raises:
            InvalidInput: a field is malformed or beyond its limit.
            LeaseLost: another instance registered meanwhile, or the pod was lost.
        """
        lease_ms = self.lease_ms_default if wanted.lease_ms is None else wanted.lease_ms
        labels, held = dict(wanted.labels or {}), dict(wanted.held or {})
        check_registration(
            wanted.id,
            wanted.service,
            wanted.capacity,
            wanted.tiles_max,
            wanted.zone,
            labels,
            lease_ms,
            self.lease_ms_max,
        )
        self._check_held(held)
        token = self.new_token()
        former = self.view.current().pods.get(wanted.id)
        version, _ = await self.live.register_pod(
            wanted.id,
            PodRecord(
                service=wanted.service,
                capacity=wanted.capacity,
                lease_ms=lease_ms,
                lease_token=token,
                registered_at_ms=0,
                zone=wanted.zone,
                labels=labels,
                tiles_max=wanted.tiles_max,
            ),
            held,
        )
        died = former is not None and former.record.died_at_work
        await self._let_go(PodLease(wanted.id, token), held, version, former_died=died)
        fleet = self.view.current()
        instance = fleet.instance_of(wanted.id)
        if instance != token:
            # Terms are told by pod: these are of the instance that registered meanwhile, which works on them.
            why = f"pod {wanted.id!r} was lost, or registered once more, while it registered"
            raise LeaseLost(wanted.id, why, superseded=instance is not None)
        return Registered(token, fleet.version, tuple(fleet.terms_of_pod(wanted.id)))

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
        await self.view.caught_up(version, CATCH_UP_SECONDS)

    def _check_held(self, held: Mapping[TileId, int]) -> None:
        if len(held) > HELD_TILES_MAX:
            raise InvalidInput(f"at most {HELD_TILES_MAX:,} tiles held", ("held",), f"{HELD_TILES_MAX}")
        # A held epoch that the fleet does not know makes it rise above it: nonsense would use incarnations up.
        epoch_max = version_of(incarnation_of(self.view.seen_version) + INCARNATIONS_AHEAD_MAX, 0)
        for index, epoch in enumerate(held.values()):
            if not 0 < epoch < epoch_max:
                raise InvalidInput(
                    f"epoch {epoch} was never given out: it must lie between 1 and {epoch_max}",
                    ("held", str(index), "epoch"),
                    f"{epoch_max}",
                )

    async def _let_go(
        self, lease: PodLease, held: Mapping[TileId, int], registered_at: int, *, former_died: bool
    ) -> None:
        # A new instance works on nothing it does not say it holds: those terms end before it hears of any other. What
        # it was given since it registered, at an epoch above that version, is its own.
        for _ in range(COMMIT_ATTEMPTS_MAX):
            _, fleet = await self.view.observe(CATCH_UP_SECONDS)
            tile_ids = [
                change.tile_id
                for change in fleet.terms_of_pod(lease.pod_id)
                if change.term.epoch < registered_at and held.get(change.tile_id) != change.term.epoch
            ]
            if not tile_ids:
                return
            for start in range(0, len(tile_ids), TILES_PER_COMMIT_MAX):
                stored = await self.live.read_tiles(tile_ids[start : start + TILES_PER_COMMIT_MAX])
                # A process that starts anew before its lease has ended died as well, if it had not left.
                died_at_ms = self.view.now_ms() if former_died else None
                former = _Former(lease.pod_id, registered_at, died_at_ms)
                after = {
                    tile_id: self._without(former, found.record, held.get(tile_id)) for tile_id, found in stored.items()
                }
                writes = [
                    TileWrite(tile_id, stored[tile_id].version, record)
                    for tile_id, record in after.items()
                    if record != stored[tile_id].record
                ]
                await self.live.commit(lease, writes)
        raise Unavailable(f"the tiles of pod {lease.pod_id!r} kept changing; register again", retry_after_seconds=1.0)

    def _without(self, former: _Former, record: TileRecord, held_epoch: int | None) -> TileRecord | None:
        """The record without the terms of the pod's former instances, but for the one that is held."""
        after: TileRecord | None = record
        for term, state in terms_of(record):
            is_formers = term.pod_id == former.pod_id and term.epoch <= former.registered_at
            if not is_formers or term.epoch == held_epoch or after is None:
                continue
            if state is AssignmentState.ACTIVE:
                if former.died_at_ms is not None:
                    after = ownership.suspect(after, former.died_at_ms, self.quarantine)
                after = ownership.drop_owner(after)
            elif state is AssignmentState.PREPARING:
                after = ownership.abort(after)
            else:
                after = ownership.drop_draining(after)
        return after

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
