"""Owns the demo's traffic: replays the flights, finds the tile of every position, registers tiles as traffic comes."""

import asyncio
import time
from typing import Any

import h3.api.basic_int as h3
import numpy as np
from gql import GraphQLRequest, gql
from gql.client import AsyncClientSession

from subgraph.demo.channel import RECORD, TileChannel
from subgraph.demo.replay import PositionRecords, Replay
from subgraph.domain.coverage import Coverage

TILE_RESOLUTION = 3
STEP_SECONDS = 0.25

_REGISTER = gql(
    "mutation Register($input: RegisterTilesInput!) { registerTiles(input: $input) { registered errors { message } } }"
)


class Feeder:
    """Sends every aircraft's positions to the stream of the tile they belong to."""

    def __init__(self, session: AsyncClientSession, session_id: str, channel: TileChannel, replay: Replay) -> None:
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
        """Replay in real steps, until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(STEP_SECONDS)
            now = time.monotonic()
            records = self.replay.advance(now - last)
            last = now
            if len(records):
                await self._send(records)

    async def _send(self, records: PositionRecords) -> None:
        self.aircraft = len(self.replay.flights.aloft(self.replay.second_of_day))
        lats, lngs = records.lat.tolist(), records.lng.tolist()
        tiles = self._coverage.tiles_at(lats, lngs)
        outside = np.flatnonzero(tiles == 0).tolist()
        if outside:
            # The ancestor of the finest cell, as the tile of a place is defined; not the coarse cell of the place.
            finest = (h3.latlng_to_cell(lats[i], lngs[i], 15) for i in outside)
            await self._register({h3.cell_to_parent(cell, TILE_RESOLUTION) for cell in finest})
            tiles = self._coverage.tiles_at(lats, lngs)
        packed = np.empty(len(records), RECORD)
        packed["flight"], packed["second_of_day"] = records.flight, records.second_of_day
        packed["lat"], packed["lng"] = records.lat, records.lng
        order = np.argsort(tiles, kind="stable")
        found, starts = np.unique(tiles[order], return_index=True)
        groups = np.split(packed[order], starts[1:])
        await self._channel.send(
            {
                f"{self._session_id}:{h3.int_to_str(cell)}": group
                for cell, group in zip(found.tolist(), groups, strict=True)
            }
        )

    async def _register(self, cells: set[int]) -> None:
        wanted: dict[str, Any] = {
            "sessionId": self._session_id,
            "coverage": {"cells": [h3.int_to_str(c) for c in cells]},
        }
        answer = (await self._session.execute(GraphQLRequest(_REGISTER, variable_values={"input": wanted})))[
            "registerTiles"
        ]
        if answer["errors"]:
            raise RuntimeError(answer["errors"][0]["message"])
        self._coverage.add(cells)
