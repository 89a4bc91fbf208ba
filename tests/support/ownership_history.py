"""Owns everything that was ever announced of the tiles of a fleet, and the promises that hold for any such history."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

from subgraph.domain.coverage import Coverage
from subgraph.domain.fleet.changes import FleetChange, FleetSnapshot
from subgraph.domain.ids import PodId, SessionId, TileId, parse_tile_id
from subgraph.domain.ownership import TileRecord
from subgraph.operations.fleet.live_fleet import LiveFleet


@dataclass(frozen=True, slots=True)
class Moment:
    """A tile as a change left it; None: the change removed it."""

    version: int
    tile_id: TileId
    record: TileRecord | None


class OwnershipHistory:
    """Follows a fleet from its beginning. A gap ends the test that follows, since then nothing can be promised."""

    def __init__(self, live: LiveFleet) -> None:
        self.moments: list[Moment] = []
        self._live = live
        self._following: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def begin(self) -> "OwnershipHistory":
        """Follow from now on."""
        self._following = asyncio.create_task(self._follow())
        await self._begun.wait()
        return self

    async def end(self) -> None:
        """Follow no longer."""
        assert self._following is not None
        assert not self._following.done()
        self._following.cancel()
        await asyncio.wait([self._following])

    def of(self, tile_id: TileId) -> list[Moment]:
        """What became of one tile, in order."""
        return [moment for moment in self.moments if moment.tile_id == tile_id]

    def check(self) -> None:
        """No epoch ever had two owners, whoever came later came at a higher one, and no place ever had two tiles."""
        self._check_places()
        owner_of: dict[tuple[TileId, int], PodId] = {}
        newest: dict[TileId, int] = {}
        for moment in self.moments:
            owner = moment.record.owner if moment.record else None
            if owner is None:
                continue
            assert owner_of.setdefault((moment.tile_id, owner.epoch), owner.pod_id) == owner.pod_id, moment
            assert owner.epoch >= newest.get(moment.tile_id, 0), moment
            newest[moment.tile_id] = owner.epoch

    def _check_places(self) -> None:
        """Of the tiles in force none contains another, and what replaces a tile has all of its place at once."""
        coverages: defaultdict[SessionId, Coverage] = defaultdict(Coverage)
        for _, moments in groupby(self.moments, key=lambda moment: moment.version):
            left: list[tuple[SessionId, int]] = []
            came: list[tuple[SessionId, int]] = []
            for moment in moments:
                session_id, cell = parse_tile_id(moment.tile_id)
                if moment.record is not None and not moment.record.retiring:
                    came.append((session_id, cell))
                    continue
                if cell in coverages[session_id] and moment.record is not None and moment.record.retired_at_ms:
                    left.append((session_id, cell))
                coverages[session_id].remove([cell])
            for session_id, cell in came:
                coverages[session_id].add([cell])  # a ValueError where it lies inside another, or around it
            for session_id, cell in left:
                assert coverages[session_id].covers(cell) or coverages[session_id].fills(cell), (session_id, cell)

    async def _follow(self) -> None:
        previous = 0
        async for told in self._live.follow():
            if isinstance(told, FleetSnapshot):
                self._begun.set()
                previous = told.version
            if isinstance(told, FleetChange):
                assert told.previous == previous
                previous = told.version
                self.moments += [Moment(told.version, tile_id, record) for tile_id, record in told.tiles.items()]
