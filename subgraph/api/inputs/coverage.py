"""Owns the coverage of a session as it is given: cells, or a polygon to fill."""

import asyncio

import strawberry
from strawberry.scalars import JSON

from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.domain.coverage import cells_of_polygon, parse_cells
from subgraph.domain.errors import InvalidInput
from subgraph.domain.labels import REQUIRED_LABELS_MAX
from subgraph.domain.registration import TileTemplate

CELLS_PER_CALL_MAX = 100_000
"""Cells that one call may register; larger coverages come in several calls."""


@strawberry.input(
    description="The area covered by a session's tiles: either H3 cells, or a GeoJSON area and a resolution."
)
class TileCoverageInput:
    """A coverage."""

    resolution: int | None = strawberry.field(
        default=None,
        description="H3 resolution (0 to 15) of the cells that fill `geoJson`; not allowed with `cells`.",
    )
    cells: list[strawberry.ID] | None = strawberry.field(
        default=None, description=f"H3 indexes as hexadecimal strings, at most {CELLS_PER_CALL_MAX:,}."
    )
    geo_json: JSON | None = strawberry.field(
        default=None,
        description=(
            "A GeoJSON Polygon or MultiPolygon, or a Feature, FeatureCollection or GeometryCollection of them. It"
            " is filled with the cells whose centres it contains; a polygon that contains no centre, with the "
            "cells it overlaps."
        ),
    )
    tile_capacity: float | None = strawberry.field(
        default=None, description="The load each tile may carry; by default half the median capacity of READY pods."
    )
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            f"Labels that a pod must have to own these tiles, in addition to those the session requires, at most "
            f"{REQUIRED_LABELS_MAX}. A pod's zone counts as the label `zone`."
        ),
    )

    def to_template(self) -> TileTemplate:
        """What its tiles begin as.

        Raises:
            InvalidInput: a label's key is given twice.
        """
        return TileTemplate(self.tile_capacity, labels_of(self.required_labels, ("coverage", "requiredLabels")))

    async def to_cells(self) -> list[int]:
        """The cells it names. Filling a winding polygon takes a while, so it is done beside the event loop.

        Raises:
            InvalidInput: not exactly one of `cells` and `geoJson` is given, a resolution comes with cells, or what is
                given is malformed or too large.
        """
        if (self.cells is None) == (self.geo_json is None):
            raise InvalidInput("give either cells or geoJson", ("coverage",))
        if self.cells is not None:
            if self.resolution is not None:
                raise InvalidInput("resolution is for geoJson: cells have their own", ("coverage", "resolution"))
            return parse_cells(list(map(str, self.cells)), path=("coverage", "cells"), cells_max=CELLS_PER_CALL_MAX)
        return await asyncio.to_thread(
            cells_of_polygon, self.geo_json, self.resolution, cells_max=CELLS_PER_CALL_MAX, path=("coverage",)
        )
