"""Owns what the storm does: each fault begins, lasts, and is mended, so that the world could be whole again."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from storm.world import World

PAUSE_SECONDS = (1.0, 8.0)
DOWN_SECONDS = (0.5, 5.0)
KEEP_SECONDS = 1.0


class Storm:
    """Faults from a seed, one after the other, each begun while the last ones may still go on."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)
        self._under_way: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()
        self._keeper = asyncio.create_task(self._keep())
        self.counts: Counter[str] = Counter()
        self.last_words: list[str] = []
        self._faults: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (6, "pod killed", self._kill_pod),
            (5, "pod paused", self._pause_pod),
            (5, "pod cut off from the servers", self._cut_pod),
            (4, "server killed", self._kill_server),
            (3, "server paused", self._pause_server),
            (2, "Valkey killed", self._kill_store),
            (2, "Valkey paused", self._pause_store),
            (1, "Valkey emptied", self._empty_store),
        ]

    async def blow(self, seconds: float, every_seconds: float) -> None:
        """Begin a fault now and then, and wait until all are mended."""
        end_at = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end_at:
            weights = [weight for weight, _, _ in self._faults]
            [(_, name, fault)] = self._random.choices(self._faults, weights)
            task = asyncio.create_task(self._begin(name, fault))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * every_seconds)
        await asyncio.gather(*self._under_way)

    def rest(self) -> None:
        """Leave the world alone."""
        self._keeper.cancel()

    async def _keep(self) -> None:
        """Start again what has ended by itself, as whatever runs such processes does; it is counted."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            for pod, process in self._world.pods.items():
                if pod not in self._busy and process.poll() is not None:
                    self.counts["pod ended by itself"] += 1
                    self.last_words.append(self._world.last_words(pod))
                    self._world.start_pod(pod)
            for port, process in self._world.servers.items():
                if str(port) not in self._busy and process.poll() is not None:
                    self.counts["server ended by itself"] += 1
                    self.last_words.append(self._world.last_words(f"server-{port}"))
                    self._world.start_server(port)

    async def _begin(self, name: str, fault: Callable[[], Awaitable[None]]) -> None:
        await fault()
        self.counts[name] += 1

    def _idle(self, names: list[str]) -> str | None:
        """One of these to which nothing is being done at the moment; it is taken."""
        idle = [name for name in names if name not in self._busy]
        if not idle:
            return None
        chosen = self._random.choice(idle)
        self._busy.add(chosen)
        return chosen

    async def _kill_pod(self) -> None:
        if (pod := self._idle(list(self._world.pods))) is not None:
            self._world.pods[pod].kill()
            await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
            self._world.start_pod(pod)
            self._busy.discard(pod)

    async def _pause_pod(self) -> None:
        if (pod := self._idle(list(self._world.pods))) is not None:
            await self._paused(self._world.pods[pod].pid)
            self._busy.discard(pod)

    async def _cut_pod(self) -> None:
        if (pod := self._idle(list(self._world.pods))) is not None:
            self._world.gates[pod].cut()
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))
            self._world.gates[pod].mend()
            self._busy.discard(pod)

    async def _kill_server(self) -> None:
        if (port := self._idle([str(port) for port in self._world.servers])) is not None:
            self._world.servers[int(port)].kill()
            await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
            self._world.start_server(int(port))
            self._busy.discard(port)

    async def _pause_server(self) -> None:
        if (port := self._idle([str(port) for port in self._world.servers])) is not None:
            await self._paused(self._world.servers[int(port)].pid)
            self._busy.discard(port)

    async def _kill_store(self) -> None:
        if self._idle(["store"]) is not None:
            pid = self._world.fleet_store.pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
            await self._world.fleet_store.start()
            self._busy.discard("store")

    async def _pause_store(self) -> None:
        if self._idle(["store"]) is not None:
            pid = self._world.fleet_store.pid
            if pid is not None:
                await self._paused(pid)
            self._busy.discard("store")

    async def _empty_store(self) -> None:
        if self._idle(["store"]) is not None:
            async with Redis.from_url(self._world.fleet_store.url) as redis:
                await redis.flushall()
            self._busy.discard("store")

    async def _paused(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return  # it ended by itself, for a reason of its own
