"""Owns how terms ended recently, as this process saw it, to answer questions before SQL has recorded it."""

from collections import OrderedDict

from subgraph.domain.fleet.picture import Effects
from subgraph.domain.fleet.terms import TermChange
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.ports import SlowConsumer

ENDS_MAX = 10_000


class RecentEnds:
    """The last ends of terms, by epoch. `collect` must be kept running."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._ends: OrderedDict[int, TermChange] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def of(self, epoch: int) -> TermChange | None:
        """How the term of an epoch ended; None: it has not, or this process does not know."""
        return self._ends.get(epoch)

    async def collect(self) -> None:
        """Remember what ends, until cancelled."""
        while True:
            try:
                with self._view.effects.reader() as effects:
                    async for effect in effects:
                        self._remember(effect)
            except SlowConsumer:
                continue  # what was missed is told once it is recorded

    def _remember(self, effects: Effects) -> None:
        for changes in effects.terms_of_pod.values():
            for change in changes:
                if change.ended_at_ms is not None:
                    self._ends[change.term.epoch] = change
        while len(self._ends) > ENDS_MAX:
            self._ends.popitem(last=False)
