"""Owns a simulated process of a pod: the pod client as shipped, a worker, and a clock of its own that may be wrong."""

import random
from collections.abc import Callable, Mapping, Sequence

from subgraph.client.manager import Superseded
from subgraph.client.pod import PodClient, PodRegistration
from tests.simulation.checker import Checker
from tests.simulation.connection import PodConnection
from tests.simulation.network import Network
from tests.simulation.server import Server
from tests.simulation.sink import SinkTwin
from tests.simulation.virtual_time import Process, VirtualLoop
from tests.simulation.worker import SinkWorker, Sluggishness

REPORT_SECONDS = 3.0
LEASE_SECONDS = 3.0


class PodInstance:
    """One process of a pod, from its start to its end."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        process: Process,
        servers: Callable[[], Sequence[Server]],
        sink: SinkTwin,
        checker: Checker,
        chance: random.Random,
        clock: Callable[[], float],
        load_of: Callable[[str], float],
    ) -> None:
        self.process = process
        self.sluggishness = Sluggishness()
        self._checker = checker
        connection = PodConnection(network, loop, process, servers, chance, self._ask_to_register, self._note_bug)
        self._worker = SinkWorker(network, process, sink, checker, chance, load_of, self.sluggishness)
        registration = PodRegistration(process.site, "simulated", 100.0, LEASE_SECONDS)
        self.client = PodClient(connection, registration, self._worker, report_seconds=REPORT_SECONDS, clock=clock)
        self._worker.may_work = self.client.may_work

    @property
    def name(self) -> str:
        """The process."""
        return self.process.name

    @property
    def pod_id(self) -> str:
        """The pod."""
        return self.process.site

    @property
    def beliefs(self) -> Mapping[str, int]:
        """The tiles it would work on now."""
        owned = self.client.owned
        return {tile_id: epoch for tile_id, epoch in owned.items() if self.client.may_work(tile_id, epoch)}

    def belief(self, tile_id: str) -> int | None:
        """The epoch at which it would work on a tile now."""
        epoch = self.client.owned.get(tile_id)
        return epoch if epoch is not None and self.client.may_work(tile_id, epoch) else None

    def start(self) -> None:
        """Live."""
        self._checker.joins(self)
        self.process.run(self._live())
        self.process.run(self._worker.work())

    def kill(self) -> None:
        """End at once."""
        self._checker.ends(self)
        self.process.kill()

    async def _live(self) -> None:
        try:
            await self.client.run()
        except Superseded:
            pass
        except Exception as error:
            self._note_bug(f"the pod client failed: {error!r}")
        self.kill()

    def _ask_to_register(self) -> None:
        self._checker.asks_to_register(self)

    def _note_bug(self, what: str) -> None:
        self._checker.found("nothing unforeseen happens", f"{self.name}: {what}")
