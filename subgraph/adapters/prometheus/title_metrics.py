"""Owns the metrics of the title provider: how often it was asked, and with what outcome."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from subgraph.operations.sessions.title_making import TitleMaking, TitleOutcome


class TitleCollector(Collector):
    """Reads the counts of one process at the moment of the scrape."""

    def __init__(self, fleet_id: str, process: str, titles: TitleMaking) -> None:
        self._labels = {"fleet": fleet_id, "process": process}
        self._titles = titles

    def collect(self) -> Iterator[Metric]:
        """The values of this moment."""
        asked = CounterMetricFamily(
            "session_manager_titles_asked",
            "Titles that the provider was asked for, by what came of it; all but those provided were made of queries.",
            labels=[*self._labels, "outcome"],
        )
        for outcome in TitleOutcome:
            asked.add_metric([*self._labels.values(), outcome], self._titles.outcomes[outcome])
        yield asked
