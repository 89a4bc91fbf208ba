"""Owns how a fleet comes back after its live store has lost writes: claims are decided, then the rest is restored.

While claims may still come, for one maximum lease, nothing else is decided about tiles: what nobody owns may be held by
a pod that has not registered again. What is written survives the leader, and any other can go on with it.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from subgraph.domain import ownership
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.recovery import Claim, LostSession, Regained, regain_claimed, regain_rest
from subgraph.domain.ids import SessionId, TenantId, TileId, parse_tile_id, version_of
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.ownership import Term as OwnershipTerm
from subgraph.domain.registration import RegisteredCoverage
from subgraph.operations.control.leadership import Candidacy, Term
from subgraph.operations.coverage.coverage_ports import ActiveCoverage, StandingCoverage
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_pulse import Beat, PodClaims
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, NotLeading, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet

logger = logging.getLogger(__name__)

RECOVERING = "RECOVERING"
"""Why a cycle moves nothing while the fleet comes back."""
PODS_PER_TURN = 100
SESSIONS_PER_READ = 100


@dataclass(slots=True)
class Recovery:
    """The recovery of a fleet, as whoever leads it carries it on, a turn in every control cycle."""

    live: LiveFleet
    view: FleetView
    candidacy: Candidacy
    coverage: StandingCoverage
    _era: int = field(default=0, init=False)
    _granted: dict[TileId, int] = field(default_factory=dict, init=False)

    async def turn(self, term: Term, beat: Beat, fleet: Fleet) -> bool:
        """Do what is due, and answer whether anything else may be decided about tiles now.

        Raises:
            NotLeading: leadership has ended, or a pod held what the live store knows nothing of: a new era is due.
        """
        if beat.era != self._era or beat.is_restored:
            self._era, self._granted = beat.era, {}
        is_over = beat.now_ms >= term.grace_ends_at_ms
        if beat.pods_with_claims and await self._decide_claims(term, beat, fleet, is_over):
            return beat.is_restored
        if beat.is_restored:
            return True
        if not is_over and await self._may_be_claimed(fleet):
            return False
        if await self._restore_rest(term, beat, fleet):
            return False
        if not await self.live.declare_restored(term.leadership):
            return False
        logger.info("fleet %s: what was lost before era %d is restored", self.candidacy.fleet_id, beat.era)
        return True

    async def _may_be_claimed(self, fleet: Fleet) -> bool:
        # A fleet that never had a tile waits for nobody.
        return len(fleet.tiles) > 0 or bool(await self.coverage.active_sessions())

    async def _decide_claims(self, term: Term, beat: Beat, fleet: Fleet, is_over: bool) -> bool:
        """Answers whether anything was written, or is to be looked at again."""
        waiting = await self.live.read_claims(PODS_PER_TURN)
        for claims in waiting:
            self._check_known(claims, beat)
        # Claims that outlived an era in between wait for their pods to register; those that have just come, for the
        # picture to show that their pods have.
        claims_of = [claims for claims in waiting if fleet.instance_of(claims.pod_id) is not None]
        unseen = {claims.pod_id for claims in waiting if claims.version > fleet.version}
        by_session = _by_session(claims_of)
        standing = await self.coverage.standing(list(by_session))
        written = conflicts = 0
        for session_id, wanted in by_session.items():
            active = standing.get(session_id)
            if active is not None:
                await self._require(session_id, active, fleet)
                lost = self._lost(session_id, active, beat)
                done = await self._write(term, beat, fleet, regain_claimed(lost, fleet, wanted))
                written, conflicts = written + done[0], conflicts + done[1]
        await self._retire_stopped(list(by_session))
        if not conflicts:
            outlived = [claims for claims in waiting if claims not in claims_of and claims.pod_id not in unseen]
            for claims in (*claims_of, *(outlived if is_over else ())):
                await self.live.drop_claims(term.leadership, claims)
        return written + conflicts > 0 or bool(unseen) or len(waiting) < beat.pods_with_claims

    def _check_known(self, claims: PodClaims, beat: Beat) -> None:
        newest = max(claims.held.values(), default=0)
        if newest > beat.published_version:
            self.candidacy.note_seen(newest)
            raise NotLeading(
                f"pod {claims.pod_id!r} held a tile at epoch {newest}, which is above all that the live store knows"
            )

    async def _restore_rest(self, term: Term, beat: Beat, fleet: Fleet) -> bool:
        """Answers whether anything was written, or is to be looked at again."""
        has_written = False
        unknown = 0
        session_ids = sorted({*fleet.tiles.cells_of_session, *await self.coverage.active_sessions()})
        for start in range(0, len(session_ids), SESSIONS_PER_READ):
            chunk = session_ids[start : start + SESSIONS_PER_READ]
            standing = await self.coverage.standing(chunk)
            for session_id in chunk:
                if session_id not in standing:
                    unknown += 1
                    lost = LostSession(session_id, TenantId(""), RegisteredCoverage(), version_of(beat.era, 0))
                elif (active := standing[session_id]) is not None:
                    await self._require(session_id, active, fleet)
                    lost = self._lost(session_id, active, beat)
                else:
                    has_written |= await self._retire(session_id, fleet)
                    continue
                written, conflicts = await self._write(term, beat, fleet, regain_rest(lost, fleet))
                has_written |= written + conflicts > 0
        if unknown:
            logger.warning(
                "the live store has tiles of %d sessions that SQL does not know; they are left alone", unknown
            )
        return has_written

    async def _write(self, term: Term, beat: Beat, fleet: Fleet, regained: Iterable[Regained]) -> tuple[int, int]:
        """Write in batches; answers how many tiles were written, and how many had changed underneath."""
        written = conflicts = 0
        batch: list[tuple[Regained, Mapping[TileId, int]]] = []
        tiles = 0
        for one in regained:
            if batch and tiles + len(one.tiles) > TILES_PER_COMMIT_MAX:
                done = await self._commit(term, beat, fleet, batch)
                written, conflicts, batch, tiles = written + done[0], conflicts + done[1], [], 0
            # The versions that it was decided on: the picture goes on changing while epochs are reserved.
            batch.append((one, {tile_id: _version(fleet, tile_id) for tile_id in one.tiles}))
            tiles += len(one.tiles)
        if batch:
            done = await self._commit(term, beat, fleet, batch)
            written, conflicts = written + done[0], conflicts + done[1]
        return written, conflicts

    async def _commit(
        self, term: Term, beat: Beat, fleet: Fleet, batch: Sequence[tuple[Regained, Mapping[TileId, int]]]
    ) -> tuple[int, int]:
        owners = sum(len(one.owners) for one, _ in batch)
        epoch = await self.live.reserve_versions(term.leadership, owners, fleet.version) if owners else 0
        places: list[list[TileWrite]] = []
        claimed: dict[TileId, int] = {}
        for one, versions in batch:
            place = []
            for tile_id, record in one.tiles.items():
                claim = one.owners.get(tile_id)
                after = record if claim is None else _owned(record, claim, epoch, beat.now_ms)
                if claim is not None:
                    claimed[tile_id], epoch = claim.epoch, epoch + 1
                place.append(TileWrite(tile_id, versions[tile_id], after))
            places.append(place)
        written = conflicts = 0
        for singles, groups in _commits(places):
            committed = await self.live.commit(term.leadership, singles, groups=groups)
            await self.live.keep_leading(term.leadership, self.candidacy.lease_ms)
            conflicts += len(committed.tile_conflicts)
            written += len(singles) + sum(map(len, groups)) - len(committed.tile_conflicts)
            for tile_id in committed.tile_conflicts:
                claimed.pop(tile_id, None)
        self._granted |= claimed
        return written, conflicts

    async def _require(self, session_id: SessionId, active: ActiveCoverage, fleet: Fleet) -> None:
        noted = fleet.tiles.requirements.of_session(session_id)
        if (noted.labels if noted else {}) != active.requirement.labels:
            await self.live.require(session_id, active.requirement)

    async def _retire_stopped(self, session_ids: Sequence[SessionId]) -> None:
        # A session that stopped meanwhile had its tiles released before these came.
        for session_id, active in (await self.coverage.standing(session_ids)).items():
            if active is None:
                await Retirement(self.live, self.view).retire_session(session_id)

    async def _retire(self, session_id: SessionId, fleet: Fleet) -> bool:
        rows = fleet.tiles.rows_of_session(session_id).tolist()
        if all(row in fleet.tiles.retiring for row in rows):
            return False
        await Retirement(self.live, self.view).retire_session(session_id)
        return True

    def _lost(self, session_id: SessionId, active: ActiveCoverage, beat: Beat) -> LostSession:
        return LostSession(session_id, active.tenant_id, active.coverage, version_of(beat.era, 0), self._granted)


def _by_session(waiting: Iterable[PodClaims]) -> dict[SessionId, dict[int, Claim]]:
    """The claims to each cell of each session; of several to one cell, that at the highest epoch."""
    by_session: defaultdict[SessionId, dict[int, Claim]] = defaultdict(dict)
    for claims in waiting:
        for tile_id, epoch in claims.held.items():
            session_id, cell = parse_tile_id(tile_id)
            of_session = by_session[session_id]
            if cell not in of_session or of_session[cell].epoch < epoch:
                of_session[cell] = Claim(claims.pod_id, epoch)
    return dict(by_session)


def _owned(record: TileRecord | None, claim: Claim, epoch: int, now_ms: int) -> TileRecord:
    assert record is not None
    return ownership.regain(record, OwnershipTerm(claim.pod_id, epoch, AssignmentReason.RECOVERED, now_ms))


def _version(fleet: Fleet, tile_id: TileId) -> int:
    row = fleet.tiles.row(tile_id)
    return 0 if row is None else int(fleet.tiles.changed_at[row])


def _commits(places: Sequence[Sequence[TileWrite]]) -> Iterable[tuple[list[TileWrite], list[Sequence[TileWrite]]]]:
    """What one commit can take: single tiles, and groups. A place in more parts than that is written part by part."""
    if len(places) == 1 and len(places[0]) > TILES_PER_COMMIT_MAX:
        for start in range(0, len(places[0]), TILES_PER_COMMIT_MAX):
            yield list(places[0][start : start + TILES_PER_COMMIT_MAX]), []
        return
    yield [place[0] for place in places if len(place) == 1], [place for place in places if len(place) > 1]
