"""Owns what must hold whatever happens, judged by what reaches the sink and by what pods believe, and by nothing else.

It trusts no check of the code under test: it sees no store, no server and no fence, only records and answers of
`may_work`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from subgraph.client.intervals import Intervals
from tests.simulation.sink import Accepted


class Instance(Protocol):
    """One process of a pod, as it sees itself."""

    @property
    def name(self) -> str: ...

    @property
    def pod_id(self) -> str: ...

    @property
    def beliefs(self) -> Mapping[str, int]:
        """The tiles it would work on now, with their epochs."""
        ...

    def belief(self, tile_id: str) -> int | None:
        """The epoch at which it would work on a tile now."""
        ...


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not happen, and did."""

    at_seconds: float
    rule: str
    facts: str

    def __str__(self) -> str:
        return f"at {self.at_seconds:.3f} s: {self.rule}: {self.facts}"


REGISTRATION_UNDER_WAY_SECONDS = 10.0
"""For how long what a pod asked for may still be done: longer than any message is on its way."""


@dataclass(slots=True)
class _Tile:
    highest_epoch: int = 0
    newest_epoch: int = 0
    """Of which a record was accepted last."""
    accepted: Intervals = field(default_factory=Intervals)
    user_of: dict[int, str] = field(default_factory=dict)
    """Epoch to the one instance that was ever told it, or wrote under it."""
    given_at: dict[int, float] = field(default_factory=dict)
    """Epoch to the second in which its instance was told to work."""
    prepared: set[int] = field(default_factory=set)
    """Epochs whose instance has said that it is ready."""


class Checker:
    """Watches a world. What it finds is in `violations`."""

    def __init__(self, now: Callable[[], float], note: Callable[[str], None]) -> None:
        self._now = now
        self._note = note
        self._tiles: defaultdict[str, _Tile] = defaultdict(_Tile)
        self._instances: dict[str, Instance] = {}
        self._asked_at: dict[str, dict[str, float]] = defaultdict(dict)
        """Of each pod, when each of its instances last asked to be registered: whichever came last is the one."""
        self._forgot_at = float("-inf")
        self.violations: list[Violation] = []
        self.records = 0
        self.terms = 0

    def joins(self, instance: Instance) -> None:
        """A process of a pod has started."""
        self._note(f"{instance.name} starts")
        self._instances[instance.name] = instance

    def asks_to_register(self, instance: Instance) -> None:
        """From now on any other instance of the pod may be over at any time, and not know it for a moment."""
        self._asked_at[instance.pod_id][instance.name] = self._now()

    def store_forgets(self) -> None:
        """The store has lost some of what it answered: of terms up to now it may not know."""
        self._forgot_at = self._now()

    def ends(self, instance: Instance) -> None:
        """The process has ended: it believes nothing any more."""
        self._note(f"{instance.name} ends")
        self._instances.pop(instance.name, None)

    def accepted(self, what: Accepted) -> None:
        """A sink took something."""
        tile = self._tiles[what.tile_id]
        self._used(what.tile_id, what.epoch, what.writer)
        if what.epoch < tile.highest_epoch:
            self.found("no record is accepted below the highest epoch", f"{what}, after {tile.highest_epoch}")
        tile.highest_epoch = max(tile.highest_epoch, what.epoch)
        self.records += what.count
        if what.count:
            tile.newest_epoch = what.epoch
        if tile.accepted.add(what.first, what.count):
            self.found("no record is accepted twice", str(what))

    def told_to_prepare(self, writer: str, tile_id: str, epoch: int) -> None:
        """An instance hears that it is to own a tile next."""
        self._note(f"{writer} prepares {tile_id} at {epoch}")
        self._used(tile_id, epoch, writer)

    def has_prepared(self, writer: str, tile_id: str, epoch: int) -> None:
        """An instance is ready to own a tile."""
        self._note(f"{writer} is ready for {tile_id} at {epoch}")
        self._tiles[tile_id].prepared.add(epoch)

    def told_to_work(self, writer: str, tile_id: str, epoch: int) -> None:
        """An instance hears that it owns a tile."""
        self._note(f"{writer} is to work on {tile_id} at {epoch}")
        self.terms += 1
        self._used(tile_id, epoch, writer)
        self.works(writer, tile_id, epoch)
        self._tiles[tile_id].given_at.setdefault(epoch, self._now())

    def works(self, writer: str, tile_id: str, epoch: int) -> None:
        """An instance works on a tile. Whoever else does so now has been moved from, or is fenced."""
        for other in self._instances.values():
            held = other.belief(tile_id)
            if held is None or other.name == writer:
                continue
            if held == epoch:
                self.found("an epoch has one working instance", f"{other.name} and {writer} on {tile_id} at {epoch}")
            elif held < epoch and not self._may_follow(writer, epoch, other, held, tile_id):
                self.found(
                    "who works is moved from only when the next owner is ready",
                    f"{writer} was given {tile_id} at {epoch}; {other.name} works at {held}",
                )

    def believed_together(self) -> None:
        """Look at all beliefs of this moment."""
        seen: dict[tuple[str, int], str] = {}
        for instance in self._instances.values():
            for term in instance.beliefs.items():
                other = seen.setdefault(term, instance.name)
                if other != instance.name:
                    self.found("an epoch has one working instance", f"{other} and {instance.name} on {term}")

    def working_on(self, tile_id: str) -> list[tuple[str, int]]:
        """Who believes to own a tile now: instance and epoch."""
        believing = [(one.name, one.belief(tile_id)) for one in self._instances.values()]
        return [(name, epoch) for name, epoch in believing if epoch is not None]

    def newest_epoch(self, tile_id: str) -> int:
        """The epoch under which a record of the tile was accepted last."""
        return self._tiles[tile_id].newest_epoch

    def found(self, rule: str, facts: str) -> None:
        """Note a violation."""
        self._note(f"VIOLATION of {rule}: {facts}")
        self.violations.append(Violation(self._now(), rule, facts))

    def _used(self, tile_id: str, epoch: int, writer: str) -> None:
        user = self._tiles[tile_id].user_of.setdefault(epoch, writer)
        if user != writer:
            self.found("an epoch is one instance's", f"{epoch} of {tile_id} is used by {user} and {writer}")

    def _may_follow(self, writer: str, epoch: int, other: Instance, held: int, tile_id: str) -> bool:
        """Whether a tile may go to somebody while another still works: one was ready since; or that one is over."""
        tile = self._tiles[tile_id]
        if any(held < ready <= epoch for ready in tile.prepared):
            return True
        forgotten = [given for given, at in tile.given_at.items() if at < self._forgot_at]
        if held in forgotten or any(tile.user_of[given] == writer for given in forgotten):
            return True  # whoever says first that he held the tile has it until another says that he held it later
        asked_at = self._asked_at[other.pod_id]
        latest_of_others = max((at for name, at in asked_at.items() if name != other.name), default=float("-inf"))
        return latest_of_others + REGISTRATION_UNDER_WAY_SECONDS > asked_at.get(other.name, 0.0)
