"""Owns a session manager that tells one pod what a test wants it to, and notes what the pod says."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from subgraph.client.manager import ChangeTold, LeaseRefused, OwnedTerm, TermTold, TileLoad


def terms(**states: str) -> tuple[TermTold, ...]:
    """Terms from `tile_epoch=state`, such as `a_1="ACTIVE"`; `"ACTIVE of x y"` replaces the tiles x and y."""
    told = []
    for name, words in states.items():
        tile, _, epoch = name.partition("_")
        state, _, replaces = words.partition(" of ")
        told.append(TermTold(tile, int(epoch), state, tuple(replaces.split())))
    return tuple(told)


def snapshot(version: int, **states: str) -> ChangeTold:
    """All the pod's terms."""
    return ChangeTold(version, None, is_snapshot=True, terms=terms(**states))


def change(version: int, previous: int, **states: str) -> ChangeTold:
    """Terms that changed."""
    return ChangeTold(version, previous, is_snapshot=False, terms=terms(**states))


class ScriptedManager:
    """A session manager in memory. `first` is what a registration is told, `tell` reaches whoever follows now."""

    def __init__(self, first: ChangeTold) -> None:
        self.first = first
        self.newest = first.version
        self.registered: list[dict[str, Any]] = []
        self.acknowledged: list[tuple[str, int, str]] = []
        self.reported: list[TileLoad] = []
        self.reports_of: list[int] = []
        """How many loads each report held."""
        self.followed_after: list[int | None] = []
        self.heartbeats = 0
        self.refusals = 0
        self.refuses = False
        """Whether the instance that runs is refused; registering again ends it."""
        self.fails_with: Exception | None = None
        """What every call but `follow` raises, until it is taken away."""
        self._told: asyncio.Queue[ChangeTold] = asyncio.Queue()

    def tell(self, told: ChangeTold) -> None:
        self.newest = max(self.newest, told.version)
        self._told.put_nowait(told)

    async def register(self, registration: dict[str, Any]) -> tuple[str, ChangeTold]:
        self._answer()
        self.refuses = False
        self.registered.append(registration)
        return f"token-{len(self.registered)}", self.first

    async def heartbeat(self, pod_id: str, token: str, applied_version: int) -> int:
        self._check(token)
        self.heartbeats += 1
        return self.newest

    async def report(self, pod_id: str, token: str, loads: Sequence[TileLoad]) -> None:
        self._check(token)
        self.reports_of.append(len(loads))
        self.reported += loads

    async def acknowledge(self, pod_id: str, token: str, acknowledged: Sequence[OwnedTerm], phase: str) -> None:
        self._check(token)
        self.acknowledged += [(tile_id, epoch, phase) for tile_id, epoch in acknowledged]

    async def drain(self, pod_id: str) -> None:
        self._answer()

    async def deregister(self, pod_id: str, token: str) -> None:
        self._check(token)

    async def follow(self, pod_id: str, token: str, after_version: int | None) -> AsyncGenerator[ChangeTold, None]:
        self.followed_after.append(after_version)
        self._told = asyncio.Queue()
        while True:
            yield await self._told.get()

    def _check(self, token: str) -> None:
        self._answer()
        if self.refuses or token != f"token-{len(self.registered)}":
            self.refusals += 1
            raise LeaseRefused("no instance of the pod runs")

    def _answer(self) -> None:
        if self.fails_with is not None:
            raise self.fails_with
