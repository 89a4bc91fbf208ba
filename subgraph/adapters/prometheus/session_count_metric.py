"""Owns the gauge of ACTIVE sessions by data source: counted in SQL at most every few seconds, with bounded labels."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from subgraph.domain.errors import Unavailable

DATA_SOURCES_MAX = 100
"""Data sources with a label of their own; the sessions of all others are one sum."""
OTHERS = "(others)"
COUNT_SECONDS = 10.0
"""A count is used so long: who scrapes often does not count often."""

Count = Callable[[int], Awaitable[Mapping[str | None, int]]]
"""Counts ACTIVE sessions by data source, those with the most; what is left comes under None."""


class SessionCountCollector(Collector):
    """The newest count. `refresh` is to be called before a scrape."""

    def __init__(self, count: Count, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._monotonic = monotonic
        self._counts: Mapping[str | None, int] | None = None
        self._counted_at: float | None = None

    async def refresh(self) -> None:
        """Count again if the last count is too old; what cannot be counted now is not told."""
        if self._counted_at is not None and self._monotonic() - self._counted_at < COUNT_SECONDS:
            return
        try:
            self._counts = await self._count(DATA_SOURCES_MAX)
            self._counted_at = self._monotonic()
        except Unavailable:
            self._counts, self._counted_at = None, None

    def collect(self) -> Iterator[Metric]:
        """The newest count, if there is one."""
        if self._counts is None:
            return
        family = GaugeMetricFamily(
            "stream_api_sessions_total", "ACTIVE sessions, by data source.", labels=["data_source"]
        )
        for source, count in self._counts.items():
            family.add_metric([OTHERS if source is None else source], count)
        yield family
