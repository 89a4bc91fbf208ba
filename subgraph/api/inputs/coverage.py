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


@strawberry.input(description="What a session's tiles cover: cells, or a GeoJSON polygon and a resolution.")
class TileCoverageInput:
    """A coverage."""

    resolution: int | None = strawberry.field(
        default=None, description="H3 resolution (0 to 15) at which to fill `geoJson`; not for `cells`."
    )
    cells: list[strawberry.ID] | None = strawberry.field(
        default=None, description=f"H3 cells, as text, at most {CELLS_PER_CALL_MAX:,}."
    )
    geo_json: JSON | None = strawberry.field(
        default=None,
        description=(
            "A GeoJSON Polygon or MultiPolygon, or a Feature, FeatureCollection or GeometryCollection of them. It is "
            "filled with the cells whose centre it contains; a polygon that contains none, with those it overlaps."
        ),
    )
    tile_capacity: float | None = strawberry.field(
        default=None, description="The load each tile may carry; by default half the median ready pod's capacity."
    )
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            f"Labels that a pod must bear to have one of these tiles, besides those the session requires; its zone "
            f"counts as the label `zone`. At most {REQUIRED_LABELS_MAX}."
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
