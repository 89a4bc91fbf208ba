"""Owns the metrics of session reads: cache hits, misses, evictions and size, in this process and in Redis."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from subgraph.operations.sessions.session_cache import SessionCache

PREFIX = "session_manager_session"


class SessionReadsCollector(Collector):
    """Reads the counts of one process at the moment of the scrape."""

    def __init__(self, fleet_id: str, process: str, cache: SessionCache) -> None:
        self._labels = {"fleet": fleet_id, "process": process}
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """The values of this moment."""
        facts, names = self._cache.facts, list(self._labels)
        reads = CounterMetricFamily(
            f"{PREFIX}_reads",
            "Sessions asked of copies, by whose: this process's (local), all processes' (redis); passed by where Redis "
            "did not answer, and SQL was asked.",
            labels=[*names, "copies", "outcome"],
        )
        for copies, outcome, count in (
            ("local", "hit", facts.local_hits),
            ("local", "miss", facts.local_misses),
            ("redis", "hit", facts.shared_hits),
            ("redis", "miss", facts.shared_misses),
            ("redis", "unreadable", facts.unreadable),
            ("redis", "passed_by", facts.bypassed),
        ):
            reads.add_metric([*self._labels.values(), copies, outcome], count)
        yield reads
        yield self._counter(
            "copies_evicted", "Copies of this process that made room for others.", self._cache.evictions
        )
        yield self._counter("copies_outdated", "Announcements that a session's copies are void.", facts.invalidations)
        yield self._counter("copies_forgotten", "Times that announcements were missed.", facts.times_out_of_sync)
        size = GaugeMetricFamily(f"{PREFIX}_copies", "Copies of sessions in this process.", labels=names)
        size.add_metric(list(self._labels.values()), self._cache.size)
        yield size

    def _counter(self, name: str, text: str, count: int) -> CounterMetricFamily:
        family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), count)
        return family
