"""Owns the queries: each translates its arguments, asks one operation, and translates the answer."""

import strawberry

from subgraph.api.queries.fleet import FleetQueries
from subgraph.api.queries.history import HistoryQueries
from subgraph.api.queries.manager import ManagerQueries
from subgraph.api.queries.sessions import SessionQueries
from subgraph.api.queries.tiles import TileQueries
from subgraph.api.queries.transfer import TransferQueries


@strawberry.type(description="Reads of sessions, tiles, pods and the fleet, none of which changes anything.")
class Query(SessionQueries, TransferQueries, TileQueries, FleetQueries, HistoryQueries, ManagerQueries):
    """All queries: each subject's in a module of its own."""
