"""Owns the demo's traffic: replays the flights, finds the tile of every position, registers tiles as traffic comes."""

import asyncio
import time
from typing import Any

import h3.api.basic_int as h3
import numpy as np
from gql import GraphQLRequest, gql
from gql.client import AsyncClientSession

from subgraph.demo.channel import RECORD, Records, TileChannel
from subgraph.demo.replay import PositionRecords, Replay
from subgraph.demo.waiting import Waiting
from subgraph.domain.coverage import Coverage

TILE_RESOLUTION = 3
STEP_SECONDS = 0.25
HELD_SECONDS_MAX = 30.0
"""For how long records wait until their tile's stream is open, or it is known which tiles are in its place."""
RETRY_SECONDS = 0.05
STEP_SECONDS_MAX = 2.0
"""What is missed while nothing answers is not made up for: the day goes on where it was, in steps of this at most."""

_REGISTER = gql(
    "mutation Register($input: RegisterTilesInput!) { registerTiles(input: $input) { "
    "tiles { h3Index } errors { code message } } }"
)
_REPLACED = gql("query Replaced($id: ID!) { tile(id: $id) { replacedBy { h3Index } } }")


class Feeder:
    """Sends every aircraft's positions to the stream of the tile they belong to."""

    def __init__(
        self,
        session: AsyncClientSession,
        session_id: str,
        channel: TileChannel,
        replay: Replay,
        resolution: int = TILE_RESOLUTION,
        waiting: Waiting | None = None,
    ) -> None:
        self._resolution = resolution
        self._waiting = waiting or Waiting()
        self._left = np.empty(0, RECORD)
        self._session = session
        self._session_id = session_id
        self._channel = channel
        self._coverage = Coverage()
        self.replay = replay
        self.aircraft = 0

    @property
    def tile_count(self) -> int:
        """Tiles that traffic has reached."""
        return len(self._coverage)

    async def run(self) -> None:
        """Replay in real steps, until cancelled; while the server or Redis does not answer, wait."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(STEP_SECONDS)
            now = time.monotonic()
            records = self.replay.advance(min(now - last, STEP_SECONDS_MAX))
            last = now
            if len(records):
                self.aircraft = len(self.replay.flights.aloft(self.replay.second_of_day))
                self._left = _packed(records)
                await self._waiting.until_done("traffic", self._send_left)

    async def _send_left(self) -> None:
        give_up_at = time.monotonic() + HELD_SECONDS_MAX
        while len(self._left):
            batches = await self._by_tile(self._left)
            closed = await self._channel.send({self._tile_id(cell): batch for cell, batch in batches.items()})
            held = [(cell, batch) for cell, batch in batches.items() if self._tile_id(cell) in closed]
            self._left = np.concatenate([np.empty(0, RECORD), *(batch for _, batch in held)])
            for cell, _ in held:
                await self._follow(cell)
            if len(self._left) and time.monotonic() > give_up_at:
                raise TimeoutError(f"nobody has taken over {self._tile_id(held[0][0])} for {HELD_SECONDS_MAX:g} s")

    async def _by_tile(self, packed: Records) -> dict[int, Records]:
        """The records by the cells of their tiles; tiles are registered where there is none."""
        # By the places as they are on the wire: whoever reads them must come to the same tile.
        lats, lngs = packed["lat"].tolist(), packed["lng"].tolist()
        tiles = self._coverage.tiles_at(lats, lngs)
        outside = np.flatnonzero(tiles == 0).tolist()
        if outside:
            # The ancestor of the finest cell, as the tile of a place is defined; not the coarse cell of the place.
            finest = (h3.latlng_to_cell(lats[i], lngs[i], 15) for i in outside)
            await self._register({h3.cell_to_parent(cell, self._resolution) for cell in finest})
            tiles = self._coverage.tiles_at(lats, lngs)
        order = np.argsort(tiles, kind="stable")
        found, starts = np.unique(tiles[order], return_index=True)
        return dict(zip(found.tolist(), np.split(packed[order], starts[1:]), strict=True))

    async def _follow(self, cell: int) -> None:
        """Learn which tiles are in the place of one whose stream is closed; it may also be about to be opened again."""
        request = GraphQLRequest(_REPLACED, variable_values={"id": self._tile_id(cell)})
        tile = (await self._session.execute(request))["tile"]
        now = [h3.str_to_int(one["h3Index"]) for one in tile["replacedBy"]] if tile else []
        if now:
            self._coverage.remove([cell, *(inner for one in now for inner in self._coverage.tiles_within(one))])
            self._coverage.add(now)
        else:
            await asyncio.sleep(RETRY_SECONDS)

    def _tile_id(self, cell: int) -> str:
        return f"{self._session_id}:{h3.int_to_str(cell)}"

    async def _register(self, cells: set[int]) -> None:
        wanted: dict[str, Any] = {
            "sessionId": self._session_id,
            "coverage": {"cells": [h3.int_to_str(c) for c in cells]},
        }
        answer = (await self._session.execute(GraphQLRequest(_REGISTER, variable_values={"input": wanted})))[
            "registerTiles"
        ]
        for error in answer["errors"]:
            raise (ConnectionError if error["code"] == "UNAVAILABLE" else RuntimeError)(error["message"])
        # Not those asked for: where a tile has split since, its parts cover the place.
        tiles = [h3.str_to_int(tile["h3Index"]) for tile in answer["tiles"]]
        self._coverage.remove([inner for tile in tiles for inner in self._coverage.tiles_within(tile)])
        self._coverage.add(tiles)


def _packed(records: PositionRecords) -> Records:
    packed = np.empty(len(records), RECORD)
    packed["flight"], packed["second_of_day"] = records.flight, records.second_of_day
    packed["lat"], packed["lng"] = records.lat, records.lng
    return packed
