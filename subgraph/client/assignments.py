"""Owns what a pod has been told to do and what its worker does of it: applies changes in order, and acknowledges."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from subgraph.client.manager import ChangeTold, OwnedTerm, Takeover, TermTold
from subgraph.client.worker import TileWorker

ENDED = ("RELEASED", "LOST", "ABORTED")

Acknowledge = Callable[[Sequence[OwnedTerm], str], Awaitable[None]]
"""Tells the session manager that terms have reached a phase."""


class Assignments:
    """The terms of one pod. What may be worked on is never more than what the newest change leaves."""

    def __init__(self, worker: TileWorker, acknowledge: Acknowledge) -> None:
        self._worker = worker
        self._acknowledge = acknowledge
        self._owned: dict[str, int] = {}
        self._ready: set[OwnedTerm] = set()
        # What the worker was asked to prepare or to work on and has not finished releasing: a call may be cut short.
        self._in_hand: set[OwnedTerm] = set()
        self.applied_version = 0
        self.unheard_of: dict[str, int] = {}
        """Tiles that a sink refused for an epoch beyond all that the session manager has told of, with that epoch."""
        self.idle = asyncio.Event()
        """Set while the worker has nothing in hand."""

    @property
    def owned(self) -> dict[str, int]:
        """Tiles that may be worked on while the lease is held, with their epochs."""
        return dict(self._owned)

    def owns(self, tile_id: str, epoch: int) -> bool:
        """Whether a tile is owned at an epoch, as far as the pod was told."""
        return self._owned.get(tile_id) == epoch

    def restrict_to(self, snapshot: ChangeTold) -> None:
        """Own nothing any more that a snapshot does not contain, at once; `apply` tells the worker later."""
        living = _terms_of(snapshot)
        self._owned = {tile_id: epoch for tile_id, epoch in self._owned.items() if (tile_id, epoch) in living}

    async def apply(self, change: ChangeTold) -> None:
        """Have the worker do what a change asks for, and acknowledge it."""
        by_state: dict[str, list[OwnedTerm]] = {}
        for term in change.terms:
            by_state.setdefault(term.state, []).append((term.tile_id, term.epoch))
        ended = {term for state in ENDED for term in by_state.get(state, ())}
        if change.is_snapshot:
            ended |= self._in_hand - _terms_of(change)
        await self._drop(ended)
        await self._release(by_state.get("DRAINING", ()))
        # After releasing: a tile that splits drains on the pod that goes on with its parts.
        await self._activate([one for one in change.terms if one.state == "ACTIVE"], change.version)
        await self._prepare(by_state.get("PREPARING", ()), change.is_snapshot)
        self.applied_version = max(self.applied_version, change.version)
        if self._in_hand:
            self.idle.clear()
        else:
            self.idle.set()

    async def _drop(self, terms: set[OwnedTerm]) -> None:
        # Somebody else may have the tiles: work ends now, and the worker is told after.
        self._disown(terms)
        if known := sorted(terms & self._in_hand):
            await self._worker.release(known)
            self._forget(known)

    async def _release(self, terms: Sequence[OwnedTerm]) -> None:
        if terms:
            await self._worker.release(terms)
            self._disown(terms)
            self._forget(terms)
            await self._acknowledge(terms, "RELEASED")

    async def _activate(self, told: Sequence[TermTold], version: int) -> None:
        begun = [
            Takeover(one.tile_id, one.epoch, one.replaces) for one in told if not self.owns(one.tile_id, one.epoch)
        ]
        new = [(one.tile_id, one.epoch) for one in begun]
        if new:
            self._in_hand.update(new)
            refused = await self._worker.activate(begun)
            self._owned.update(term for term in new if term[0] not in refused)
            self._ready.difference_update(new)
            self._in_hand.difference_update(term for term in new if term[0] in refused)
            self.unheard_of |= {tile_id: epoch for tile_id, epoch in refused.items() if epoch > version}
        # An acknowledgement may have been lost, with the lease or in the store: whoever misses it tells the term again.
        missed = [(one.tile_id, one.epoch) for one in told if not one.is_acknowledged]
        await self._acknowledge([term for term in dict.fromkeys(new + missed) if self.owns(*term)], "ACTIVE")

    async def _prepare(self, terms: Sequence[OwnedTerm], is_snapshot: bool) -> None:
        if new := [term for term in terms if term not in self._ready]:
            self._in_hand.update(new)
            await self._worker.prepare(new)
            self._ready.update(new)
        await self._acknowledge(terms if is_snapshot else new, "READY")

    def _disown(self, terms: Iterable[OwnedTerm]) -> None:
        for tile_id, epoch in terms:
            if self.owns(tile_id, epoch):
                del self._owned[tile_id]

    def _forget(self, terms: Iterable[OwnedTerm]) -> None:
        self._in_hand.difference_update(terms)
        self._ready.difference_update(terms)


def _terms_of(change: ChangeTold) -> set[OwnedTerm]:
    return {(term.tile_id, term.epoch) for term in change.terms}
