"""Owns PodAssignment in GraphQL: one term of ownership of one tile by one pod, living or ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from subgraph.api.context import Info
from subgraph.api.descriptions import show_enum
from subgraph.api.scalars import Long
from subgraph.api.scopes import needs
from subgraph.api.types.common import PageInfo, at_ms, page_info
from subgraph.domain.access import Scope
from subgraph.domain.errors import InvalidInput, SessionManagerFailure, Unavailable
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import TileId, assignment_id, parse_assignment_id, parse_tile_id
from subgraph.domain.ownership import AssignmentReason, AssignmentState
from subgraph.operations.fleet.readings import rows_of, term_of
from subgraph.operations.ports import Page

if TYPE_CHECKING:
    from subgraph.api.types.pod import Pod
    from subgraph.api.types.tile import Tile

show_enum(
    AssignmentState,
    name="PodAssignmentState",
    description="Phase of a term of ownership. RELEASED, LOST and ABORTED are final.",
    values={
        AssignmentState.PREPARING: "The next owner is preparing; the current owner keeps working.",
        AssignmentState.ACTIVE: "In force: the pod owns the tile.",
        AssignmentState.DRAINING: "Ownership has passed to another pod; the former owner is finishing its work.",
        AssignmentState.RELEASED: "Ended: the former owner finished draining, or the drain timed out.",
        AssignmentState.LOST: "Ended: the pod was lost, gave the tile up, or did not take it over in time.",
        AssignmentState.ABORTED: "Ended before it came into force: the handoff was cancelled.",
    },
)
show_enum(
    AssignmentReason,
    name="PodAssignmentReason",
    description="Why a tile was assigned to a pod.",
    values={
        AssignmentReason.INITIAL: "The tile is new and had no owner.",
        AssignmentReason.LOAD_BALANCE: "To balance load between pods.",
        AssignmentReason.POD_JOINED: "To give a new pod its share of the load.",
        AssignmentReason.POD_LOST: "The former owner was lost.",
        AssignmentReason.POD_DRAINED: "The former owner is draining or has left.",
        AssignmentReason.TILE_SPLIT: "The tile was split from one that the pod owned.",
        AssignmentReason.TILE_MERGED: "The tile was merged from tiles that the pod owned.",
        AssignmentReason.MANUAL: (
            "A caller moved or pinned the tile, forbade its pod, changed its required labels, or applied a rebalancing "
            "plan."
        ),
        AssignmentReason.RECOVERED: "The pod held the tile when Redis lost its state, and keeps it.",
        AssignmentReason.NOT_TAKEN_OVER: "The former owner did not acknowledge ACTIVE in time.",
    },
)


@strawberry.federation.type(
    keys=["id"],
    description=(
        "A term of ownership of one tile by one pod. Its epoch is a fencing token: a sink accepts a record of a "
        "tile only if its epoch is not below the highest it has seen for that tile."
    ),
)
class PodAssignment:
    """A term of ownership."""

    id: strawberry.ID = strawberry.field(description="`{tileId}@{epoch}`.")
    tile_id: strawberry.ID = strawberry.field(description="Id of the owned tile.")
    pod_id: strawberry.ID = strawberry.field(description="Id of the pod that owns it.")
    state: AssignmentState = strawberry.field(description="The term's phase.")
    reason: AssignmentReason = strawberry.field(description="Why the tile was assigned to this pod.")
    epoch: Long = strawberry.field(
        description=(
            "Fencing token: reserved at PREPARING, in force from the cut-over. It rises with every new owner of "
            "the tile and is never reused."
        )
    )
    pinned: bool = strawberry.field(description="Whether the tile is pinned to this pod.")
    replaces: list[strawberry.ID] = strawberry.field(
        description=(
            "After a split or merge: ids of the tiles that this one replaces and whose former owners may still "
            "write. Before the pod works on the tile and acknowledges ACTIVE, it must raise this epoch at every "
            "sink for them as well as for the tile itself. Empty once an owner has done so."
        )
    )
    assigned_at: datetime = strawberry.field(
        description="When the tile was assigned to the pod: the start of PREPARING."
    )
    acknowledged_at: datetime | None = strawberry.field(
        description="When the pod acknowledged ACTIVE; null until then."
    )
    released_at: datetime | None = strawberry.field(
        description=(
            "When the term ended; null before. It may stay null for about a second, until the end is recorded in "
            "the history."
        )
    )
    load: float = strawberry.field(
        description="The tile's smoothed load when it was assigned to this pod; 0 if none had been reported."
    )

    @strawberry.field(description="The owned tile; null once it has been removed.")
    async def tile(self, info: Info) -> Annotated["Tile", strawberry.lazy("subgraph.api.types.tile")] | None:
        """The tile."""
        from subgraph.api.types.tile import load_tiles

        return (await load_tiles(info, [str(self.tile_id)]))[0]

    @strawberry.field(description="The pod that owns the tile; null once its record has been removed.")
    @needs(Scope.FLEET_READ, Scope.POD)
    def pod(self, info: Info) -> Annotated["Pod", strawberry.lazy("subgraph.api.types.pod")] | None:
        """The pod."""
        from subgraph.api.types.pod import load_pods

        return load_pods(info, [str(self.pod_id)])[0]


@strawberry.type(description="An assignment with its cursor (Relay edge).")
class PodAssignmentEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Cursor of this edge: pass it as `after` to continue from here.")
    node: PodAssignment = strawberry.field(description="The assignment.")


@strawberry.type(description="A page of assignments (Relay connection).")
class PodAssignmentConnection:
    """Relay's connection."""

    edges: list[PodAssignmentEdge] = strawberry.field(description="Edges of this page.")
    page_info: PageInfo = strawberry.field(description="Cursors of this page, and whether there are more.")
    total_count: int | None = strawberry.field(
        description="Number of items in the whole list, exact; null if it is not counted."
    )


