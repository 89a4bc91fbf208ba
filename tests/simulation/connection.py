"""Owns how a simulated pod reaches the servers: the calls that `SessionManager` promises, each to any of them."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from subgraph.client.manager import (
    CallRefused,
    ChangeTold,
    LeaseRefused,
    OwnedTerm,
    Superseded,
    TermTold,
    TileLoad,
    Unreachable,
)
from subgraph.domain.errors import LeaseLost, NotFound, SessionManagerFailure, Unavailable
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import AcknowledgedPhase
from subgraph.operations.fleet.fleet_writes import PodLease
from subgraph.operations.fleet.pod_assignments import AssignmentStep
from subgraph.operations.fleet.pod_registering import NewPod
from subgraph.operations.fleet.pods import Acknowledgement
from subgraph.operations.ports import SlowConsumer
from tests.simulation.network import Network, Stream, Unanswered
from tests.simulation.server import Server
from tests.simulation.virtual_time import Process, VirtualLoop

T = TypeVar("T")

ANSWER_SECONDS_MAX = 2.0
"""As the client's own connection."""


class PodConnection:
    """The session manager as one process of a pod reaches it, over a network and a balancer of calls."""

    def __init__(
        self,
        network: Network,
        loop: VirtualLoop,
        process: Process,
        servers: Callable[[], Sequence[Server]],
        chance: random.Random,
        note_registration: Callable[[], None],
        note_bug: Callable[[str], None],
    ) -> None:
        self._network = network
        self._loop = loop
        self._process = process
        self._servers = servers
        self._chance = chance
        self._note_registration = note_registration
        self._note_bug = note_bug

    async def register(self, registration: dict[str, Any]) -> tuple[str, ChangeTold]:
        """Register."""
        wanted = NewPod(
            PodId(registration["id"]),
            registration["service"],
            registration["capacity"],
            tiles_max=registration["maxTiles"],
            held={TileId(one["tileId"]): one["epoch"] for one in registration["held"]},
        )
        self._note_registration()
        done = await self._call(lambda server: server.registering.register(wanted))
        return done.lease_token, ChangeTold(done.version, None, is_snapshot=True, terms=_terms(done.assignments))

    async def heartbeat(self, pod_id: str, token: str, applied_version: int) -> int:
        """Renew the lease."""
        lease = PodLease(PodId(pod_id), token)
        return await self._call(lambda server: server.pods.heartbeat(lease, applied_version))

    async def report(self, pod_id: str, token: str, loads: Sequence[TileLoad]) -> None:
        """Report loads."""
        lease = PodLease(PodId(pod_id), token)
        batch = LoadBatch(
            lease.pod_id,
            [load.tile_id for load in loads],
            [load.epoch for load in loads],
            [load.records_per_second for load in loads],
            [load.bytes_per_second for load in loads],
            [load.volume_bytes for load in loads],
            [load.backlog for load in loads],
        )
        await self._call(lambda server: server.pods.report(lease, batch))

    async def acknowledge(self, pod_id: str, token: str, terms: Sequence[OwnedTerm], phase: str) -> None:
        """Acknowledge."""
        lease = PodLease(PodId(pod_id), token)
        said = [Acknowledgement(TileId(tile_id), epoch, AcknowledgedPhase(phase)) for tile_id, epoch in terms]
        await self._call(lambda server: server.pods.acknowledge(lease, said))

    async def drain(self, pod_id: str) -> None:
        """Ask for the pod's tiles to be moved away."""
        await self._call(lambda server: server.operator.drain(PodId(pod_id)))

    async def deregister(self, pod_id: str, token: str) -> None:
        """Leave."""
        await self._call(lambda server: server.pods.deregister(PodLease(PodId(pod_id), token)))

    async def follow(self, pod_id: str, token: str, after_version: int | None) -> AsyncGenerator[ChangeTold, None]:
        """The pod's desired state from now on, from whichever server answers."""
        server = self._chance.choice(self._servers())
        inbox: asyncio.Queue[ChangeTold | Exception] = asyncio.Queue()
        feeds: list[asyncio.Task[None]] = []

        async def feed(stream: Stream) -> None:
            try:
                async for step in server.assignments.follow(PodId(pod_id), token, after_version):
                    told = _change(step)
                    stream.tell(partial(inbox.put_nowait, told))
            except (SessionManagerFailure, SlowConsumer) as failure:
                ended = self._as_client_sees_it(failure)
                stream.tell(lambda: inbox.put_nowait(ended))

        async def begin() -> None:
            stream = Stream(self._network, self._loop, server.process.site, self._process)
            feeds.append(server.process.run(feed(stream)))
            server.on_end(lambda: stream.tell(lambda: inbox.put_nowait(Unreachable("the connection was reset"))))

        def end() -> None:
            for one in feeds:
                one.cancel()

        try:
            await self._reach(server, begin)
            while True:
                told = await inbox.get()
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self._network.send(self._process.site, server.process.site, server.process, end)

    async def _call(self, work: Callable[[Server], Awaitable[T]]) -> T:
        server = self._chance.choice(self._servers())

        async def done() -> T:
            return await work(server)

        return await self._reach(server, done)

    async def _reach(self, server: Server, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await self._network.call(self._process, server.process, work, ANSWER_SECONDS_MAX)
        except Unanswered:
            raise Unreachable("no answer") from None
        except Exception as failure:
            raise self._as_client_sees_it(failure) from failure

    def _as_client_sees_it(self, failure: Exception) -> Exception:
        match failure:
            case LeaseLost(superseded=True):
                return Superseded(failure.message)
            case LeaseLost() | NotFound():
                return LeaseRefused(failure.message)
            case Unavailable() | SlowConsumer():
                return Unreachable(str(failure))
            case SessionManagerFailure():
                return CallRefused(failure.message)
            case _:
                self._note_bug(f"a server answered a pod with {failure!r}")
                return Unreachable(str(failure))


def _change(step: AssignmentStep) -> ChangeTold:
    return ChangeTold(step.version, step.previous_version, step.is_snapshot, _terms(step.terms))


def _terms(terms: Sequence[TermChange]) -> tuple[TermTold, ...]:
    return tuple(TermTold(one.tile_id, one.term.epoch, one.state.value, one.replaces) for one in terms)
