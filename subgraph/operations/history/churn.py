"""Owns churn: how many tiles were assigned recently, why, and how much load moved with them."""

import asyncio
from dataclasses import dataclass, field

from subgraph.domain.errors import InvalidInput
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.history.term_history import Churn, TermHistory
from subgraph.operations.ports import MonotonicClock

WINDOW_MS_MAX = 24 * 3_600_000
KEPT_SECONDS = 1.0
WINDOWS_KEPT_MAX = 100


@dataclass(frozen=True, slots=True)
class ChurnMeter:
    """Sums of the recorded terms.

    Subscribers ask after every cycle: whoever comes while an answer is young shares it.
    """

    recorded: TermHistory
    view: FleetView
    clock: MonotonicClock
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _kept: dict[int, tuple[float, list[Churn]]] = field(default_factory=dict, init=False)

    async def over(self, window_ms: int) -> list[Churn]:
        """Tiles given to pods in the time up to now, by reason; those reasons first that moved the most load.

        Raises:
            InvalidInput: the window is not within its bounds.
            Unavailable: SQL does not answer, or the live store's time is not known.
        """
        if not 0 < window_ms <= WINDOW_MS_MAX:
            raise InvalidInput("a window is longer than nothing and at most PT24H", ("window",), "PT24H")
        async with self._turn:
            kept_at_seconds, churn = self._kept.get(window_ms, (float("-inf"), []))
            if self.clock() - kept_at_seconds > KEPT_SECONDS:
                churn = await self.recorded.churn(self.view.now_ms() - window_ms)
                churn.sort(key=lambda one: (-one.load_moved, -one.moves, one.reason))
                if len(self._kept) >= WINDOWS_KEPT_MAX:
                    self._kept.clear()
                self._kept[window_ms] = self.clock(), churn
            return churn
