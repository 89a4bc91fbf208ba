"""Owns putting together what gives sessions their tiles, over a live store that a test may interrupt."""

from subgraph.operations.coverage.coverage_ports import CoverageRegister
from subgraph.operations.coverage.label_rules import LabelRules
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.coverage.tile_making import TileMaking
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.sessions.session_ports import SessionStore
from subgraph.operations.sessions.sessions import Sessions


def tile_making_of(register: CoverageRegister, live: LiveFleet, view: FleetView) -> TileMaking:
    """What makes the tiles of what is registered, and takes back what is not wanted any more."""
    return TileMaking(register, live, view, Retirement(live, view))


def partition_of(
    sessions: Sessions, store: SessionStore, register: CoverageRegister, live: LiveFleet, view: FleetView
) -> Partition:
    """What registers the coverage of sessions."""
    making = tile_making_of(register, live, view)
    return Partition(sessions, register, making, making.retirement, view, LabelRules(store, sessions, live, view))
