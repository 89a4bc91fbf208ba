"""Owns a simulated process of the server: the operations as shipped, on a wire to the store's twin, without an API."""

import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import SessionId
from subgraph.domain.loads import LoadMetric
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.suspicion import QuarantinePolicy
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.control.control_cycle import ControlCycle
from subgraph.operations.control.control_loop import ControlLoop
from subgraph.operations.control.cycle_facts import CycleFacts
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.control.recovery import Recovery
from subgraph.operations.coverage.coverage_ports import ActiveCoverage
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.pod_assignments import PodAssignments
from subgraph.operations.fleet.pod_registering import PodRegistering
from subgraph.operations.fleet.pods import Pods
from tests.simulation.network import Network, Stream, Unanswered
from tests.simulation.virtual_time import Process, VirtualLoop
from tests.support.coverage_in_memory import CoverageInMemory
from tests.support.store_twin import Hears, StoreTwin, Told
from tests.support.twin_live_fleet import TwinLiveFleet

T = TypeVar("T")

FLEET = "simulated"
STORE_ANSWER_SECONDS_MAX = 5.0
RECONNECT_SECONDS = 0.25

# Who is slow to take over keeps the tile for longer than faults last: the checker sees who works, and not who has said
# so. Tiles that are taken from slow owners are among the orders of steps that exploration/ tries.
PATIENCE = HandoffPolicy(prepare_timeout_ms=4_000, tell_again_ms=2_000, drain_timeout_ms=4_000)
QUARANTINE = QuarantinePolicy(losses_enough=2, first_ms=1_000, longest_ms=3_000)
PLACEMENT = PlacementPolicy(BalancePolicy(trigger=1.6, target=1.4), cool_down_ms=1_000)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a simulated fleet is set."""

    pod_lease_ms: int = 3_000
    pod_lease_ms_max: int = 3_000
    leader_lease_ms: int = 2_000
    cycle_seconds: float = 4.0
    handoff: HandoffPolicy = PATIENCE
    placement: PlacementPolicy = PLACEMENT
    quarantine: QuarantinePolicy = QUARANTINE


class StoreWire:
    """A process's connections to the store: one for calls, one on which it listens."""

    def __init__(self, network: Network, loop: VirtualLoop, process: Process, store: StoreTwin) -> None:
        self._network = network
        self._loop = loop
        self._process = process
        self._store = store
        self._heard: dict[Hears, Hears] = {}

    async def carry(self, step: Callable[[], T]) -> T:
        """Have a step done by the store."""
        try:
            return await self._network.ask(self._process, "redis", step, STORE_ANSWER_SECONDS_MAX)
        except Unanswered:
            raise Unavailable("the store does not answer", retry_after_seconds=1.0) from None

    @asynccontextmanager
    async def listen(self, hears: Hears) -> AsyncIterator[None]:
        """Hear what is published, as far as it arrives."""
        stream = Stream(self._network, self._loop, "redis", self._process)

        def published(told: Told) -> None:
            stream.tell(partial(hears, told))

        try:
            self._heard[hears] = published
            await self.carry(lambda: self._store.listeners.update({published: None}))
            yield
        finally:
            del self._heard[hears]
            self._store.listeners.pop(published, None)

    def reconnect(self) -> None:
        """The store began another run: its listeners are connected again after a while, and missed what came before."""
        self._loop.call_later(RECONNECT_SECONDS, self._listen_again, context=self._process.context)

    def _listen_again(self) -> None:
        if self._process.is_alive:
            self._store.listeners.update(dict.fromkeys(self._heard.values()))


class SqlWire:
    """The fleet register and what is registered of sessions, at the other end of a network."""

    def __init__(
        self, network: Network, process: Process, register: dict[str, int], coverage: CoverageInMemory
    ) -> None:
        self._coverage = coverage
        self._network = network
        self._process = process
        self._register = register

    async def incarnation(self, fleet_id: str) -> int:
        """The current incarnation."""
        return await self._ask(lambda: self._register.get(fleet_id, 0))

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        """Raise it above all there were, and return the new incarnation."""

        def add() -> int:
            self._register[fleet_id] = max(self._register.get(fleet_id, 0), above) + 1
            return self._register[fleet_id]

        return await self._ask(add)

    async def active_sessions(self) -> list[SessionId]:
        """The sessions that have not stopped."""
        return await self._ask(self._coverage.active)

    async def standing(self, session_ids: Sequence[SessionId]) -> dict[SessionId, ActiveCoverage | None]:
        """What is registered of those that there are; None for one that has stopped."""
        return await self._ask(lambda: self._coverage.standing_of(session_ids))

    async def _ask(self, step: Callable[[], T]) -> T:
        try:
            return await self._network.ask(self._process, "sql", step, STORE_ANSWER_SECONDS_MAX)
        except Unanswered:
            raise Unavailable("SQL does not answer", retry_after_seconds=1.0) from None


class Server:
    """One process of the server, from its start to its end."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        process: Process,
        store: StoreTwin,
        register: SqlWire,
        pace: Pace,
        chance: random.Random,
        clock: Callable[[], float],
        observe_cycle: Callable[[CycleFacts], None],
    ) -> None:
        def new_token() -> str:
            return f"{process.name}:{chance.getrandbits(64):x}"

        self.process = process
        self.wire = StoreWire(network, loop, process, store)
        self.live = TwinLiveFleet(store, self.wire)
        self.view = FleetView(self.live, pace.pod_lease_ms_max, LoadMetric.RECORDS, clock)
        self.registering = PodRegistering(
            self.live, self.view, pace.pod_lease_ms, pace.pod_lease_ms_max, new_token, pace.quarantine
        )
        self.pods = Pods(self.live, self.view)
        self.assignments = PodAssignments(self.view)
        self.operator = Operator(self.live, self.view)
        self.rebalancing = Rebalancing(self.live, self.view, pace.placement)
        self.candidacy = Candidacy(
            self.live, register, self.view, FLEET, process.name, pace.leader_lease_ms, pace.pod_lease_ms_max, new_token
        )
        cycle = ControlCycle(
            self.live,
            self.view,
            self.candidacy,
            Recovery(self.live, self.view, self.candidacy, register),
            pace.placement,
            pace.handoff,
            observe_cycle,
            clock,
            quarantine=pace.quarantine,
        )
        self._control_loop = ControlLoop(self.view, self.candidacy, cycle, pace.cycle_seconds, clock)
        self.failures: list[str] = []
        """Why background tasks ended, which none of them may."""
        self._on_end: list[Callable[[], None]] = []

    def start(self) -> None:
        """Follow the fleet, and compete to lead it."""
        self._run("fleet-view", self.view.run())
        self._run("control-loop", self._control_loop.run())

    def on_end(self, notice: Callable[[], None]) -> None:
        """Have somebody notice when the process ends: the machine resets its connections."""
        self._on_end.append(notice)

    def kill(self) -> None:
        """End at once. The leader's lease runs on until it ends by itself."""
        self.process.kill()
        for notice in self._on_end:
            notice()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self.process.run(work, name)
        task.add_done_callback(lambda done: self._note_end(name, None if done.cancelled() else done.exception()))

    def _note_end(self, name: str, error: BaseException | None) -> None:
        if self.process.is_alive:
            self.failures.append(f"{name} of {self.process.name} has died: {error!r}")
