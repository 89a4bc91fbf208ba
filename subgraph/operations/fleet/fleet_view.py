"""Owns this process's picture of the fleet: keeps it current, knows how far behind it may be, and tells its watchers.

Reads of tiles, pods and assignments come from here without I/O. A process that has not heard from the live store for
one maximum lease answers no question of ownership: the answer might have changed under it.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.adoption import Adoption
from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot, Pause
from subgraph.domain.fleet.picture import Effects, Fleet, GapInChanges
from subgraph.domain.ids import PodId
from subgraph.domain.loads import LoadMetric
from subgraph.operations.broadcast import Broadcast
from subgraph.operations.fleet.fleet_pulse import Beat, LoadReading
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import MonotonicClock, SlowConsumer
from subgraph.operations.supervision import run_together

logger = logging.getLogger(__name__)

BEAT_SECONDS_MAX = 0.5
BEATS_PER_LEASE = 4
RETRY_SECONDS = 0.25
POLL_SECONDS = 0.01
CATCH_UP_SECONDS = 2.0
"""How long an operation waits, unless it says otherwise, for changes that are committed to show in the picture."""
TILES_PER_TURN = 500
"""Of a snapshot: some milliseconds' work, between which the process answers."""


class Resynchronised:
    """Sent to a pod's watchers when changes were missed: start again from what the pod's terms are now."""


@dataclass(slots=True)
class LoadsTaken:
    """What came of load reports since the start: tiles' loads taken over or passed over, reports that were none."""

    taken: int = 0
    passed_over: int = 0
    malformed_reports: int = 0

    def take(self, reading: LoadReading, taken: int) -> None:
        """Count one reading, of which so many loads were those of terms in force."""
        self.taken += taken
        self.passed_over += reading.columns.cells.size - taken
        self.malformed_reports += reading.malformed


