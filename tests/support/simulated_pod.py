"""Owns pods that do what they are told over the operations of a process, as quickly as they hear of it."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from subgraph.domain.errors import LeaseLost, NotFound, Unavailable
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentState
from subgraph.operations.fleet.fleet_writes import PodLease
from subgraph.operations.fleet.pod_registering import NewPod, Registered
from subgraph.operations.fleet.pods import Acknowledgement
from tests.support.fleet_process import FleetProcess
from tests.support.model_sink import ModelSink

TURN_SECONDS = 0.03
PHASE_AFTER = {
    AssignmentState.PREPARING: AcknowledgedPhase.READY,
    AssignmentState.ACTIVE: AcknowledgedPhase.ACTIVE,
    AssignmentState.DRAINING: AcknowledgedPhase.RELEASED,
}
EVERYTHING = frozenset(PHASE_AFTER)


class SimulatedPod:
    """One instance of a pod. Between `live` and `die` it renews its lease and does what `does` allows.

    At the sink it raises epochs as any pod must: of a tile and of all that it replaces, before it says that it works.
    """

    def __init__(
        self, process: FleetProcess, pod_id: PodId, capacity: float = 100.0, sink: ModelSink | None = None
    ) -> None:
        self.sink = sink or ModelSink()
        self.process = process
        self.id = pod_id
        self.capacity = capacity
        self.does: Collection[AssignmentState] = EVERYTHING
        self.lease = PodLease(pod_id, "")
        self.is_refused = False
        self.worked: set[tuple[TileId, int]] = set()
        """Tiles and epochs at which this instance said it worked, and was believed."""
        self._living: asyncio.Task[None] | None = None

    async def register(self, held: Mapping[TileId, int] | None = None) -> Registered:
        """Become the pod's one instance."""
        registered = await self.process.registering.register(NewPod(self.id, "test", self.capacity, held=held))
        self.lease = PodLease(self.id, registered.lease_token)
        return registered

    async def live(self, held: Mapping[TileId, int] | None = None) -> "SimulatedPod":
        """Register, with what it holds, and work from now on."""
        await self.register(held)
        self._living = asyncio.create_task(self._turns())
        return self

    async def die(self) -> None:
        """Fall silent."""
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])

    def terms(self, *states: AssignmentState) -> list[TermChange]:
        """The pod's terms in some states, or in any."""
        terms = self.process.view.current().terms_of_pod(self.id)
        return [one for one in terms if not states or one.state in states]

    async def acknowledge(self, *states: AssignmentState) -> list[TermChange]:
        """Do what the terms in some states ask for, and say so."""
        terms = [one for one in self.terms(*states) if _is_open(one)]
        for one in terms:
            if one.state is AssignmentState.ACTIVE:
                self.sink.raise_epochs((one.tile_id, *one.replaces), one.term.epoch)
        acknowledgements = [Acknowledgement(one.tile_id, one.term.epoch, PHASE_AFTER[one.state]) for one in terms]
        noted, _ = await self.process.pods.acknowledge(self.lease, acknowledgements)
        self.worked |= {(one.tile_id, one.term.epoch) for one in noted if one.state is AssignmentState.ACTIVE}
        return terms

    async def _turns(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                try:
                    await self.process.pods.heartbeat(self.lease, None)
                    if self.does:
                        await self.acknowledge(*self.does)
                except (LeaseLost, NotFound):
                    self.is_refused = True
                    return
            await asyncio.sleep(TURN_SECONDS)


def _is_open(change: TermChange) -> bool:
    match change.state:
        case AssignmentState.PREPARING:
            return not change.term.ready
        case AssignmentState.ACTIVE:
            return change.term.acknowledged_at_ms is None
        case _:
            return True
