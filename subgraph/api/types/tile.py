"""Owns Tile in GraphQL: a hexagon of a session's data, its load, its health and who owns it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Optional

import h3.api.basic_int as h3
import strawberry

from subgraph.api.arguments import PAGE_SIZE, After, PageSize, page_size
from subgraph.api.context import Info
from subgraph.api.data_loads import TileHistory
from subgraph.api.descriptions import show_enum
from subgraph.api.scalars import Long
from subgraph.api.scopes import needs
from subgraph.api.types.assignment import (
    PodAssignment,
    PodAssignmentConnection,
    assignment_page,
    to_assignment,
)
from subgraph.api.types.common import SessionDetail, at_ms, to_details
from subgraph.api.types.placement import PlacementExplanation, explain
from subgraph.api.types.tile_facts import HexCell, TileCoordinate, TileLoad, TileLoss
from subgraph.domain.access import Scope
from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.divisibility import successors_of
from subgraph.domain.fleet.health import TileHealth
from subgraph.domain.fleet.terms import living_terms
from subgraph.domain.ids import SessionId, TileId, parse_tile_id, tile_id
from subgraph.domain.ownership import AssignmentState
from subgraph.domain.succession import children_of, parent_of
from subgraph.operations.fleet.readings import TileReading, read_retired, read_rows, rows_of
from subgraph.operations.fleet.tile_access import sessions_with_visible_tiles

if TYPE_CHECKING:
    from subgraph.api.types.session import Session

show_enum(
    TileHealth,
    name="TileHealth",
    description="Health of a tile: the first of these that applies.",
    values={
        TileHealth.UNASSIGNED: "It has no owner.",
        TileHealth.STALE: "Its load has not been reported for 3 report intervals.",
        TileHealth.OVERLOADED: "Its utilization is above 1.0.",
        TileHealth.DEGRADED: "Its utilization is above 0.8.",
        TileHealth.HEALTHY: "None of the above applies.",
    },
)


@strawberry.federation.type(
    keys=["id", "sessionId h3Index"],
    description="An H3 cell of a session's data, owned by at most one pod at a time.",
)
class Tile:
    """A tile."""

    reading: strawberry.Private[TileReading]
    id: strawberry.ID = strawberry.field(description="`{sessionId}:{h3Index}`.")
    session_id: strawberry.ID = strawberry.field(description="The session it belongs to.")
    h3_index: strawberry.ID = strawberry.field(description="The H3 index of the cell, as a hexadecimal string.")

    @strawberry.field(description="The session it belongs to.")
    async def session(self, info: Info) -> Annotated["Session", strawberry.lazy("subgraph.api.types.session")] | None:
        """The session."""
        from subgraph.api.types.session import to_session

        session = await info.context.session_loader.load(self.reading.session_id)
        return to_session(session) if session else None

    @strawberry.field(description="The cell as an entity that other subgraphs can extend.")
    def cell(self) -> HexCell:
        """The cell."""
        return HexCell(h3_index=self.h3_index)

    @strawberry.field(description="H3 resolution, 0 (coarsest) to 15 (finest).")
    def resolution(self) -> int:
        """The resolution."""
        return int(h3.get_resolution(self.reading.cell))

    @strawberry.field(description="Centre of the cell.")
    def center(self) -> TileCoordinate:
        """The centre."""
        lat, lng = h3.cell_to_latlng(self.reading.cell)
        return TileCoordinate(lat=lat, lng=lng)

    @strawberry.field(description="Corners of the cell, counter-clockwise.")
    def boundary(self) -> list[TileCoordinate]:
        """The corners."""
        return [TileCoordinate(lat=lat, lng=lng) for lat, lng in h3.cell_to_boundary(self.reading.cell)]

    @strawberry.field(description="Adjacent tiles of the same session and resolution.")
    def neighbors(self, info: Info) -> list["Tile"]:
        """The neighbours."""
        reading = self.reading
        ring = [cell for cell in h3.grid_disk(reading.cell, 1) if cell != reading.cell]
        return _in_force(known_tiles(info, [tile_id(reading.session_id, cell) for cell in ring]))

    @strawberry.field(
        description=(
            "The tile one resolution coarser: the one it was split from, as long as its record is kept, or the "
            "one it is being merged into. Null if there is none."
        )
    )
    def parent(self, info: Info) -> Optional["Tile"]:
        """The tile around it."""
        parent = parent_of(self.reading.id)
        return None if parent is None else known_tiles(info, [parent])[0]

    @strawberry.field(description="Tiles one resolution finer that it was split into; empty unless it was split.")
    def children(self, info: Info) -> list["Tile"]:
        """The tiles inside it."""
        return _in_force(known_tiles(info, children_of(self.reading.id)))

    @strawberry.field(
        description=(
            "When it was replaced by other tiles, or its session stopped; null while it is in force. Its owner "
            "drains it, then it is removed; a replaced tile can still be found by its id for a while."
        )
    )
    def retired_at(self) -> datetime | None:
        """When it went out of force."""
        record = self.reading.record
        if record.retired_at_ms is not None:
            return at_ms(record.retired_at_ms)
        since_ms = record.draining.draining_since_ms if record.retiring and record.draining else None
        return None if since_ms is None else at_ms(since_ms)

    @strawberry.field(description="The tiles that replaced it in a split or merge; empty while it is in force.")
    def replaced_by(self, info: Info) -> list["Tile"]:
        """The tiles in its place."""
        if not self.reading.record.retiring:
            return []
        fleet = info.context.services.view.current()
        return _in_force(known_tiles(info, successors_of(fleet, self.reading.id)))

    @strawberry.field(description="Health, derived from owner, reports and utilization.")
    def health(self) -> TileHealth:
        """The health."""
        return self.reading.health

    @strawberry.field(description="The tile's reported load.")
    def load(self) -> TileLoad:
        """The load."""
        reading = self.reading
        return TileLoad(
            records_per_second=reading.records_per_second,
            bytes_per_second=reading.bytes_per_second,
            backlog=Long(reading.backlog),
            volume_bytes=Long(reading.volume_bytes),
            smoothed=reading.smoothed or 0.0,
            reported_at=None if reading.reported_at_ms is None else at_ms(reading.reported_at_ms),
        )

    @strawberry.field(
        description=(
            "The load it may carry: `tileCapacity` of its coverage, by default half the median capacity of READY "
            "pods; 0: unknown."
        )
    )
    def capacity(self) -> float:
        """The capacity."""
        return self.reading.capacity

    @strawberry.field(description="Smoothed load / capacity.")
    def utilization(self) -> float:
        """The utilization."""
        return self.reading.utilization

    @strawberry.field(
        description=(
            "Labels that a pod must have to own it: its own and its session's. A pod's zone counts as the label `zone`."
        )
    )
    def required_labels(self) -> list[SessionDetail]:
        """The labels."""
        return to_details(self.reading.required)

    @strawberry.field(description="Ids of the pods that an operator has forbidden for it.")
    def forbidden_pod_ids(self) -> list[strawberry.ID]:
        """The forbidden pods."""
        return [strawberry.ID(pod_id) for pod_id in self.reading.record.forbidden]

    @strawberry.field(
        description=(
            "Until when it is in quarantine, without an owner, because several pods in succession were lost soon "
            "after they took it over; null if it is not. `releaseTile` and `moveTile` end the quarantine."
        )
    )
    def quarantined_until(self) -> datetime | None:
        """The end of its quarantine."""
        until_ms = self.reading.quarantined_until_ms
        return None if until_ms is None else at_ms(until_ms)

    @strawberry.field(
        description=(
            "Pods that were recently lost soon after they took it over. Cleared once a pod has owned it for long "
            "enough."
        )
    )
    def early_losses(self) -> list[TileLoss]:
        """The losses that speak against it."""
        suspicion = self.reading.record.suspicion
        return [
            TileLoss(pod_id=strawberry.ID(loss.pod_id), at=at_ms(loss.at_ms))
            for loss in (suspicion.losses if suspicion else ())
        ]

    @strawberry.field(description="The current owner's term; null if it has no owner.")
    def assignment(self) -> PodAssignment | None:
        """The term in force."""
        return self._term(AssignmentState.ACTIVE)

    @strawberry.field(description="The next owner's term while a handoff is being prepared; null otherwise.")
    def handoff(self) -> PodAssignment | None:
        """The next term."""
        return self._term(AssignmentState.PREPARING)

    @strawberry.field(
        description=(
            "Its terms of ownership, newest first, including the current one; null while SQL is unavailable. A "
            "term appears about a second after its assignment. `totalCount` is null."
        )
    )
    async def history(
        self, info: Info, first: PageSize = PAGE_SIZE, after: After = None
    ) -> PodAssignmentConnection | None:
        """Its terms."""
        wanted = TileHistory(self.reading.id, page_size(first, PAGE_SIZE), after)
        return assignment_page(await info.context.history_loader.load(wanted), after)

    @strawberry.field(description="Why the tile is on its pod, and how every other live pod compares, best first.")
    @needs(Scope.FLEET_READ)
    def explanation(self, info: Info, first: PageSize = PAGE_SIZE) -> PlacementExplanation:
        """The account of its placement."""
        return explain(info, self, first)

    def _term(self, state: AssignmentState) -> PodAssignment | None:
        living = living_terms(self.reading.id, self.reading.record)
        return next((to_assignment(change) for change in living if change.state is state), None)

    @classmethod
    async def resolve_references(cls, info: Info, keys: Sequence[dict[str, object]]) -> list["Tile | None"]:
        """Tiles by `id`, or by `sessionId` and `h3Index`."""
        ids = [str(key["id"]) if "id" in key else f"{key.get('sessionId')}:{key.get('h3Index')}" for key in keys]
        return await load_tiles(info, ids)


def to_tile(reading: TileReading) -> Tile:
    """A tile as GraphQL shows it."""
    return Tile(
        reading=reading,
        id=strawberry.ID(reading.id),
        session_id=strawberry.ID(reading.session_id),
        h3_index=strawberry.ID(h3.int_to_str(reading.cell)),
    )


def tiles_of_rows(info: Info, rows: Sequence[int]) -> list[Tile]:
    """The tiles of some rows, in their order."""
    services = info.context.services
    fleet = services.view.current()
    return [to_tile(reading) for reading in read_rows(fleet, rows, services.view.now_ms(), services.report_interval_ms)]


async def load_tiles(info: Info, ids: Sequence[str]) -> list[Tile | None]:
    """Tiles by id, also retired ones; null for an id that is malformed or absent, or one the caller may not see."""
    session_of = {known: parse_tile_id(known)[0] for known in map(_well_formed, ids) if known}
    visible = await visible_sessions(info, session_of.values())
    shown = iter(known_tiles(info, [tile for tile in ids if session_of.get(TileId(tile)) in visible]))
    return [next(shown) if session_of.get(TileId(tile)) in visible else None for tile in ids]


def known_tiles(info: Info, ids: Sequence[str]) -> list[Tile | None]:
    """Tiles of sessions that the caller is known to see, by id, also retired ones; null for an absent one."""
    wanted = [TileId(tile) for tile in ids]
    fleet = info.context.services.view.current()
    found = rows_of(fleet, info.context.caller, wanted)
    tiles = dict(zip(found, tiles_of_rows(info, list(found.values())), strict=True))
    retired = (read_retired(fleet, tile) for tile in wanted if tile not in tiles)
    tiles |= {reading.id: to_tile(reading) for reading in retired if reading}
    return [tiles.get(tile) for tile in wanted]


async def visible_sessions(info: Info, session_ids: Iterable[SessionId]) -> frozenset[SessionId]:
    """Those of the sessions whose tiles and terms there are for the caller."""
    return await sessions_with_visible_tiles(info.context.caller, session_ids, info.context.session_loader.load_many)


def _in_force(tiles: Sequence[Tile | None]) -> list[Tile]:
    return [tile for tile in tiles if tile and not tile.reading.record.retiring]


def _well_formed(text: str) -> TileId | None:
    try:
        parse_tile_id(text)
    except InvalidInput:
        return None
    return TileId(text)