def to_assignment(change: TermChange) -> PodAssignment:
    """A term as GraphQL shows it."""
    term = change.term
    return PodAssignment(
        id=strawberry.ID(assignment_id(change.tile_id, term.epoch)),
        tile_id=strawberry.ID(change.tile_id),
        pod_id=strawberry.ID(term.pod_id),
        state=change.state,
        reason=term.reason,
        epoch=Long(term.epoch),
        pinned=change.pinned,
        replaces=[strawberry.ID(tile_id) for tile_id in change.replaces],
        assigned_at=at_ms(term.assigned_at_ms),
        acknowledged_at=None if term.acknowledged_at_ms is None else at_ms(term.acknowledged_at_ms),
        released_at=None if change.ended_at_ms is None else at_ms(change.ended_at_ms),
        load=term.load,
    )


def assignment_page(page: Page[TermChange], after: str | None) -> PodAssignmentConnection:
    """A page of terms as GraphQL shows it."""
    return PodAssignmentConnection(
        edges=[
            PodAssignmentEdge(cursor=cursor, node=to_assignment(change))
            for cursor, change in zip(page.cursors, page.items, strict=True)
        ],
        page_info=page_info(page.cursors, page.has_next, after is not None),
        total_count=page.total_count,
    )


async def load_assignments(info: Info, ids: Sequence[str]) -> list[PodAssignment | SessionManagerFailure | None]:
    """The caller's terms by id: living ones from memory, ended ones from history; null for malformed and absent ids.

    A failure stands where history was needed and did not answer: what lives is known without it.
    """
    from subgraph.api.types.tile import visible_sessions

    services, caller = info.context.services, info.context.caller
    fleet = services.view.current()
    parsed = [_key_of(text) for text in ids]
    visible = await visible_sessions(info, (parse_tile_id(key[0])[0] for key in parsed if key))
    keys = [key if key and parse_tile_id(key[0])[0] in visible else None for key in parsed]
    within_reach = rows_of(fleet, caller, [key[0] for key in keys if key])
    known = {key: term_of(fleet, *key) for key in keys if key and key[0] in within_reach}
    found: dict[tuple[TileId, int], TermChange | SessionManagerFailure] = {
        key: change for key, change in known.items() if change
    }
    sought = list({key for key in keys if key and key not in found})
    if sought:
        try:
            found |= await services.history.terms(caller, sought)
        except Unavailable as failure:
            found |= dict.fromkeys(sought, failure)
    terms = [found.get(key) if key else None for key in keys]
    return [to_assignment(term) if isinstance(term, TermChange) else term for term in terms]


def _key_of(text: str) -> tuple[TileId, int] | None:
    try:
        return parse_assignment_id(text)
    except InvalidInput:
        return None
