"""Owns the network between sites: every message takes its time, and may be lost, doubled or overtaken by another.

Sites are machines: `server-1`, `pod-3`, `redis`, `sql`, `sink`. What goes wrong is set for the link between two.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from tests.simulation.virtual_time import Process, VirtualLoop

T = TypeVar("T")

DELAY_SECONDS_MIN = 0.0002
DELAY_SECONDS_MAX = 0.004
LATE_SHARE = 0.01
"""Of the messages of a link that is well: how many are late, by up to LATE_SECONDS_MAX."""
LATE_SECONDS_MAX = 0.1
RESET_SHARE = 0.5
"""Of lost requests: of how many the caller hears at once (a connection was reset), not by waiting in vain."""


class Unanswered(Exception):
    """No answer came in time, or the connection was reset: whether the request arrived is not known."""


@dataclass(slots=True)
class Conditions:
    """How messages fare on a link. With `slow_seconds`, each takes up to so much longer by itself: calls overtake.

    What comes over a connection keeps its order, unless it is `disordered`.
    """

    is_cut: bool = False
    loss: float = 0.0
    doubled: float = 0.0
    slow_seconds: float = 0.0
    disordered: bool = False


class Network:
    """All messages of a world."""

    def __init__(self, loop: VirtualLoop, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance.random
        self._links: dict[tuple[str, str], Conditions] = {}
        self.down: set[str] = set()
        """Sites whose service does not run."""

    def link(self, one: str, other: str) -> Conditions:
        """How messages fare between two sites, either way."""
        ends = (one, other) if one < other else (other, one)
        found = self._links.get(ends)
        if found is None:
            found = self._links[ends] = Conditions()
        return found

    def heal(self) -> None:
        """All links are well again."""
        self._links.clear()

    async def ask(self, source: Process, target: str, act: Callable[[], T], seconds_max: float) -> T:
        """Have the service of a site do something in one step, and hear its answer.

        Raises:
            Unanswered: it may or may not have been done.
        """
        call: _Call[T] = _Call(self, self._loop, source, target, seconds_max)

        def arrive() -> None:
            if target in self.down:
                call.lose()
            else:
                call.answer(_outcome_of(act))

        call.send(arrive, None)
        return await call.answered()

    async def call(
        self,
        source: Process,
        serving: Process,
        work: Callable[[], Coroutine[Any, Any, T]],
        seconds_max: float,
    ) -> T:
        """Have a process do something that takes its time, and hear its answer.

        Raises:
            Unanswered: it may or may not have been done, or be being done.
        """
        call: _Call[T] = _Call(self, self._loop, source, serving.site, seconds_max)

        async def serve() -> None:
            try:
                done = await work()
            except Exception as error:
                call.answer(_raising(error))
            else:
                call.answer(lambda: done)

        call.expire()
        if serving.is_alive:
            call.send(lambda: serving.run(serve()), serving)
        else:
            call.lose()
        return await call.answered()

    def send(self, source: str, target: str, receiver: Process | None, arrive: Callable[[], object]) -> bool:
        """Have something happen at another site after a while, or never; False: it is known already that never."""
        delay_seconds = self.delay_seconds(source, target)
        if delay_seconds is not None:
            self.deliver_at(self._loop.time() + delay_seconds, receiver, arrive)
        return delay_seconds is not None

    def deliver_at(self, when: float, receiver: Process | None, arrive: Callable[[], object]) -> None:
        """Have something happen at a time: to a process, if it still lives then."""
        if receiver is None:
            self._loop.call_at(when, arrive)
        else:
            self._loop.call_at(when, _if_alive, receiver, arrive, context=receiver.context)

    def delay_seconds(self, source: str, target: str) -> float | None:
        """How long the next message takes; None: it gets lost."""
        link, chance = self.link(source, target), self._chance
        if link.is_cut or (link.loss and chance() < link.loss):
            return None
        longest = LATE_SECONDS_MAX if chance() < LATE_SHARE else DELAY_SECONDS_MAX
        return DELAY_SECONDS_MIN + chance() * longest + chance() * link.slow_seconds

    def is_doubled(self, source: str, target: str) -> bool:
        """Whether the next message arrives twice."""
        doubled = self.link(source, target).doubled
        return bool(doubled) and self._chance() < doubled

    def is_reset(self) -> bool:
        """Whether a caller hears at once that its request was lost."""
        return self._chance() < RESET_SHARE


class Stream:
    """A connection over which one side tells the other things, in order. One that is cut may stay deaf ever after."""

    def __init__(self, network: Network, loop: VirtualLoop, source: str, receiver: Process) -> None:
        self._network = network
        self._loop = loop
        self._source = source
        self._receiver = receiver
        self._last = 0.0
        self._is_deaf = False

    def tell(self, arrive: Callable[[], object]) -> None:
        """Have something happen at the other end after all that was told before; or it gets lost."""
        network, source, target = self._network, self._source, self._receiver.site
        delay_seconds = network.delay_seconds(source, target)
        if delay_seconds is None and network.link(source, target).is_cut:
            self._is_deaf = True
        if delay_seconds is None or self._is_deaf:
            return
        when = self._loop.time() + delay_seconds
        if not network.link(source, target).disordered:
            when = self._last = max(when, self._last)
        network.deliver_at(when, self._receiver, arrive)
        if network.is_doubled(source, target):
            network.deliver_at(when, self._receiver, arrive)


class _Call(Generic[T]):
    """One request and its answer, which counts only if it comes in time."""

    def __init__(self, network: Network, loop: VirtualLoop, source: Process, target: str, seconds_max: float) -> None:
        self._network = network
        self._loop = loop
        self._source = source
        self._target = target
        self._ends_at = loop.time() + seconds_max
        self._outcome: asyncio.Future[Callable[[], T]] = loop.create_future()
        self._timer: Any = None

    def send(self, arrive: Callable[[], object], receiver: Process | None) -> None:
        """Send the request; a dead process sends nothing."""
        network, source = self._network, self._source
        if not source.is_alive:
            self._settle(_unanswered)
        elif not network.send(source.site, self._target, receiver, arrive):
            self.lose()
        elif network.is_doubled(source.site, self._target):
            network.send(source.site, self._target, receiver, arrive)

    def expire(self) -> None:
        """Have the caller give up in time, whatever becomes of its request."""
        self._timer = self._settle_at(self._ends_at, _unanswered)

    def answer(self, outcome: Callable[[], T]) -> None:
        """Send the answer back: a value, or what to raise."""
        delay_seconds = self._network.delay_seconds(self._target, self._source.site)
        now = self._loop.time()
        if delay_seconds is None or now + delay_seconds > self._ends_at:
            self._settle_at(self._ends_at, _unanswered)
        else:
            self._settle_at(now + delay_seconds, outcome)

    def lose(self) -> None:
        """There will be no answer; the caller hears of it now or later."""
        soon = self._loop.time() + DELAY_SECONDS_MAX
        self._settle_at(soon if self._network.is_reset() else self._ends_at, _unanswered)

    async def answered(self) -> T:
        """Wait for the answer."""
        return (await self._outcome)()

    def _settle_at(self, when: float, outcome: Callable[[], T]) -> Any:
        return self._loop.call_at(when, self._settle, outcome, context=self._source.context)

    def _settle(self, outcome: Callable[[], T]) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)
            if self._timer is not None:
                self._timer.cancel()


def _if_alive(receiver: Process, arrive: Callable[[], object]) -> None:
    if receiver.is_alive:
        arrive()


def _outcome_of(act: Callable[[], T]) -> Callable[[], T]:
    try:
        done = act()
    except Exception as error:
        return _raising(error)
    return lambda: done


def _raising(error: Exception) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


def _unanswered() -> NoReturn:
    raise Unanswered
