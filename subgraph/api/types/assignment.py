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
    description="Where a term of ownership stands. It has ended with RELEASED, LOST or ABORTED.",
    values={
        AssignmentState.PREPARING: "The next owner prepares to take over; the present one works on.",
        AssignmentState.ACTIVE: "In force: its pod owns the tile.",
        AssignmentState.DRAINING: "The former owner finishes what it has.",
        AssignmentState.RELEASED: "Ended: the former owner finished, or its time to finish was over.",
        AssignmentState.LOST: (
            "Ended with its pod, or because its pod let go of the tile or did not take it over in time."
        ),
        AssignmentState.ABORTED: "Ended before it came into force.",
    },
)
show_enum(
    AssignmentReason,
    name="PodAssignmentReason",
    description="Why a tile was given to a pod.",
    values={
        AssignmentReason.INITIAL: "It is new, and nobody had it before.",
        AssignmentReason.LOAD_BALANCE: "Another pod had too much, or too little.",
        AssignmentReason.POD_JOINED: "A new pod had room.",
        AssignmentReason.POD_LOST: "The pod that had it was lost.",
        AssignmentReason.POD_DRAINED: "The pod that had it drains, or left.",
        AssignmentReason.TILE_SPLIT: "The pod had the tile that this one is a part of.",
        AssignmentReason.TILE_MERGED: "The pod had the tiles that this one was merged from.",
        AssignmentReason.MANUAL: "An operator moved or pinned it.",
        AssignmentReason.RECOVERED: "The pod held it when the fleet's live state was lost, and keeps it.",
        AssignmentReason.NOT_TAKEN_OVER: (
            "The pod before it had it for longer than it may, and did not acknowledge ACTIVE."
        ),
    },
)


@strawberry.federation.type(
    keys=["id"],
    description=(
        "One term of ownership of one tile by one pod. Its epoch is the fencing token: a sink accepts a record of a "
        "tile only with an epoch at least as high as the highest it has seen."
    ),
)
class PodAssignment:
    """A term of ownership."""

    id: strawberry.ID = strawberry.field(description="`{tileId}@{epoch}`.")
    tile_id: strawberry.ID = strawberry.field(description="The tile that is owned.")
    pod_id: strawberry.ID = strawberry.field(description="The pod that owns it.")
    state: AssignmentState = strawberry.field(description="Where this term stands.")
    reason: AssignmentReason = strawberry.field(description="Why the tile was given to this pod.")
    epoch: Long = strawberry.field(
        description=(
            "Fencing token: reserved at PREPARING, in force from the cut-over, rising per tile for ever, never reused."
        )
    )
    pinned: bool = strawberry.field(description="Whether the tile is pinned to this pod.")
    replaces: list[strawberry.ID] = strawberry.field(
        description=(
            "After a split or merge, the tiles that this one came from and whose former owners may still write: raise "
            "this epoch at every sink for them as for the tile itself, before you work on it and acknowledge ACTIVE. "
            "Empty once an owner has."
        )
    )
    assigned_at: datetime = strawberry.field(description="When the term was reserved.")
    acknowledged_at: datetime | None = strawberry.field(
        description="When the pod acknowledged that it works on the tile; null until then."
    )
    released_at: datetime | None = strawberry.field(
        description=(
            "When the term ended; null while it lives, and until its end is recorded if this process has not seen it."
        )
    )
    load: float = strawberry.field(
        description="The tile's smoothed load when it was given to this pod; 0 if it had not reported."
    )

    @strawberry.field(description="The tile that is owned; null once it is gone.")
    async def tile(self, info: Info) -> Annotated["Tile", strawberry.lazy("subgraph.api.types.tile")] | None:
        """The tile."""
        from subgraph.api.types.tile import load_tiles

        return (await load_tiles(info, [str(self.tile_id)]))[0]

    @strawberry.field(description="The pod that owns the tile; null once it is forgotten.")
    @needs(Scope.FLEET_READ, Scope.POD)
    def pod(self, info: Info) -> Annotated["Pod", strawberry.lazy("subgraph.api.types.pod")] | None:
        """The pod."""
        from subgraph.api.types.pod import load_pods

        return load_pods(info, [str(self.pod_id)])[0]


@strawberry.type(description="An assignment in a page, with its cursor.")
class PodAssignmentEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Give it as `after` to continue behind this edge.")
    node: PodAssignment = strawberry.field(description="The assignment.")


@strawberry.type(description="A page of assignments.")
class PodAssignmentConnection:
    """Relay's connection."""

    edges: list[PodAssignmentEdge] = strawberry.field(description="The assignments of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")
    total_count: int | None = strawberry.field(description="How many there are in all: exact, or null.")


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
