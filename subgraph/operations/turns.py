"""Owns whose turn it is on the event loop: long work is done in turns, so that it keeps nobody waiting.

Whoever may work for long asks between two steps whether its turn is over, and if so waits for its next one. Its first
turn it has at once, so short work waits for nobody; of all that have used up theirs, one goes on each time that the
loop comes round, the longest waiting first.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.010
"""How long a turn is. Whoever waits for a reading of the clock waits for it and for one step of the work."""
_WOKEN_MAX = 100
"""Of one work, tasks that are woken for one turn at most: those that it does not reach wait again."""


class Turns:
    """The turns of one work, which may be many tasks of one event loop: they share each turn."""

    def __init__(self) -> None:
        self._rota = _rota_of(asyncio.get_running_loop())
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._woken_max = _WOKEN_MAX
        self._gone_on = 0
        self._round = -1
        self._ends_at: float | None = None

    def is_over(self) -> bool:
        """Whether others are to have their turn before this work goes on."""
        now = time.monotonic()
        if self._round != self._rota.round:
            if self._waiting:
                return True
            self._round, self._ends_at = self._rota.round, None
        if self._ends_at is None:
            self._ends_at = now + TURN_SECONDS
            self._rota.come_round()
        return now >= self._ends_at

    async def next(self) -> None:
        """Wait for the next turn."""
        while True:
            woken = asyncio.get_running_loop().create_future()
            self._waiting.append(woken)
            self._rota.add(self)
            await woken
            if not self.is_over():
                self._gone_on += 1
                return

    def begin(self, number: int) -> bool:
        """Begin a turn in a round; whether some still wait for another one."""
        # Some more than the turn before had time for: those that are woken in vain cost time, too.
        self._woken_max = min(2 * self._gone_on + 1, _WOKEN_MAX) if self._gone_on else self._woken_max
        self._round, self._ends_at, self._gone_on = number, None, 0
        for _ in range(min(len(self._waiting), self._woken_max)):
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
        return bool(self._waiting)


class _Rota:
    """Who goes on when, of all that wait on one event loop."""

    def __init__(self) -> None:
        self.round = 0
        self._waiting: dict[Turns, None] = {}
        self._is_called = False

    def add(self, turns: Turns) -> None:
        """Let it go on in a later round, after all that wait already."""
        self._waiting.setdefault(turns)
        self.come_round()

    def come_round(self) -> None:
        """Begin another round as soon as all that is ready now has run."""
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._is_called = False
        self.round += 1
        if self._waiting:
            turns = next(iter(self._waiting))
            del self._waiting[turns]
            if turns.begin(self.round):
                self._waiting[turns] = None
        if self._waiting:
            self.come_round()


_ROTAS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rota] = WeakKeyDictionary()


def _rota_of(loop: asyncio.AbstractEventLoop) -> _Rota:
    found = _ROTAS.get(loop)
    if found is None:
        found = _ROTAS[loop] = _Rota()
    return found
