"""Owns pods as services run them: the pod client on the operations of a process, and work for a real sink."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from subgraph.client.manager import (
    ChangeTold,
    LeaseRefused,
    OwnedTerm,
    Superseded,
    Takeover,
    TermTold,
    TileLoad,
    Unreachable,
)
from subgraph.client.pod import PodClient, PodRegistration
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import EpochRefused, SinkRecord, SinkWrite
from subgraph.domain.errors import LeaseLost, NotFound, Unavailable
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import AcknowledgedPhase
from subgraph.operations.fleet.fleet_writes import PodLease
from subgraph.operations.fleet.pod_assignments import PodAssignments
from subgraph.operations.fleet.pod_registering import NewPod
from subgraph.operations.fleet.pods import Acknowledgement
from tests.support.fleet_process import FleetProcess
from tests.support.polling import eventually

WORK_SECONDS = 0.02


class LocalManager:
    """The session manager as a pod sees it, without HTTP: the process that `reach` names is asked, while it runs."""

    def __init__(self, reach: Callable[[], FleetProcess]) -> None:
        self._reach = reach

    def _process(self) -> FleetProcess:
        process = self._reach()
        if process.ended.is_set():
            raise Unreachable("the process has ended")
        return process

    async def register(self, registration: Mapping[str, Any]) -> tuple[str, ChangeTold]:
        held = {TileId(one["tileId"]): one["epoch"] for one in registration["held"]}
        with _told():
            done = await self._process().registering.register(
                NewPod(PodId(registration["id"]), "test", registration["capacity"], held=held)
            )
        terms = tuple(TermTold(one.tile_id, one.term.epoch, one.state.value, one.replaces) for one in done.assignments)
        return done.lease_token, ChangeTold(done.version, None, is_snapshot=True, terms=terms)

    async def heartbeat(self, pod_id: str, token: str, applied_version: int) -> int:
        with _told():
            return await self._process().pods.heartbeat(PodLease(PodId(pod_id), token), applied_version)

    async def report(self, pod_id: str, token: str, loads: Sequence[TileLoad]) -> None:
        zeros = [0] * len(loads)
        rates = [load.records_per_second for load in loads]
        ids, epochs = [load.tile_id for load in loads], [load.epoch for load in loads]
        batch = LoadBatch(PodId(pod_id), ids, epochs, rates, [0.0] * len(loads), zeros, zeros)
        with _told():
            await self._process().pods.report(PodLease(PodId(pod_id), token), batch)

    async def acknowledge(self, pod_id: str, token: str, terms: Sequence[OwnedTerm], phase: str) -> None:
        said = [Acknowledgement(TileId(tile_id), epoch, AcknowledgedPhase(phase)) for tile_id, epoch in terms]
        with _told():
            await self._process().pods.acknowledge(PodLease(PodId(pod_id), token), said)

    async def drain(self, pod_id: str) -> None:
        raise NotImplementedError

    async def deregister(self, pod_id: str, token: str) -> None:
        with _told():
            await self._process().pods.deregister(PodLease(PodId(pod_id), token))

    async def follow(self, pod_id: str, token: str, after_version: int | None) -> AsyncGenerator[ChangeTold, None]:
        process = self._process()
        ended = asyncio.create_task(process.ended.wait())
        try:
            async with contextlib.aclosing(_steps(process, PodId(pod_id), token, after_version)) as steps:
                while True:
                    following = asyncio.ensure_future(anext(steps))
                    try:
                        await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
                        if not following.done():
                            raise Unreachable("the process has ended")
                    finally:
                        if not following.done():
                            following.cancel()
                            await asyncio.wait([following])
                    yield following.result()
        finally:
            ended.cancel()


async def _steps(
    process: FleetProcess, pod_id: PodId, token: str, after_version: int | None
) -> AsyncGenerator[ChangeTold, None]:
    with _told():
        async for step in PodAssignments(process.view).follow(pod_id, token, after_version):
            terms = tuple(TermTold(one.tile_id, one.term.epoch, one.state.value, one.replaces) for one in step.terms)
            yield ChangeTold(step.version, step.previous_version, step.is_snapshot, terms)


class SinkWorker:
    """Writes a record of each tile again and again, and remembers at which epochs a sink took one."""

    def __init__(self, redis: Redis, pod_id: str) -> None:
        self._sink = RedisSink(redis, "test", pod_id)
        self._epochs: dict[str, int] = {}
        self._sequences: dict[str, int] = {}
        self.client: PodClient | None = None

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        pass

    async def activate(self, takeovers: Sequence[Takeover]) -> Mapping[str, int]:
        refused: dict[str, int] = {}
        for one, position in zip(takeovers, await self._sink.take_over(takeovers), strict=True):
            if isinstance(position, EpochRefused):
                refused[one.tile_id] = position.highest_epoch
            else:
                self._epochs[one.tile_id], self._sequences[one.tile_id] = one.epoch, position.last_sequence
        return refused

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        for tile_id, epoch in terms:
            if self._epochs.get(tile_id) == epoch:
                del self._epochs[tile_id]

    def loads(self) -> Sequence[TileLoad]:
        return [TileLoad(tile_id, epoch, 1.0) for tile_id, epoch in self._epochs.items()]

    async def work(self) -> None:
        """Write until cancelled; what is refused is somebody else's by now."""
        assert self.client is not None
        while True:
            writes = [
                SinkWrite(tile_id, epoch, [SinkRecord(self._sequences[tile_id] + 1, b"")])
                for tile_id, epoch in self._epochs.items()
                if self.client.may_work(tile_id, epoch)
            ]
            for write, receipt in zip(writes, await self._sink.write_many(writes), strict=True):
                if not isinstance(receipt, EpochRefused):
                    self._sequences[write.tile_id] = receipt.last_sequence
            await asyncio.sleep(WORK_SECONDS)


