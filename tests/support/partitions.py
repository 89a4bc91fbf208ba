"""Owns putting together what gives sessions their tiles, over a live store that a test may interrupt."""

from subgraph.operations.coverage_ports import CoverageRegister
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.label_rules import LabelRules
from subgraph.operations.live_fleet import LiveFleet
from subgraph.operations.partition import Partition
from subgraph.operations.retirement import Retirement
from subgraph.operations.session_ports import SessionStore
from subgraph.operations.sessions import Sessions
from subgraph.operations.tile_making import TileMaking


def tile_making_of(register: CoverageRegister, live: LiveFleet, view: FleetView) -> TileMaking:
    """What makes the tiles of what is registered, and takes back what is not wanted any more."""
    return TileMaking(register, live, view, Retirement(live, view))


def partition_of(
    sessions: Sessions, store: SessionStore, register: CoverageRegister, live: LiveFleet, view: FleetView
) -> Partition:
    """What registers the coverage of sessions."""
    making = tile_making_of(register, live, view)
    return Partition(sessions, register, making, making.retirement, view, LabelRules(store, sessions, live, view))