class FleetView:
    """The fleet as this process sees it. `run` must be kept running."""

    def __init__(self, live: LiveFleet, lease_ms_max: int, load_metric: LoadMetric, clock: MonotonicClock) -> None:
        self._live = live
        self._clock = clock
        self.lease_ms_max = lease_ms_max
        # A picture must not grow as old as a lease between two beats.
        self._beat_seconds = min(BEAT_SECONDS_MAX, lease_ms_max / 1_000 / BEATS_PER_LEASE)
        self._fleet = Fleet(load_metric)
        self._synchronised = False
        self._seen_version = 0
        self._follows = False
        self._changing = asyncio.Lock()
        self._untold: list[Effects] = []
        """What a snapshot and the changes since have done, for as long as the picture mixes moments."""
        self._beat: Beat | None = None
        self._beat_at_seconds = 0.0
        self._current_at_seconds = 0.0
        self._pod_watchers: defaultdict[PodId, Broadcast[Effects | Resynchronised]] = defaultdict(Broadcast)
        self.effects: Broadcast[Effects] = Broadcast()
        self.cycles: Broadcast[CycleReport] = Broadcast()
        self.loads = LoadsTaken()
        self._interruption = Interruption(logger, "the picture of the fleet")

    async def run(self) -> None:
        """Follow changes, loads and the pulse until cancelled, each again after every failure."""
        await run_together(
            self._again_for_ever(self._interruption, self._follow_changes, self._follow_beat),
            # What keeps loads away keeps changes away, too, and is told with them.
            self._again_for_ever(Interruption(logger, "the reading of loads", logging.DEBUG), self._follow_loads),
        )

    def current(self) -> Fleet:
        """The fleet, fit to answer questions of ownership.

        Raises:
            Unavailable: nothing was heard from the live store for one maximum lease; or it may have forgotten what it
                held, and no leader has taken it over.
        """
        if not self.is_current:
            raise Unavailable("this process has lost touch with the fleet's live state", retry_after_seconds=1.0)
        return self._fleet

    @property
    def is_current(self) -> bool:
        """Whether the picture is young enough to answer questions of ownership."""
        return self._synchronised and self._fleet.is_whole and self.lag_ms <= self.lease_ms_max

    @property
    def has_begun(self) -> bool:
        """Whether the fleet has ever been led: until then the live store takes no registration and no tile."""
        return self._fleet.version > 0

    @property
    def is_restored(self) -> bool:
        """Whether what the live store lost, if it ever did, is restored, as of the last beat."""
        return self._beat is not None and self._beat.is_restored

    @property
    def seen_version(self) -> int:
        """The highest version this process ever saw of the fleet: a store that does not know it has forgotten it."""
        return self._seen_version

    @property
    def lag_ms(self) -> float:
        """For how long changes may have gone unseen, at most."""
        return (self._clock() - self._current_at_seconds) * 1_000

    @property
    def leader(self) -> str | None:
        """The name of the process that leads, as of the last beat."""
        return self._beat.leader if self._beat else None

    @property
    def pause(self) -> Pause | None:
        """The pause of rebalancing in force, as of the last beat."""
        pause = self._beat.pause if self._beat else None
        return pause if pause and pause.until_ms > self.now_ms() else None

    @property
    def unrecorded_changes(self) -> int:
        """Changes of tiles that history has not recorded, as of the last beat."""
        return self._beat.unrecorded_changes if self._beat else 0

    @property
    def dropped_changes(self) -> int:
        """Changes of tiles that were too many to wait for history, as of the last beat."""
        return self._beat.dropped_changes if self._beat else 0

    async def refresh(self) -> None:
        """Read the store's status now, so that it reflects all earlier writes.

        Raises:
            Unavailable: the store does not answer.
        """
        await self._take_beat()

    def now_ms(self) -> int:
        """The live store's time: as of the last beat, carried on by this process's monotonic clock."""
        if self._beat is None:
            raise Unavailable("the live store's time is not known yet", retry_after_seconds=1.0)
        return self._beat.now_ms + int((self._clock() - self._beat_at_seconds) * 1_000)

    async def observe(self, timeout_seconds: float = CATCH_UP_SECONDS) -> tuple[Beat, Fleet]:
        """The pulse of this moment, and a picture that contains every change up to it.

        Raises:
            Unavailable: the store does not answer, or the picture did not catch up in time.
        """
        beat = await self._take_beat()
        await self.caught_up(beat.published_version, timeout_seconds)
        return beat, self._fleet

    async def caught_up(self, version: int, timeout_seconds: float = CATCH_UP_SECONDS) -> Fleet:
        """The fleet once it contains the change of a version: a writer reads what it wrote.

        Raises:
            Unavailable: it did not arrive in time.
        """
        give_up_at = self._clock() + timeout_seconds
        while not self._synchronised or not self._fleet.is_whole or self._fleet.version < version:
            if self._clock() > give_up_at:
                raise Unavailable("this process lags behind the fleet's changes", retry_after_seconds=1.0)
            await asyncio.sleep(POLL_SECONDS)
        return self._fleet

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[Fleet]:
        """The fleet, to which no changes and no loads are applied until the block ends. Reads go on."""
        async with self._changing:
            yield self._fleet

    async def watch_pod(self, pod_id: PodId) -> AsyncIterator[Effects | Resynchronised]:
        """What concerns a pod from now on; first of all a Resynchronised: begin with its terms of now."""
        broadcast = self._pod_watchers[pod_id]
        try:
            with broadcast.reader() as items:
                yield Resynchronised()
                async for item in items:
                    yield item
        finally:
            if not broadcast.has_readers and self._pod_watchers.get(pod_id) is broadcast:
                del self._pod_watchers[pod_id]

    async def _follow_changes(self) -> None:
        self._follows = False
        # What an emptied store holds is not what the fleet is: a pod that was told so would put down all it has.
        while self._beat is None or not self._beat.is_adopted:
            await asyncio.sleep(POLL_SECONDS)
        async for told in self._live.follow():
            taken = await _taken_in(told) if isinstance(told, FleetSnapshot) else told
            async with self._changing:
                self._take(taken)

    def _take(self, told: Adoption | FleetChange | CycleReport) -> None:
        if isinstance(told, CycleReport):
            self._fleet.last_cycle = told
            self.cycles.send(told)
            return
        if isinstance(told, Adoption):
            self._untold = [self._fleet.become(told)]
            self._synchronised = self._follows = True
            self._interruption.succeeded()
        else:
            effects = self._fleet.apply(told)
            if self._untold:
                self._untold.append(effects)
            else:
                self._tell(effects)
        self._seen_version = max(self._seen_version, told.version)
        if self._untold and self._fleet.is_whole:
            untold, self._untold = self._untold, []
            for effects in untold:
                self.effects.send(effects)
            for broadcast in list(self._pod_watchers.values()):
                broadcast.send(Resynchronised())

    def _tell(self, effects: Effects) -> None:
        self.effects.send(effects)
        for pod_id in effects.terms_of_pod.keys() | effects.instances:
            if pod_id in self._pod_watchers:
                self._pod_watchers[pod_id].send(effects)

    async def _follow_loads(self) -> None:
        async for reading in self._live.follow_loads():
            async with self._changing:
                self.loads.take(reading, self._fleet.ingest(reading.columns).size)

    async def _follow_beat(self) -> None:
        behind_at: int | None = None
        while True:
            # A large snapshot takes longer than a beat, and what was published meanwhile is still to be read then.
            asked_at_seconds, seen, followed = self._clock(), self._fleet.version, self._follows
            beat = await self._take_beat()
            if followed and not self._synchronised:
                raise GapInChanges("the live store was restarted, replaced or emptied")
            if followed and beat.published_version < seen:
                raise GapInChanges(f"the live store is back at {beat.published_version}; {seen} was seen before")
            await asyncio.sleep(self._beat_seconds)
            if not followed:
                continue
            if self._fleet.version < beat.published_version:
                # A busy process may be slow to read what has arrived. One that gets no further from one beat to the
                # next has missed it, and a snapshot, which costs more than reading on, is due.
                if self._fleet.version == behind_at and not self._changing.locked():
                    raise GapInChanges(f"at {behind_at} although {beat.published_version} was published")
                behind_at = self._fleet.version
                continue
            behind_at = None
            # While changes keep coming, the newest is always on its way; up to the last beat all are here.
            self._current_at_seconds = max(self._current_at_seconds, asked_at_seconds)

    async def _take_beat(self) -> Beat:
        asked_at_seconds, seen = self._clock(), self._fleet.version
        beat = await self._live.beat()
        if not beat.is_adopted or beat.era != self._fleet.era:
            # It may have forgotten writes and given their versions to others: only a snapshot tells.
            self._synchronised = False
        self._beat, self._beat_at_seconds = beat, asked_at_seconds
        self._fleet.renew(beat.leases, beat.applied)
        if self._fleet.last_cycle is None:
            self._fleet.last_cycle = beat.last_cycle
        if seen <= beat.published_version <= self._fleet.version:
            self._current_at_seconds = max(self._current_at_seconds, asked_at_seconds)
        return beat

    @staticmethod
    async def _again_for_ever(
        interruption: Interruption, *followers: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        """Run the followers together; when one fails, all of them begin anew."""
        while True:
            try:
                await run_together(*(follower() for follower in followers))
            except (Unavailable, SlowConsumer, GapInChanges) as failure:
                interruption.failed(failure)
            await asyncio.sleep(RETRY_SECONDS)


async def _taken_in(snapshot: FleetSnapshot) -> Adoption:
    adoption = Adoption(snapshot)
    while adoption.take(TILES_PER_TURN):
        await asyncio.sleep(0)
    return adoption
