"""Owns Session in GraphQL: an isolated workspace with a lifetime, and the tiles its data is partitioned in."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from subgraph.api.arguments import (
    EVENTS_PAGE_SIZE,
    PAGE_SIZE,
    TILES_PAGE_SIZE,
    After,
    EventTypes,
    PageSize,
    TilesPageSize,
    page_size,
)
from subgraph.api.context import Info
from subgraph.api.data_loads import EventPage, Relatives, RelativesCount
from subgraph.api.descriptions import show_enum
from subgraph.api.scalars import Duration, Long
from subgraph.api.types.common import (
    PageInfo,
    SessionDetail,
    page_info,
    to_details,
)
from subgraph.api.types.event import SessionEventConnection, event_page
from subgraph.api.types.partition import SessionPartition, TileConnection, TileFilter, partition_of, tile_page
from subgraph.api.types.tile import (
    Tile,
    load_tiles,
)
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session as DomainSession
from subgraph.domain.sessions import SessionState
from subgraph.operations.ports import Page

show_enum(
    SessionState,
    name="SessionState",
    description="Where a session stands in its lifecycle.",
    values={
        SessionState.ACTIVE: "It takes new work.",
        SessionState.ENDED: "It is closed, and still readable.",
        SessionState.EXPIRED: "Its time has run out; extendSession revives it.",
        SessionState.DELETED: "It is invisible, until it is restored or retention removes it.",
    },
)
show_enum(
    ExpiryPolicy,
    name="SessionExpiryPolicy",
    description="What renews a session's time.",
    values={
        ExpiryPolicy.FIXED: "Nothing but extending: it expires when its TTL has run out.",
        ExpiryPolicy.SLIDING: "Activity: every change by a caller starts the TTL anew.",
        ExpiryPolicy.NEVER: "It does not expire, and has no TTL.",
    },
)


@strawberry.federation.type(
    keys=["id"],
    description=(
        "An isolated workspace with a lifetime. Its real-time data is partitioned in H3 tiles; the tiles of all "
        "sessions share one fleet of pods."
    ),
)
class Session:
    """A session."""

    id: strawberry.ID = strawberry.field(
        description="Immutable, made by the server; also the Stream API's session key."
    )
    display_name: str = strawberry.field(description="Label, unique in the tenant (Stream API: identifier).")
    tenant_id: strawberry.ID = strawberry.field(description="The tenant it belongs to.")
    owner_id: strawberry.ID = strawberry.field(description="Who created it.")
    external_id: str | None = strawberry.field(
        description="The client's own alias, unique in the tenant and owner; a lookup, never a key."
    )
    title: str | None = strawberry.field(description="At most 60 characters; never a lookup.")
    state: SessionState = strawberry.field(description="Where it stands in its lifecycle.")
    is_main: bool = strawberry.field(description="Whether it is the tenant's live world.")
    revision: int = strawberry.field(description="Rises with every change (optimistic concurrency).")
    data_source: str | None = strawberry.field(description="The data source it belongs to, if any.")
    type: str = strawberry.field(description='What kind of session it is; "Session" by default.')
    version: int = strawberry.field(description="The creator's version number; not the revision.")
    utc_offset: Duration = strawberry.field(description="Offset of its local time from UTC.")
    details: list[SessionDetail] = strawberry.field(description="Small public labels.")
    required_labels: list[SessionDetail] = strawberry.field(
        description="Labels that a pod must bear to have any of its tiles, present or future."
    )
    metadata: JSON = strawberry.field(description="What the creator attached.")
    created_at: datetime = strawberry.field(description="When it was created.")
    updated_at: datetime = strawberry.field(description="When it changed last.")
    last_active_at: datetime = strawberry.field(description="When it was last worked on.")
    expires_at: datetime | None = strawberry.field(description="When its time runs out; null: never.")
    ended_at: datetime | None = strawberry.field(description="When it ended; null while it has not.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted; null while it is not.")
    deleted_by: strawberry.ID | None = strawberry.field(description="Who deleted it.")
    ttl: Duration | None = strawberry.field(
        description="How long it lives after activity or extension; null: for ever."
    )
    expiry_policy: ExpiryPolicy = strawberry.field(description="What renews its time.")
    context: JSON = strawberry.field(description="Working memory: a JSON object, merged key by key.")
    max_history: int = strawberry.field(description="How many messages its working history keeps.")
    token_budget: Long | None = strawberry.field(description="How many tokens its runs may use; null: no budget.")
    tick_interval: Duration | None = strawberry.field(description="How often it ticks in its journal; null: never.")
    copied_from_id: strawberry.Private[SessionId | None] = None

    @strawberry.field(description="The session it is a copy of; null if it is none, or that one is gone.")
    async def copied_from(self, info: Info) -> "Session | None":
        """Its original."""
        if self.copied_from_id is None:
            return None
        original = await info.context.session_loader.load(self.copied_from_id)
        return to_session(original) if original else None

    @strawberry.field(description="The sessions it is an associate of, oldest first.")
    async def parents(self, info: Info, first: PageSize = PAGE_SIZE, after: After = None) -> "SessionConnection":
        """Those right above it."""
        return await _relatives(info, self.id, above=True, first=first, after=after)

    @strawberry.field(description="Its associates (children), oldest first.")
    async def associates(self, info: Info, first: PageSize = PAGE_SIZE, after: After = None) -> "SessionConnection":
        """Those right below it."""
        return await _relatives(info, self.id, above=False, first=first, after=after)

    @strawberry.field(description="Its tiles, in the order of their H3 indexes.")
    async def tiles(
        self, info: Info, first: TilesPageSize = TILES_PAGE_SIZE, after: After = None, filter: TileFilter | None = None
    ) -> TileConnection:
        """Its tiles."""
        return await tile_page(info, SessionId(str(self.id)), first, after, filter)

    @strawberry.field(description="One of its tiles; null where it has none.")
    async def tile(
        self, info: Info, h3_index: Annotated[strawberry.ID, strawberry.argument(description="The H3 cell, as text.")]
    ) -> Tile | None:
        """One tile."""
        return (await load_tiles(info, [f"{self.id}:{h3_index}"]))[0]

    @strawberry.field(description="Its tiles in numbers: counts, load, imbalance, health.")
    def partition(self, info: Info) -> SessionPartition:
        """Sums over its tiles."""
        return partition_of(info, SessionId(str(self.id)))

    @strawberry.field(
        description=(
            "What the journal tells of it, of some types or all, in the order of commits; `first` is at most 100. The "
            "cursors are those of the subscription `sessionEvents`. `totalCount` is null."
        )
    )
    async def events(
        self, info: Info, first: PageSize = EVENTS_PAGE_SIZE, after: After = None, types: EventTypes = None
    ) -> SessionEventConnection:
        """Its part of the journal."""
        chosen = None if types is None else frozenset(types)
        wanted = EventPage(SessionId(str(self.id)), chosen, page_size(first, EVENTS_PAGE_SIZE), after)
        return event_page(await info.context.events_loader.load(wanted), after)

    @classmethod
    async def resolve_references(cls, info: Info, keys: Sequence[dict[str, object]]) -> list["Session | None"]:
        """Sessions by `id`, in one load."""
        ids = [SessionId(str(key.get("id"))) for key in keys]
        found = await info.context.services.sessions.shown(info.context.caller, list(dict.fromkeys(ids)))
        return [to_session(found[session_id]) if session_id in found else None for session_id in ids]


@strawberry.type(description="A session in a page, with its cursor.")
class SessionEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Give it as `after` to continue behind this edge.")
    node: Session = strawberry.field(description="The session.")


@strawberry.type(description="A page of sessions.")
class SessionConnection:
    """Relay's connection."""

    edges: list[SessionEdge] = strawberry.field(description="The sessions of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")
    count: strawberry.Private[Callable[[], Awaitable[int | None]]]

    @strawberry.field(description="How many there are in all: exact, or null where they are too many to be counted.")
    async def total_count(self) -> int | None:
        """How many, counted only where it is asked for."""
        return await self.count()


