"""Owns the inputs about tiles."""

import strawberry

from subgraph.api.inputs.coverage import TileCoverageInput
from subgraph.api.inputs.label import SessionDetailInput
from subgraph.domain.coverage import parse_cell
from subgraph.domain.labels import REQUIRED_LABELS_MAX
from subgraph.operations.coverage.unregistering import SESSIONS_PER_CALL_MAX
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX


@strawberry.input(description="Tiles to register for a session.")
class RegisterTilesInput:
    """Tiles to register."""

    session_id: strawberry.ID = strawberry.field(description="The session.")
    coverage: TileCoverageInput = strawberry.field(description="The cells or area to cover.")


@strawberry.input(description="Tiles, and labels that their pods must have.")
class RequireTileLabelsInput:
    """Tiles and labels."""

    tile_ids: list[strawberry.ID] = strawberry.field(description=f"The tiles, at most {TILES_PER_COMMIT_MAX:,}.")
    required_labels: list[SessionDetailInput] = strawberry.field(
        description=(
            "Labels that a pod must have to own these tiles, in addition to those the session requires, at most "
            f"{REQUIRED_LABELS_MAX}. Replaces the tiles' former list."
        )
    )


@strawberry.input(description="A tile and a pod.")
class PlaceTileInput:
    """A tile to place."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    pod_id: strawberry.ID = strawberry.field(description="The pod.")


@strawberry.input(description="A tile.")
class TileRefInput:
    """A tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")


@strawberry.input(description="Tiles, possibly of several sessions.")
class TileRefsInput:
    """Tiles."""

    tile_ids: list[strawberry.ID] = strawberry.field(
        description=f"The tiles, at most {TILES_PER_COMMIT_MAX:,}, of at most {SESSIONS_PER_CALL_MAX} sessions."
    )


@strawberry.input(description="The tiles of a session that together cover a coarser cell.")
class MergeTilesInput:
    """Tiles to merge."""

    session_id: strawberry.ID = strawberry.field(description="The session.")
    parent: strawberry.ID = strawberry.field(description="H3 index of the parent cell, as a hexadecimal string.")

    def to_cell(self) -> int:
        """The parent's cell.

        Raises:
            InvalidInput: it is no H3 cell.
        """
        return parse_cell(str(self.parent), ("parent",))
