"""Owns the context of a resolver: the operations, the caller, and the data loaders."""

from dataclasses import dataclass, field
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader

from subgraph.api.data_loads import EventPage, Relatives, RelativesCount, TileHistory, load_alike
from subgraph.domain.access import Caller
from subgraph.domain.errors import NotFound, SessionManagerFailure
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import JournalEntry, SessionEventType
from subgraph.domain.sessions import Session
from subgraph.operations.about import About
from subgraph.operations.by_hand.manual_divisions import ManualDivisions
from subgraph.operations.by_hand.manual_moves import ManualMoves
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.by_hand.tile_rules import TileRules
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.coverage.label_rules import LabelRules
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.coverage.unregistering import Unregistering
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.pod_registering import PodRegistering
from subgraph.operations.fleet.pods import Pods
from subgraph.operations.fleet.tile_changes import TileChangeFeed
from subgraph.operations.fleet.tile_routes import TileRoutes
from subgraph.operations.history.churn import ChurnMeter
from subgraph.operations.history.history import History
from subgraph.operations.journal.session_events import SessionEvents
from subgraph.operations.ports import Page
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.session_hierarchy import SessionFamilies
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from subgraph.operations.sessions.session_lookup import SessionLookup
from subgraph.operations.sessions.session_making import SessionMaking
from subgraph.operations.sessions.session_naming import SessionNaming
from subgraph.operations.sessions.session_resolving import SessionResolving
from subgraph.operations.sessions.session_sweeper import SessionSweeper
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.transfer.owner_erasure import OwnerErasure
from subgraph.operations.transfer.session_copying import SessionCopying
from subgraph.operations.transfer.session_transfer import SessionTransfer


@dataclass(frozen=True, slots=True)
class Services:
    """The operations of one process."""

    sessions: Sessions
    lifecycle: SessionLifecycle
    sweeper: SessionSweeper
    families: SessionFamilies
    changes: SessionChanges
    naming: SessionNaming
    making: SessionMaking
    copying: SessionCopying
    resolving: SessionResolving
    session_lookup: SessionLookup
    partition: Partition
    unregistering: Unregistering
    label_rules: LabelRules
    owner_erasure: OwnerErasure
    transfer: SessionTransfer
    pod_registering: PodRegistering
    pods: Pods
    rebalancing: Rebalancing
    idempotency: Idempotency
    operator: Operator
    manual_moves: ManualMoves
    tile_rules: TileRules
    manual_divisions: ManualDivisions
    history: History
    churn: ChurnMeter
    session_events: SessionEvents
    view: FleetView
    tile_changes: TileChangeFeed
    tile_routes: TileRoutes
    report_interval_ms: int
    fleet_id: str
    about: About


@dataclass(slots=True)
class Context:
    """One request's context; on a WebSocket, one socket's."""

    services: Services
    caller: Caller
    connection_params: dict[str, Any] | None = None
    authorization_shown: str | None = None
    """What a socket showed when it was opened, for one that shows nothing in its first message; so below."""
    gateway_secret_shown: str | None = None
    session_loader: DataLoader[SessionId, Session | None] = field(init=False)
    history_loader: DataLoader[TileHistory, Page[TermChange]] = field(init=False)
    events_loader: DataLoader[EventPage, Page[JournalEntry]] = field(init=False)
    relatives_loader: DataLoader[Relatives, Page[Session]] = field(init=False)
    relatives_count_loader: DataLoader[RelativesCount, int] = field(init=False)

    def __post_init__(self) -> None:
        # A WebSocket keeps one context for life, so a cached loader would serve stale sessions.
        self.session_loader = DataLoader(self._load_sessions, cache=False)
        self.history_loader = DataLoader(self._load_histories, cache=False)
        self.events_loader = DataLoader(self._load_events, cache=False)
        self.relatives_loader = DataLoader(self._load_relatives, cache=False)
        self.relatives_count_loader = DataLoader(self._load_relatives_counts, cache=False)

    async def _load_sessions(self, session_ids: list[SessionId]) -> list[Session | None]:
        found = await self.services.sessions.shown(self.caller, session_ids)
        return [found.get(session_id) for session_id in session_ids]

    async def _load_histories(self, wanted: list[TileHistory]) -> list[Page[TermChange] | SessionManagerFailure]:
        return await load_alike(wanted, self.services.history.of_tiles)

    async def _load_events(self, wanted: list[EventPage]) -> list[Page[JournalEntry] | SessionManagerFailure]:
        async def load(
            session_ids: list[SessionId], types: frozenset[SessionEventType] | None, first: int, after: str | None
        ) -> dict[SessionId, Page[JournalEntry] | SessionManagerFailure]:
            pages = await self.services.session_events.pages(self.caller, session_ids, types, first, after)
            # Whoever was seen a moment ago may be gone by now.
            return {one: pages.get(one) or NotFound("Session", one) for one in session_ids}

        return await load_alike(wanted, load)

    async def _load_relatives(self, wanted: list[Relatives]) -> list[Page[Session] | SessionManagerFailure]:
        async def load(
            session_ids: list[SessionId], above: bool, first: int, after: str | None
        ) -> dict[SessionId, Page[Session]]:
            families = self.services.families
            return await families.relatives(self.caller, session_ids, above=above, first=first, after=after)

        return await load_alike(wanted, load)

    async def _load_relatives_counts(self, wanted: list[RelativesCount]) -> list[int | SessionManagerFailure]:
        async def load(session_ids: list[SessionId], above: bool) -> dict[SessionId, int]:
            return await self.services.families.count_relatives(self.caller, session_ids, above=above)

        return await load_alike(wanted, load)


Info = strawberry.Info[Context, None]