@strawberry.type(description="Told when a session of a data source starts or stops.")
class SessionNotification:
    """A start or a stop."""

    session_key: strawberry.ID = strawberry.field(description="The session's id.")
    data_source: str | None = strawberry.field(description="The session's data source.")
    occurred_at: datetime = strawberry.field(description="When it happened.")

    @strawberry.field(description="The session as it is now.")
    async def session(self, info: Info) -> Session | None:
        """The session."""
        session = await info.context.session_loader.load(SessionId(str(self.session_key)))
        return to_session(session) if session else None


def to_session(session: DomainSession) -> Session:
    """A session as GraphQL shows it."""
    return Session(
        id=strawberry.ID(session.id),
        display_name=session.display_name,
        tenant_id=strawberry.ID(session.tenant_id),
        owner_id=strawberry.ID(session.owner_id),
        state=session.state,
        is_main=session.is_main,
        revision=session.revision,
        data_source=session.data_source,
        type=session.type,
        version=session.version,
        utc_offset=Duration(session.utc_offset),
        details=to_details(session.details.items()),
        required_labels=to_details(session.required_labels.items()),
        metadata=JSON(session.metadata),
        created_at=session.created_at,
        updated_at=session.updated_at,
        last_active_at=session.last_active_at,
        expires_at=session.expires_at,
        ended_at=session.ended_at,
        deleted_at=session.deleted_at,
        deleted_by=None if session.deleted_by is None else strawberry.ID(session.deleted_by),
        ttl=_duration(session.ttl),
        expiry_policy=session.expiry_policy,
        external_id=session.external_id,
        title=session.title,
        context=JSON(session.context),
        max_history=session.max_history,
        token_budget=None if session.token_budget is None else Long(session.token_budget),
        tick_interval=_duration(session.tick_interval),
        copied_from_id=session.copied_from,
    )


async def _relatives(
    info: Info, session_id: strawberry.ID, *, above: bool, first: int | None, after: str | None
) -> SessionConnection:
    context, own_id = info.context, SessionId(str(session_id))
    page = await context.relatives_loader.load(Relatives(own_id, above, page_size(first, PAGE_SIZE), after))

    async def count() -> int | None:
        return await context.relatives_count_loader.load(RelativesCount(own_id, above))

    return session_page(page, after, count)


def _duration(length: timedelta | None) -> Duration | None:
    return None if length is None else Duration(length)


def session_page(
    page: Page[DomainSession], after: str | None, count: Callable[[], Awaitable[int | None]]
) -> SessionConnection:
    """A page of sessions as GraphQL shows it; `count` counts the whole list."""
    return SessionConnection(
        edges=[
            SessionEdge(cursor=cursor, node=to_session(session))
            for cursor, session in zip(page.cursors, page.items, strict=True)
        ],
        page_info=page_info(page.cursors, page.has_next, after is not None),
        count=count,
    )
