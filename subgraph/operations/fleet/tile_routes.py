"""Owns the feed for senders: the owner of each tile of a session, pushed on change, with heartbeats in between."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence, Set
from dataclasses import dataclass, replace

from subgraph.domain.fleet.picture import Effects, Fleet
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.ports import MonotonicClock

SIGN_OF_LIFE_SECONDS_MAX = 1.0
SIGNS_PER_LEASE = 4
"""Readers believe what they were told for one lease: signs of life must come well within it."""

ROUTES_PER_BATCH_MAX = 5_000


@dataclass(frozen=True, slots=True)
class TileRoute:
    """Who owns a tile. `epoch` is 0 and `pod_id` None while nobody does; `is_at_work`: the owner has said so."""

    tile_id: TileId
    pod_id: PodId | None
    epoch: int
    is_at_work: bool


@dataclass(frozen=True, slots=True)
class RouteBatch:
    """A part of what is told. `begins`: what was told before is void; `is_complete`: nothing up to `version` misses."""

    version: int
    begins: bool = False
    is_complete: bool = True
    routes: Sequence[TileRoute] = ()
    removed: Sequence[TileId] = ()


@dataclass(frozen=True, slots=True)
class TileRoutes:
    """The routes of sessions, as this process knows them."""

    view: FleetView
    clock: MonotonicClock

    async def follow(self, session_id: SessionId) -> AsyncGenerator[RouteBatch, None]:
        """All tiles of a session with their owners, in parts; then every change; every second at least an empty batch.

        A complete batch holds all that this process knows when it is taken: changes that wait are told together.

        Raises:
            Unavailable: this process has lost touch with the live store: whom it knows as owners may be none any more.
            SlowConsumer: the reader fell behind by more than its buffer.
        """
        prefix = f"{session_id}:"
        sign_of_life_seconds = min(SIGN_OF_LIFE_SECONDS_MAX, self.view.lease_ms_max / 1_000 / SIGNS_PER_LEASE)
        with self.view.effects.reader() as effects:
            fleet = self.view.current()
            told_version = fleet.version
            rows = fleet.tiles.rows_in_force(session_id).tolist()
            routes = [_route(fleet, row, fleet.tiles.id_of(row)) for row in rows]
            told_at = self.clock()
            for batch in _in_parts(told_version, routes, (), begins=True):
                yield self._still_complete(batch)
            next_effect: asyncio.Task[Effects] | None = None
            try:
                while True:
                    next_effect = next_effect or asyncio.create_task(_next(effects))
                    await asyncio.wait({next_effect}, timeout=max(0.0, told_at + sign_of_life_seconds - self.clock()))
                    fleet = self.view.current()
                    if next_effect.done():
                        effect, next_effect = next_effect.result(), None
                        concerned = _of_session(effect, prefix)
                        while effect.version != fleet.version:  # more wait, and are there without waiting for them
                            effect = await anext(effects)
                            concerned |= _of_session(effect, prefix)
                        told_version = fleet.version
                        if concerned:
                            told_at = self.clock()
                            for batch in _changes(fleet, concerned):
                                yield self._still_complete(batch)
                    if told_version == fleet.version and self.clock() >= told_at + sign_of_life_seconds:
                        told_at = self.clock()
                        yield RouteBatch(told_version)
            finally:
                if next_effect is not None:
                    next_effect.cancel()
                    await asyncio.wait([next_effect])

    def _still_complete(self, batch: RouteBatch) -> RouteBatch:
        """The last of many parts is as old as their sending took: if more is known by now, that makes it complete."""
        if batch.is_complete and batch.version != self.view.current().version:
            return replace(batch, is_complete=False)
        return batch


async def _next(effects: AsyncIterator[Effects]) -> Effects:
    return await anext(effects)


def _of_session(effect: Effects, prefix: str) -> set[TileId]:
    return {tile_id for tiles in (effect.touched, effect.removed) for tile_id in tiles if tile_id.startswith(prefix)}


def _changes(fleet: Fleet, concerned: Set[TileId]) -> list[RouteBatch]:
    """Tiles as they are now, whatever came of them in between."""
    routes: list[TileRoute] = []
    removed: list[TileId] = []
    for tile_id in sorted(concerned):
        row = fleet.tiles.row(tile_id)
        if row is None or row in fleet.tiles.retiring:
            removed.append(tile_id)
        else:
            routes.append(_route(fleet, row, tile_id))
    return list(_in_parts(fleet.version, routes, removed, begins=False))


def _in_parts(
    version: int, routes: Sequence[TileRoute], removed: Sequence[TileId], *, begins: bool
) -> Iterator[RouteBatch]:
    parts = [routes[start : start + ROUTES_PER_BATCH_MAX] for start in range(0, len(routes), ROUTES_PER_BATCH_MAX)]
    for number, part in enumerate(parts or [()]):
        is_last = number == max(0, len(parts) - 1)
        yield RouteBatch(version, begins and number == 0, is_last, part, tuple(removed) if is_last else ())


def _route(fleet: Fleet, row: int, tile_id: TileId) -> TileRoute:
    tiles = fleet.tiles
    pod_id = fleet.owner_id(row)
    if pod_id is None:
        return TileRoute(tile_id, None, 0, is_at_work=False)
    return TileRoute(tile_id, pod_id, int(tiles.owner_epoch[row]), bool(tiles.owner_acknowledged_ms[row]))
