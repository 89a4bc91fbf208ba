"""Owns what becomes of the records of tiles that split or merge: closed off, moved to the tiles in their place, once.

A pod that takes over a tile does it before it works. It may be cut short anywhere and begun again, by it or by the next
owner, and pods that take over parts of the same tile may do it together: the streams' scripts make each step once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import h3.api.basic_int as h3
import numpy as np
from redis.asyncio import Redis

from subgraph.client.manager import Takeover
from subgraph.demo.channel import BATCHES_PER_TILE_MAX, HEADS, RECORD, Records, channel_script, stream_of
from subgraph.domain.coverage import FINEST_RESOLUTION
from subgraph.domain.ids import TileId, parse_tile_id, tile_id
from subgraph.domain.succession import children_of, resolution_of

FINER, SOON = "finer", "soon"
ENTRIES_PER_READ = 50


class Handover:
    """The streams of tiles that others replace."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._close, self._open, self._move = (channel_script(redis, name) for name in ("close", "open", "move"))

    async def take_over(self, takeovers: Sequence[Takeover], accepted: Mapping[str, int]) -> None:
        """Close the streams of the tiles replaced, move what is left in them, and open those in their place.

        Args:
            takeovers: whose epochs the sink has seen already: from then on it accepts nothing more of those replaced.
            accepted: of every tile that is replaced, the last sequence that the sink has accepted.
        """
        opened_at: dict[str, str] = {}
        for one in takeovers:
            # The coarsest first: a part that has split in turn takes nothing more of the whole.
            for replaced in sorted(one.replaces, key=lambda tile: resolution_of(TileId(tile))):
                opened = await self._closed(replaced, one)
                if opened is not None:
                    opened_at[replaced] = opened
        for replaced, opened in opened_at.items():
            await self._move_all(replaced, opened, accepted[replaced])
        for one in takeovers:
            if one.replaces:
                await self._open(keys=[HEADS], args=[one.tile_id])

    async def _closed(self, replaced: str, by: Takeover) -> str | None:
        """Close a stream; returns the epoch at which it was opened, or None where the takeover comes too late."""
        is_split = resolution_of(TileId(replaced)) < resolution_of(TileId(by.tile_id))
        onward, successors = (FINER, children_of(TileId(replaced))) if is_split else (by.tile_id, (by.tile_id,))
        opened = (await self._close(keys=[HEADS], args=[replaced, by.epoch, onward, *successors])).decode()
        return None if opened == "-1" else str(opened)

    async def _move_all(self, replaced: str, opened: str, accepted: int) -> None:
        head = (BATCHES_PER_TILE_MAX, replaced, opened)
        closed = await self._onward([replaced])
        while True:
            entries: Any = await self._redis.xrange(stream_of(replaced), count=ENTRIES_PER_READ)
            if not entries:
                done = await self._move(keys=[HEADS, stream_of(replaced)], args=[*head, "", accepted])
                if done != b"GONE":
                    return
            for entry_id, fields in entries:
                records = np.frombuffer(fields[b"records"], RECORD)
                last = int(entry_id.partition(b"-")[0])
                left = records[max(0, len(records) - (last - accepted)) :] if last > accepted else records[:0]
                parts = _parts(replaced, left, closed)
                arguments = [word for tile, part in parts.items() for word in (tile, len(part), part.tobytes())]
                keys = [HEADS, stream_of(replaced), *map(stream_of, parts)]
                done = (await self._move(keys=keys, args=[*head, entry_id, accepted, *arguments])).decode()
                if done == "OPEN":
                    return
                if done not in ("MOVED", "GONE"):
                    closed = await self._onward([*closed, done])
                    break  # the entry is read again, and goes further

    async def _onward(self, tiles: Sequence[str]) -> dict[str, str]:
        """Where the records of those of the streams go that are closed."""
        heads: Any = await self._redis.hmget(HEADS, list(tiles))
        onward = {tile: head.decode().split("|", 3)[3] for tile, head in zip(tiles, heads, strict=True) if head}
        return {tile: where for tile, where in onward.items() if where not in ("", SOON)}


def _parts(replaced: str, records: Records, closed: Mapping[str, str]) -> dict[str, Records]:
    """The records by the tiles that they go to."""
    finest = [h3.latlng_to_cell(lat, lng, FINEST_RESOLUTION) for lat, lng in zip(*_places(records), strict=True)]
    targets = np.array([_target(replaced, cell, closed) for cell in finest], np.str_)
    return {str(target): records[targets == target] for target in dict.fromkeys(targets.tolist())}


def _places(records: Records) -> tuple[list[float], list[float]]:
    return records["lat"].tolist(), records["lng"].tolist()


def _target(replaced: str, finest: int, closed: Mapping[str, str]) -> str:
    tile = replaced
    while tile in closed:
        if closed[tile] == FINER:
            session_id, cell = parse_tile_id(tile)
            tile = tile_id(session_id, h3.cell_to_parent(finest, h3.get_resolution(cell) + 1))
        else:
            tile = closed[tile]
    return tile
