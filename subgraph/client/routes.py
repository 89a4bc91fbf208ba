"""Owns a sender's table of a session's tiles: the tile of a place, and the pod to send its records to.

A record belongs to the tile of its place: the ancestor, among the session's tiles, of the place's cell at the finest H3
resolution. (The coarse cell of the coordinates themselves is another one for 7 % of places.)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import h3.api.basic_int as h3

FINEST_RESOLUTION = 15


class Why(Enum):
    """Why there is no route at the moment."""

    OUTSIDE = "the session has no tile there: register one, and records of the place can go on"
    UNOWNED = "nobody owns the tile: it is about to be given to a pod"
    MOVING = "the owner that was told was refused: the tile's next owner is about to be told"
    OUT_OF_TOUCH = "nothing was heard of the session manager for too long: what was told may be wrong by now"


@dataclass(frozen=True, slots=True)
class Route:
    """Whom the records of a tile are for: send the epoch along, so that a former owner can refuse them."""

    tile_id: str
    pod_id: str
    epoch: int
    is_at_work: bool = True
    """Whether the owner has said that it works on the tile; until then it may refuse, or be slow to answer."""


@dataclass(frozen=True, slots=True)
class NoRoute:
    """There is none now, and why; of which tile, if that much is known."""

    why: Why
    tile_id: str | None = None


class Routes:
    """The tiles of one session, each with its route."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._routes: dict[int, Route | None] = {}
        self._count_of_resolution = [0] * (FINEST_RESOLUTION + 1)

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[str]:
        """The ids of all tiles."""
        return map(self._tile_id, self._routes)

    def tell(self, tile_id: str, pod_id: str | None, epoch: int | None, is_at_work: bool) -> None:
        """A tile is there, and a pod owns it, or none."""
        cell = self._cell(tile_id)
        if cell not in self._routes:
            self._count_of_resolution[h3.get_resolution(cell)] += 1
        self._routes[cell] = None if pod_id is None or epoch is None else Route(tile_id, pod_id, epoch, is_at_work)

    def forget(self, tile_ids: Iterable[str]) -> None:
        """Tiles are gone, or others are in their place."""
        for cell in map(self._cell, tile_ids):
            if cell in self._routes:
                del self._routes[cell]
                self._count_of_resolution[h3.get_resolution(cell)] -= 1

    def tile_at(self, lat: float, lng: float) -> str | None:
        """The tile that records of a place belong to, or None.

        Raises:
            ValueError: latitude or longitude is out of range.
        """
        if not (-90 <= lat <= 90 and -180 <= lng <= 180):
            raise ValueError(f"no place: latitude {lat}, longitude {lng}")
        return self.tile_of(h3.latlng_to_cell(lat, lng, FINEST_RESOLUTION))

    def tile_of(self, cell: int) -> str | None:
        """The tile that records of an H3 cell belong to, or None; also for a cell that is larger than its tiles."""
        finest = h3.get_resolution(cell)
        # Should two nested tiles ever meet, places belong to the larger one.
        for resolution, count in enumerate(self._count_of_resolution[: finest + 1]):
            if count and (tile := h3.cell_to_parent(cell, resolution)) in self._routes:
                return self._tile_id(tile)
        return None

    def route_of(self, tile_id: str) -> Route | NoRoute:
        """Whom a tile's records are for."""
        cell = self._cell(tile_id)
        if cell not in self._routes:
            return NoRoute(Why.OUTSIDE)
        return self._routes[cell] or NoRoute(Why.UNOWNED, tile_id)

    def _cell(self, tile_id: str) -> int:
        return int(tile_id.rpartition(":")[2], 16)

    def _tile_id(self, cell: int) -> str:
        return f"{self._session_id}:{cell:x}"
