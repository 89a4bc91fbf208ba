"""Owns the explanation of a tile's placement in GraphQL: why on its pod, and why on no other live one."""

from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry.scalars import JSON

from subgraph.api.arguments import PAGE_SIZE, page_size
from subgraph.api.context import Info
from subgraph.api.types.common import SessionDetail, to_details
from subgraph.api.types.pod import Pod, load_pods

if TYPE_CHECKING:
    from subgraph.api.types.tile import Tile


@strawberry.type(description="A live pod, evaluated as an owner of a tile.")
class PlacementCandidate:
    """A candidate."""

    pod: Pod = strawberry.field(description="The pod.")
    feasible: bool = strawberry.field(description="Whether the pod satisfies all hard constraints of the tile.")
    rejected_by: list[str] = strawberry.field(
        description=(
            "The violated constraints: QUARANTINED (the tile is in quarantine), LABELS (the pod lacks required "
            "labels), FORBIDDEN (by an operator), PINNED_ELSEWHERE, EVACUATING, NOT_ACCEPTING, FULL_TILES, "
            "OVER_CAPACITY."
        )
    )
    missing_labels: list[SessionDetail] = strawberry.field(
        description="Labels that the tile requires and the pod lacks."
    )
    score: float | None = strawberry.field(
        description=(
            "By how much the higher utilization of the two pods would fall if the tile moved; null if the pod is not "
            "feasible."
        )
    )
    score_terms: JSON = strawberry.field(
        description=(
            "The score's components: utilizationAfter, gain (in utilization), churn (in load), neighborsKept (number "
            "of tiles)."
        )
    )


@strawberry.type(description="Why a tile is on its pod, and how the other live pods compare.")
class PlacementExplanation:
    """An explanation."""

    tile: Annotated["Tile", strawberry.lazy("subgraph.api.types.tile")] = strawberry.field(description="The tile.")
    current: Pod | None = strawberry.field(description="The pod that owns the tile; null if it has no owner.")
    candidates: list[PlacementCandidate] = strawberry.field(description="The live pods, best first.")


def explain(info: Info, tile: "Tile", first: int | None) -> PlacementExplanation:
    """The account of a tile's placement, with so many candidates at most.

    Raises:
        InvalidInput: the size is no page's.
    """
    services, size = info.context.services, page_size(first, PAGE_SIZE)
    candidates = services.manual_moves.explain(tile.reading.id)
    owner = tile.reading.record.owner
    pods = load_pods(info, [candidate.pod_id for candidate in candidates[:size]])
    return PlacementExplanation(
        tile=tile,
        current=load_pods(info, [owner.pod_id])[0] if owner else None,
        candidates=[
            PlacementCandidate(
                pod=pod,
                feasible=candidate.feasible,
                rejected_by=list(candidate.rejected_by),
                missing_labels=to_details(candidate.missing_labels),
                score=candidate.score if candidate.feasible else None,
                score_terms=JSON(dict(candidate.score_terms)),
            )
            for pod, candidate in zip(pods, candidates, strict=False)
            if pod
        ],
    )
