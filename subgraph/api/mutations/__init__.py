"""Owns the mutations: one input, a payload with errors. Expected failures are data; what is not expected is masked."""

import strawberry

from subgraph.api.mutations.erasure import ErasureMutations
from subgraph.api.mutations.fleet import FleetMutations
from subgraph.api.mutations.hierarchy import HierarchyMutations
from subgraph.api.mutations.placement import PlacementMutations
from subgraph.api.mutations.pods import PodMutations
from subgraph.api.mutations.sessions import SessionMutations
from subgraph.api.mutations.tiles import TileMutations
from subgraph.api.mutations.transfer import TransferMutations


@strawberry.type(
    description="All changes. Expected failures are items of `errors` in the payload, with a code and facts."
)
class Mutation(
    SessionMutations,
    HierarchyMutations,
    TransferMutations,
    ErasureMutations,
    TileMutations,
    PlacementMutations,
    PodMutations,
    FleetMutations,
):
    """All mutations: each subject's in a module of its own."""
