"""Owns an operator's constraints on single tiles: pins, forbidden pods, the end of a quarantine."""

from collections.abc import Callable
from dataclasses import dataclass

from subgraph.domain import tile_rules
from subgraph.domain.access import Caller
from subgraph.domain.errors import NotFound, QuotaExceeded, Unavailable
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.terms import TermChange, living_terms
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.tile_rules import TILES_WITH_FORBIDDEN_PODS_MAX
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import COMMIT_ATTEMPTS_MAX, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet


@dataclass(frozen=True, slots=True)
class TileRules:
    """Rules for single tiles. The planner carries them out, by ordinary handoffs; every ruling is idempotent.

    All raise NotFound if the caller has no such tile, and Unavailable if it keeps changing.
    """

    live: LiveFleet
    view: FleetView

    async def pin(self, caller: Caller, tile_id: TileId, pod_id: PodId) -> TermChange | None:
        """Want a tile on a pod: the planner moves it there, and leaves it there while the pod may keep tiles.

        Returns:
            The owner's term as it then stands; None while nobody owns the tile.

        Raises:
            NotFound: there is no such pod.
            IllegalState: the tile is forbidden there, or the pod lacks labels that the tile requires.
        """
        borne = self._pod(pod_id).record.borne_labels

        def decide(record: TileRecord) -> TileRecord:
            tiles = self.view.current().tiles
            row = tiles.row(tile_id)
            required = tiles.requirements.of(row) if row is not None else ()
            tile_rules.check_place(tile_id, record, pod_id, required, borne)
            return tile_rules.pin(record, pod_id)

        return _owners(tile_id, await self._change(caller, tile_id, decide))

    async def unpin(self, caller: Caller, tile_id: TileId) -> TermChange | None:
        """Let the planner place a tile freely again.

        Returns:
            The owner's term; None while nobody owns the tile.
        """
        return _owners(tile_id, await self._change(caller, tile_id, lambda record: tile_rules.pin(record, None)))

    async def forbid(self, caller: Caller, tile_id: TileId, pod_id: PodId) -> None:
        """Keep a tile off a pod; if it is there, it moves away.

        Raises:
            NotFound: there is no such pod.
            IllegalState: the tile is pinned to that very pod.
            QuotaExceeded: the tile is kept off as many pods as it may be, or as many tiles are as may be.
        """
        self._pod(pod_id)

        def decide(record: TileRecord) -> TileRecord:
            kept_off = len(self.view.current().tiles.forbidden)
            if not record.forbidden and kept_off >= TILES_WITH_FORBIDDEN_PODS_MAX:
                quota = "tiles with forbidden pods in the fleet"
                raise QuotaExceeded(quota, TILES_WITH_FORBIDDEN_PODS_MAX, kept_off + 1, ("tileId",))
            return tile_rules.forbid(tile_id, record, pod_id)

        await self._change(caller, tile_id, decide)

    async def allow(self, caller: Caller, tile_id: TileId, pod_id: PodId) -> None:
        """Let a tile be on a pod again, which need not be there any more."""
        await self._change(caller, tile_id, lambda record: tile_rules.allow(record, pod_id))

    async def release(self, caller: Caller, tile_id: TileId) -> None:
        """End a tile's quarantine, and forget what spoke against it: it is placed at once."""
        await self._change(caller, tile_id, tile_rules.release)

    def _pod(self, pod_id: PodId) -> PodRow:
        pod = self.view.current().pods.get(pod_id)
        if pod is None or not pod.is_known:
            raise NotFound("Pod", pod_id, ("podId",))
        return pod

    async def _change(self, caller: Caller, tile_id: TileId, decide: Callable[[TileRecord], TileRecord]) -> TileRecord:
        for _ in range(COMMIT_ATTEMPTS_MAX):
            stored = (await self.live.read_tiles([tile_id])).get(tile_id)
            if stored is None or not caller.reaches(stored.record.tenant_id) or stored.record.retiring:
                raise NotFound("Tile", tile_id, ("tileId",))
            after = decide(stored.record)
            if after == stored.record:
                return after
            committed = await self.live.commit(None, [TileWrite(tile_id, stored.version, after)])
            if not committed.tile_conflicts:
                await self.view.caught_up(committed.version)
                return after
        raise Unavailable(f"tile {tile_id!r} kept changing; try again", retry_after_seconds=1.0)


def _owners(tile_id: TileId, record: TileRecord) -> TermChange | None:
    return next(iter(living_terms(tile_id, record)), None) if record.owner else None
