"""Owns the commit of a cycle's decisions: epochs are reserved, then everything is compare-and-set."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from subgraph.domain.fleet.carrying_out import carry_out, epochs_of, tiles_of
from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.settle import at_fault, lost_owners
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.control.commits import commits_of
from subgraph.operations.control.leadership import Term
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, PodWrite
from subgraph.operations.fleet.live_fleet import LiveFleet

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CarryingOut:
    """The decisions of a leader whose lease lasts this long."""

    live: LiveFleet
    handoff: HandoffPolicy
    lease_ms: int

    async def carry_out(
        self,
        term: Term,
        fleet: Fleet,
        now_ms: int,
        settled: Mapping[TileId, TileRecord | None],
        plan: FleetPlan | None,
        lost: frozenset[PodId],
    ) -> int:
        """Write what was settled and planned; what changed since it was decided is left as it is.

        Nothing may be awaited between the decision and this call, so that the picture is still the one decided on.

        Args:
            term: the leader's, in whose name it is written.
            fleet: the picture it was decided on.
            now_ms: the time of the cycle.
            settled: what becomes of tiles anyway.
            plan: what is moved, split and merged besides; None: nothing.
            lost: the pods that this cycle lost.

        Returns:
            How much was not written, because of a change underneath or of another step that was due.

        Raises:
            NotLeading, Unavailable: it stays as far as it came; the next cycle decides anew.
        """
        # The picture goes on changing while epochs are reserved. What is written compares the versions decided on; it
        # would undo what came in between otherwise.
        records = {tile_id: fleet.record(tile_id) for tile_id in tiles_of(plan)} if plan else {}
        versions = {tile_id: _version(fleet, tile_id) for tile_id in (*records, *settled)}
        owners_lost = lost_owners(fleet, settled, lost)
        await self._shun(term, fleet, now_ms, at_fault(fleet, settled, lost))
        count = epochs_of(plan) if plan else 0
        first_epoch = await self.live.reserve_versions(term.leadership, count, fleet.version) if count else 0
        loads = {move.tile_id: fleet.reported_load(move.tile_id) for move in plan.moves} if plan else {}
        done = carry_out(plan, records, settled, first_epoch, now_ms, loads)
        conflicts = done.passed_over
        for alone, groups in commits_of(done, versions, owners_lost, TILES_PER_COMMIT_MAX):
            committed = await self.live.commit(term.leadership, alone, groups=groups)
            # All the tiles of a large fleet take longer to write than the lease lasts.
            await self.live.keep_leading(term.leadership, self.lease_ms)
            # What changed underneath is left as it is: the next cycle, due at once, sees it anew.
            conflicts += len(committed.tile_conflicts)
        return conflicts

    async def _shun(self, term: Term, fleet: Fleet, now_ms: int, slow: Mapping[PodId, int]) -> None:
        """Give no tiles, for a while, to pods that have not taken over what they were given."""
        writes: list[PodWrite] = []
        for pod_id, tiles in slow.items():
            pod = fleet.pods.get(pod_id)
            assert pod is not None
            logger.warning(
                "pod %s has not taken over %d tiles in %g s, and gets none for %g s",
                pod_id,
                tiles,
                self.handoff.take_over_timeout_ms / 1_000,
                self.handoff.shunned_ms / 1_000,
            )
            record = msgspec.structs.replace(pod.record, shunned_until_ms=now_ms + self.handoff.shunned_ms)
            writes.append(PodWrite(pod_id, pod.changed_at, record))
        if writes:
            await self.live.commit(term.leadership, (), writes)


def _version(fleet: Fleet, tile_id: TileId) -> int:
    row = fleet.tiles.row(tile_id)
    return 0 if row is None else int(fleet.tiles.changed_at[row])
