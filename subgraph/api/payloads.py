"""Owns the payloads of mutations: what came of them, and their expected failures as data."""

from datetime import datetime

import strawberry

from subgraph.api.context import Info
from subgraph.api.descriptions import show_enum
from subgraph.api.error_types import SessionManagerError
from subgraph.api.scalars import Long
from subgraph.api.types.assignment import PodAssignment
from subgraph.api.types.fleet import Fleet
from subgraph.api.types.pod import Pod, load_pods
from subgraph.api.types.rebalance_plan import RebalancePlan
from subgraph.api.types.session import Session
from subgraph.api.types.tile import Tile
from subgraph.domain.sessions.titles import TitleSource

show_enum(
    TitleSource,
    name="SessionTitleSource",
    description="Where a title came from.",
    values={
        TitleSource.PROVIDER: "A title provider made it.",
        TitleSource.FALLBACK: "It is the beginning of the query.",
        TitleSource.EXISTING: "There was one, which stays.",
        TitleSource.USER: "It was set by hand.",
    },
)

_ERRORS = "Expected failures, with their facts; empty on success."


@strawberry.type(description="A chat client's session, or why not.")
class ResolveSessionPayload:
    """Of resolveSession."""

    session: Session | None = strawberry.field(default=None, description="The session, ACTIVE.")
    client_session_id: str | None = strawberry.field(
        default=None, description="The id to use from now on; it is the session's external id."
    )
    is_new: bool = strawberry.field(default=False, description="Whether the session was made by this call.")
    was_collision: bool = strawberry.field(
        default=False,
        description="Whether the id that was asked for is another owner's, so that it is another one now.",
    )
    message_count: int = strawberry.field(
        default=0,
        description=(
            "How many prompts were sent under the id, this one included, since it was not used for more than 24 hours."
        ),
    )
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A session, or why not.")
class SessionPayload:
    """Of the mutations that create, change, end, extend and restore a session."""

    session: Session | None = strawberry.field(default=None, description="The session as it is after the mutation.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A session's title, or why not.")
class TitleSessionPayload:
    """Of titleSession."""

    session: Session | None = strawberry.field(default=None, description="The session as it is after the mutation.")
    title: str | None = strawberry.field(default=None, description="Its title.")
    source: TitleSource | None = strawberry.field(default=None, description="Where the title came from.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="What was erased of an owner and what is left, or why not.")
class EraseSessionOwnerPayload:
    """Of eraseSessionOwner."""

    sessions: int = strawberry.field(default=0, description="How many sessions were removed, or would be.")
    residues: int = strawberry.field(
        default=0,
        description=(
            "How many records of all stores bear the owner's id, or that of one of its sessions, after the erasure; in "
            "a dry run: now. If any are left, ask again: pods may take long to let go of tiles. Else they are what "
            "others wrote."
        ),
    )
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A deleted session, or why not.")
class DeleteSessionPayload:
    """Of deleteSession."""

    session_id: strawberry.ID | None = strawberry.field(default=None, description="The session.")
    deleted_at: datetime | None = strawberry.field(
        default=None, description="When it was deleted; null if it is removed for good."
    )
    purged: bool = strawberry.field(default=False, description="Whether it is removed for good.")
    new_main: Session | None = strawberry.field(
        default=None, description="The tenant's main session from now on, if this one was."
    )
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="What a clean-up did, or why not.")
class CleanUpSessionsPayload:
    """Of cleanUpExpiredSessions."""

    expired: int = strawberry.field(default=0, description="Sessions whose time had run out.")
    purged: int = strawberry.field(default=0, description="Sessions that are removed for good.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A tile, or why not.")
class TilePayload:
    """Of forbidTile, allowTile and releaseTile."""

    tile: Tile | None = strawberry.field(default=None, description="The tile as it is after the mutation.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="Tiles, or why not.")
class TilesPayload:
    """Of registerTiles, unregisterTiles, requireTileLabels, splitTile and mergeTiles."""

    tiles: list[Tile] = strawberry.field(default_factory=list, description="The tiles in question, as they are now.")
    registered: int = strawberry.field(default=0, description="How many of them are new.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A pod, or why not.")
class PodPayload:
    """Of cordonPod, uncordonPod, drainPod and deregisterPod."""

    pod: Pod | None = strawberry.field(default=None, description="The pod as it is after the mutation.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A registered pod, or why not.")
class RegisterPodPayload:
    """Of registerPod."""

    pod: Pod | None = strawberry.field(default=None, description="The pod.")
    lease_token: strawberry.ID | None = strawberry.field(
        default=None, description="The identity of this instance, required in every further call."
    )
    version: Long | None = strawberry.field(default=None, description="The version `assignments` are of.")
    assignments: list[PodAssignment] = strawberry.field(default_factory=list, description="What the pod is to do.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A renewed lease, or why not.")
class HeartbeatPodPayload:
    """Of heartbeatPod."""

    pod_id: strawberry.Private[str | None] = None
    version: Long | None = strawberry.field(
        default=None, description="The newest version that concerns this pod: if it is ahead of yours, subscribe again."
    )
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)

    @strawberry.field(description="The pod.")
    def pod(self, info: Info) -> Pod | None:
        """The pod, looked up only where it is asked for: every pod sends heartbeats all the time."""
        return load_pods(info, [self.pod_id])[0] if self.pod_id is not None else None


@strawberry.type(description="How much of a report was taken, or why not.")
class ReportTileLoadsPayload:
    """Of reportTileLoads."""

    accepted: int = strawberry.field(default=0, description="Entries taken.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="Acknowledged terms, or why not.")
class AcknowledgeAssignmentsPayload:
    """Of acknowledgeAssignments."""

    assignments: list[PodAssignment] = strawberry.field(
        default_factory=list, description="The acknowledged terms that live on, as they are now."
    )
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="The plan that was applied, or why not.")
class RebalancePayload:
    """Of rebalance."""

    plan: RebalancePlan | None = strawberry.field(default=None, description="The plan, now being carried out.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="A pod's term of ownership of a tile, or why not.")
class PodAssignmentPayload:
    """Of moveTile, pinTile and unpinTile."""

    assignment: PodAssignment | None = strawberry.field(
        default=None, description="The term as it now stands; null while nobody owns the tile."
    )
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.type(description="The fleet, or why not.")
class FleetPayload:
    """Of pauseRebalancing and resumeRebalancing."""

    fleet: Fleet | None = strawberry.field(default=None, description="The fleet after the mutation.")
    errors: list[SessionManagerError] = strawberry.field(default_factory=list, description=_ERRORS)
