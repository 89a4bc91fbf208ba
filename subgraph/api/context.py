"""Owns what a resolver has at hand: the operations, on whose behalf it works, and batched loads."""

from dataclasses import dataclass, field
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader

from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.hand_divisions import HandDivisions
from subgraph.operations.hand_moves import HandMoves
from subgraph.operations.label_rules import LabelRules
from subgraph.operations.notifications import Notifications
from subgraph.operations.operator import Operator
from subgraph.operations.partition import Partition
from subgraph.operations.pods import Pods
from subgraph.operations.rebalancing import Rebalancing
from subgraph.operations.sessions import Caller, Sessions
from subgraph.operations.tile_changes import TileChangeFeed
from subgraph.operations.tile_rules import TileRules


@dataclass(frozen=True, slots=True)
class Services:
    """The operations of one process."""

    sessions: Sessions
    partition: Partition
    label_rules: LabelRules
    pods: Pods
    rebalancing: Rebalancing
    operator: Operator
    hand_moves: HandMoves
    tile_rules: TileRules
    hand_divisions: HandDivisions
    notifications: Notifications
    view: FleetView
    tile_changes: TileChangeFeed
    report_interval_ms: int
    fleet_id: str
    version: str


@dataclass(slots=True)
class Context:
    """One request's context; on a WebSocket, one socket's."""

    services: Services
    caller: Caller
    connection_params: dict[str, Any] | None = None
    session_loader: DataLoader[SessionId, Session | None] = field(init=False)

    def __post_init__(self) -> None:
        # A WebSocket keeps one context for life, so a cached loader would serve stale sessions.
        self.session_loader = DataLoader(self._load_sessions, cache=False)

    async def _load_sessions(self, session_ids: list[SessionId]) -> list[Session | None]:
        found = await self.services.sessions.get_many(self.caller, session_ids)
        return [found.get(session_id) for session_id in session_ids]


Info = strawberry.Info[Context, None]
