"""Owns a simulated world: servers, pods, stores, a sink and a network, made from a seed and moved by its dice alone."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.control.cycle_facts import CycleFacts
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.simulation.checker import Checker
from tests.simulation.network import Network, Unanswered
from tests.simulation.pod import PodInstance
from tests.simulation.server import Pace, Server, SqlWire, StoreWire
from tests.simulation.sink import SinkTwin
from tests.simulation.transitions import Transitions
from tests.simulation.virtual_time import Process, VirtualLoop
from tests.support.coverage_in_memory import CoverageInMemory
from tests.support.fleets import tile_ids
from tests.support.store_twin import Stored, StoreTwin
from tests.support.twin_live_fleet import TwinLiveFleet

BEGINS_AT_MS = 1_700_000_000_000
SERVERS = 2
PODS = 5
TILES_PER_SESSION = 6
SNAPSHOT_SECONDS = 0.25
SNAPSHOTS_KEPT = 12
SERVER_CLOCK_ERROR = 0.01
POD_CLOCK_ERROR = 0.1
"""By how much a pod's clock may be too fast or too slow. The margin of its lease is there for that."""
RETRY_SECONDS = 0.2
TRACE_LINES_MAX = 5_000
RETIRE_SECONDS_MAX = 10.0
TENANT = TenantId("tenant")


