"""Owns the registration of pods: the caller becomes the only instance, with the tiles it claims to hold."""

from collections.abc import Mapping
from dataclasses import dataclass

from subgraph.domain import ownership
from subgraph.domain.errors import InvalidInput, LeaseLost, Unavailable
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import PodId, TileId, incarnation_of, version_of
from subgraph.domain.ownership import AssignmentState, TileRecord, terms_of
from subgraph.domain.pods import PodRecord, check_registration
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import COMMIT_ATTEMPTS_MAX, TILES_PER_COMMIT_MAX, PodLease, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.ports import NewToken

HELD_TILES_MAX = 100_000
INCARNATIONS_AHEAD_MAX = 1_000
"""How far SQL and the live store together can have been put back behind what pods remember."""


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
class _Former:
    """The instances of a pod before the one that registered; `died_at_ms`: None if they left, or were drained."""

    pod_id: PodId
    registered_at: int
    died_at_ms: int | None


@dataclass(frozen=True, slots=True)
class PodRegistering:
    """How pods come into a fleet, for the first time and again."""

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
            _, fleet = await self.view.observe()
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
