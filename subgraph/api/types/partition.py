"""Owns a session's tiles in GraphQL: pages of them, a filter, and the partition in numbers."""

import asyncio

import h3.api.basic_int as h3
import strawberry
from strawberry.scalars import JSON

from subgraph.api.arguments import TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX, page_size
from subgraph.api.context import Info
from subgraph.api.scalars import Long
from subgraph.api.types.common import PageInfo, page_info
from subgraph.api.types.tile import Tile, tiles_of_rows, to_tile
from subgraph.domain.coverage import cells_within, read_area
from subgraph.domain.coverage.within import AREA_POSITIONS_MAX
from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.health import TileHealth
from subgraph.domain.ids import PodId, SessionId
from subgraph.domain.limits import check_chosen
from subgraph.operations.fleet.readings import read_rows
from subgraph.operations.fleet.session_tiles import TileQuery, matching, partition_sums, session_rows


@strawberry.input(description="Criteria that tiles must meet; absent ones do not restrict.")
class TileFilter:
    """A filter of tiles."""

    health: list[TileHealth] | None = strawberry.field(default=None, description="Tiles with one of these healths.")
    pod_id: strawberry.ID | None = strawberry.field(default=None, description="Tiles owned by this pod.")
    resolution: int | None = strawberry.field(default=None, description="Tiles of this H3 resolution.")
    assigned: bool | None = strawberry.field(
        default=None, description="Tiles with an owner (true) or without one (false)."
    )
    within: JSON | None = strawberry.field(
        default=None,
        description=(
            "Tiles whose centre lies in this area: a GeoJSON Polygon or MultiPolygon, or a Feature or "
            f"FeatureCollection of them, with at most {AREA_POSITIONS_MAX:,} positions."
        ),
    )


@strawberry.type(description="A tile with its cursor (Relay edge).")
class TileEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Cursor of this edge: pass it as `after` to continue from here.")
    node: Tile = strawberry.field(description="The tile.")


@strawberry.type(description="A page of tiles, ordered by H3 index (Relay connection).")
class TileConnection:
    """Relay's connection."""

    edges: list[TileEdge] = strawberry.field(description="Edges of this page.")
    page_info: PageInfo = strawberry.field(description="Cursors of this page, and whether there are more.")
    total_count: int | None = strawberry.field(
        description="Number of items in the whole list, exact; null if it is not counted."
    )


@strawberry.type(description="Number of tiles with one health.")
class TileHealthCount:
    """A count."""

    health: TileHealth = strawberry.field(description="The health.")
    count: int = strawberry.field(description="Number of tiles.")


@strawberry.type(description="Statistics of a session's tiles.")
class SessionPartition:
    """Sums over a session's tiles."""

    tile_count: int = strawberry.field(description="Number of tiles.")
    unassigned_tiles: int = strawberry.field(description="Number of tiles without an owner.")
    records_per_second: float = strawberry.field(description="Records per second, summed over the tiles' last reports.")
    volume_bytes: Long = strawberry.field(description="Bytes stored, summed over the tiles' last reports.")
    imbalance: float = strawberry.field(
        description="Highest / mean load that this session puts on the pods that own its tiles; 1 is perfect balance."
    )
    tiles_by_health: list[TileHealthCount] = strawberry.field(description="Number of tiles by health, worst first.")


async def tile_page(
    info: Info, session_id: SessionId, first: int | None, after: str | None, wanted: TileFilter | None
) -> TileConnection:
    """A page of a session's tiles, in the order of their cells."""
    size = page_size(first, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX)
    start = _cell_of(after) if after is not None else -1
    services = info.context.services
    query = TileQuery() if wanted is None else await _query(info, session_id, wanted)
    fleet, now_ms = services.view.current(), services.view.now_ms()
    rows = session_rows(fleet, info.context.caller.tenant_id, session_id)
    if wanted is not None:
        rows = matching(fleet, rows, query, now_ms, services.report_interval_ms)
    following = rows[fleet.tiles.cell[rows].searchsorted(start, side="right") :]
    page = read_rows(fleet, following[:size].tolist(), now_ms, services.report_interval_ms)
    cursors = [h3.int_to_str(reading.cell) for reading in page]
    return TileConnection(
        edges=[TileEdge(cursor=cursor, node=to_tile(reading)) for cursor, reading in zip(cursors, page, strict=True)],
        page_info=page_info(cursors, following.size > size, after is not None),
        total_count=rows.size,
    )


def partition_of(info: Info, session_id: SessionId) -> SessionPartition:
    """A session's tiles in numbers."""
    services = info.context.services
    fleet = services.view.current()
    rows = session_rows(fleet, info.context.caller.tenant_id, session_id)
    sums = partition_sums(fleet, rows, services.view.now_ms(), services.report_interval_ms)
    return SessionPartition(
        tile_count=sums.tile_count,
        unassigned_tiles=sums.unassigned_tiles,
        records_per_second=sums.records_per_second,
        volume_bytes=Long(sums.volume_bytes),
        imbalance=sums.imbalance,
        tiles_by_health=[TileHealthCount(health=health, count=count) for health, count in sums.tiles_by_health.items()],
    )


def tiles_of_session(info: Info, session_id: SessionId) -> list[Tile]:
    """All tiles of one of the caller's sessions, in the order of their cells."""
    fleet = info.context.services.view.current()
    return tiles_of_rows(info, session_rows(fleet, info.context.caller.tenant_id, session_id).tolist())


async def _query(info: Info, session_id: SessionId, wanted: TileFilter) -> TileQuery:
    check_chosen("health", wanted.health, ("filter", "health"))
    pod_id = None if wanted.pod_id is None else PodId(str(wanted.pod_id))
    cells = None
    if wanted.within is not None:
        area = read_area(wanted.within, ("filter", "within"))
        fleet = info.context.services.view.current()
        known = fleet.tiles.cell[session_rows(fleet, info.context.caller.tenant_id, session_id)]
        # Of a large session it takes a while, so it is done beside the event loop, on a copy: the fleet goes on.
        cells = await asyncio.to_thread(cells_within, area, known)
    return TileQuery(wanted.health, pod_id, wanted.resolution, wanted.assigned, cells)


def _cell_of(cursor: str) -> int:
    try:
        return int(h3.str_to_int(cursor))
    except (ValueError, OverflowError):
        raise InvalidInput(f"{cursor[:64]!r} is not a cursor of this list", ("after",)) from None