class World:
    """All there is. Servers and pods are replaced by others on the same machines as they end."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.chance = random.Random(f"{seed}: what happens")
        self.network = Network(loop, random.Random(f"{seed}: how messages fare"))
        self.checker = Checker(loop.time, self.note)
        self.sink = SinkTwin(self.checker.accepted)
        self.store = StoreTwin(self.now_ms)
        self.transitions = Transitions()
        self.store.listeners[self.transitions.hear] = None
        self.pace = Pace()
        self.register: dict[str, int] = {}
        self.coverage = CoverageInMemory()
        self.servers: list[Server] = []
        self.pods: dict[str, PodInstance] = {}
        self.sessions: dict[SessionId, list[TileId]] = {}
        self.stopped: dict[SessionId, list[TileId]] = {}
        self.loads: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.sites = ["redis", "sql", "sink"]
        self.trace: deque[str] = deque(maxlen=TRACE_LINES_MAX)
        self.runs = 1
        self._begun: Counter[str] = Counter()
        self._past: deque[Stored] = deque(maxlen=SNAPSHOTS_KEPT)
        self._processes: list[Process] = []
        self._operator = self._process("operator")
        self.live = TwinLiveFleet(self.store, StoreWire(self.network, loop, self._operator, self.store))

    def now_ms(self) -> int:
        """The store's clock."""
        return BEGINS_AT_MS + int(self.loop.time() * 1_000)

    def note(self, what: str) -> None:
        """Keep a line for whoever asks how it came to this."""
        self.trace.append(f"{self.loop.time():9.3f}  {what}")

    async def begin(self) -> None:
        """Start servers and pods, and a first session."""
        for number in range(1, SERVERS + 1):
            self.sites.append(self.start_server(f"server-{number}").process.site)
        for number in range(1, PODS + 1):
            self.sites.append(self.start_pod(f"pod-{number}").pod_id)
        self._operator.run(self._remember())
        self._operator.run(self._keep_tiles())
        for _ in range(2):
            self.start_session()

    def start_server(self, site: str) -> Server:
        """Start a process of the server on a machine, in the place of one that has ended."""
        process = self._process(site)
        server = Server(
            self.loop,
            self.network,
            process,
            self.store,
            SqlWire(self.network, process, self.register, self.coverage),
            self.pace,
            self.chance,
            self._clock(SERVER_CLOCK_ERROR),
            self._observe_cycle,
        )
        self.servers = [one for one in self.servers if one.process.site != site]
        self.servers.append(server)
        self.note(f"{process.name} starts")
        server.start()
        return server

    def start_pod(self, site: str) -> PodInstance:
        """Start a process of a pod on a machine; another one that still runs there is superseded as it registers."""
        pod = PodInstance(
            self.loop,
            self.network,
            self._process(site),
            lambda: self.servers,
            self.sink,
            self.checker,
            self.chance,
            self._clock(POD_CLOCK_ERROR),
            lambda tile_id: self.loads.get(tile_id, 1.0),
        )
        self.pods[site] = pod
        pod.start()
        return pod

    def start_session(self) -> None:
        """Have the tiles of another session registered."""
        session_id = SessionId(f"session-{len(self.sessions) + len(self.stopped) + 1}")
        self.sessions[session_id] = tile_ids(TILES_PER_SESSION, session_id)
        self.coverage.note(self.sessions[session_id])

    def stop_session(self, session_id: SessionId) -> None:
        """Have a session's tiles released."""
        self.stopped[session_id] = self.sessions.pop(session_id)
        self.coverage.stopped.add(session_id)

    async def _keep_tiles(self) -> None:
        while True:
            stored = self.store.stored.tiles
            wanted = [one for tiles in self.sessions.values() for one in tiles if one not in stored]
            try:
                if wanted:
                    await self.live.commit(None, [TileWrite(one, 0, TileRecord(TENANT)) for one in wanted])
                for session_id, tiles in list(self.stopped.items()):
                    if any(one in stored and not stored[one].record.retiring for one in tiles):
                        server = self.chance.choice(self.servers)
                        await self.network.call(
                            self._operator,
                            server.process,
                            partial(Retirement(server.live, server.view).retire_session, session_id),
                            RETIRE_SECONDS_MAX,
                        )
            except (Unavailable, Unanswered):
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def leave_in_peace(self) -> None:
        """Make all well again: links, stores, and a process on every machine."""
        self.network.heal()
        self.network.down.clear()
        for server in list(self.servers):
            server.process.resume()
            if not server.process.is_alive:
                self.start_server(server.process.site)
        for pod in [*self.pods.values()]:
            pod.process.resume()
            pod.sluggishness.seconds_max = 0.05

    def restless(self) -> str:
        """Why the fleet is not at rest; nothing if it is: every tile ACTIVE and acknowledged by a live pod."""
        stored, wanted = self.store.stored.tiles, {one for tiles in self.sessions.values() for one in tiles}
        if wanted != set(stored):
            return f"missing {sorted(wanted - set(stored))}, too many {sorted(set(stored) - wanted)}"
        for tile_id in sorted(wanted):
            record, believing = stored[tile_id].record, self.checker.working_on(tile_id)
            if not record.is_settled or record.owner is None:
                return f"{tile_id} is {record}"
            if [(epoch, name.partition("#")[0]) for name, epoch in believing] != [
                (record.owner.epoch, record.owner.pod_id)
            ]:
                return f"{tile_id} is {record.owner}, and {believing} work on it"
            if self.checker.newest_epoch(tile_id) != record.owner.epoch:
                return f"{tile_id} is {record.owner}, and its last record is of {self.checker.newest_epoch(tile_id)}"
        return ""

    async def end(self) -> None:
        """End all processes, and let the last of their tasks clean up."""
        for process in self._processes:
            process.kill()
        await asyncio.sleep(1)

    def past(self, snapshots: int) -> Stored:
        """What the store held some snapshots ago."""
        return self._past[max(0, len(self._past) - snapshots)].copy() if self._past else Stored()

    def restart_store(self, stored: Stored) -> None:
        """The store begins another run with what is left."""
        self.runs += 1
        self.note(f"the store begins run {self.runs} at {stored.published}")
        if stored.published < self.store.stored.published:
            self.checker.store_forgets()
        self.store.restart(f"run{self.runs}", stored)
        self._past.clear()
        self.transitions.begin_from(stored)
        self.store.listeners[self.transitions.hear] = None
        for server in self.servers:
            server.wire.reconnect()

    def _process(self, site: str) -> Process:
        self._begun[site] += 1
        process = Process(self.loop, f"{site}#{self._begun[site]}", site)
        self._processes.append(process)
        return process

    def _clock(self, error: float) -> Callable[[], float]:
        rate, start = 1 + self.chance.uniform(-error, error), self.chance.uniform(0, 1_000)
        time = self.loop.time
        return lambda: start + time() * rate

    def _observe_cycle(self, facts: CycleFacts) -> None:
        self.counts["cycles"] += 1
        self.counts["moves"] += len(facts.moves)
        if facts.moves or facts.settled_tiles or facts.lost_pods:
            moves = [f"{move.tile_id}: {move.source} > {move.target}" for move in facts.moves]
            self.note(f"{facts.report.leader} settled {facts.settled_tiles}, lost {facts.lost_pods}, moves {moves}")

    async def _remember(self) -> None:
        while True:
            self._past.append(self.store.stored.copy())
            await asyncio.sleep(SNAPSHOT_SECONDS)