class RealPod:
    """A pod that runs between `live` and `die`; `pause` keeps it from hearing and saying anything."""

    def __init__(self, reach: Callable[[], FleetProcess], sink: Redis, pod_id: PodId, lease_seconds: float) -> None:
        self.id = pod_id
        self._worker = SinkWorker(sink, pod_id)
        registration = PodRegistration(pod_id, "test", 100.0, lease_seconds)
        self.client = PodClient(LocalManager(reach), registration, self._worker, report_seconds=0.1)
        self._worker.client = self.client
        self._tasks: list[asyncio.Task[None]] = []

    async def live(self) -> "RealPod":
        self._tasks = [asyncio.create_task(self.client.run()), asyncio.create_task(self._worker.work())]
        return self

    async def die(self) -> None:
        """Fall silent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def runs(self) -> bool:
        """Whether it lives, and has not ended by itself."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)


async def settled(process: FleetProcess, pods: Sequence[RealPod], tiles: int) -> dict[TileId, tuple[PodId, int]]:
    """The owner and epoch of every tile, once each is acknowledged and its pod works on it."""

    def owners() -> dict[TileId, tuple[PodId, int]] | None:
        if not process.view.is_current:
            return None
        fleet = process.view.current()
        found: dict[TileId, tuple[PodId, int]] = {}
        for tile_id in (one for one, _ in fleet.tiles.items()):
            record = fleet.record(tile_id)
            if record is None or record.retiring or record.owner is None or record.owner.acknowledged_at_ms is None:
                return None
            found[tile_id] = record.owner.pod_id, record.owner.epoch
        working = {(tile, epoch) for pod in pods for tile, epoch in pod.client.owned.items()}
        is_worked_on = all((tile_id, epoch) in working for tile_id, (_, epoch) in found.items())
        return found if len(found) == tiles and is_worked_on else None

    owned: dict[TileId, tuple[PodId, int]] = await eventually(owners, f"{tiles} tiles are owned and worked on")
    return owned


def by_pod(owners: Mapping[TileId, tuple[PodId, int]]) -> dict[PodId, list[TileId]]:
    """The tiles of each pod."""
    tiles: defaultdict[PodId, list[TileId]] = defaultdict(list)
    for tile_id, (pod_id, _) in owners.items():
        tiles[pod_id].append(tile_id)
    return dict(tiles)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Failures as the client knows them."""
    try:
        yield
    except LeaseLost as lost:
        raise (Superseded if lost.superseded else LeaseRefused)(str(lost)) from lost
    except NotFound as unknown:
        raise LeaseRefused(str(unknown)) from unknown
    except Unavailable as away:
        raise Unreachable(str(away)) from away
