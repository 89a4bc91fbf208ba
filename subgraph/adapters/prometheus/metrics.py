"""Owns what Prometheus scrapes: the fleet and its control loop, requests, and the health of this process."""

from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.health import HEALTHS, health_codes
from subgraph.operations.control.cycle_facts import CycleFacts
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.readings import sums
from subgraph.operations.supervision import Supervisor


class Metrics:
    """The metrics of one process. With several workers each answers for itself, under its `process` label."""

    def __init__(self, fleet_id: str, process: str, view: FleetView, supervisor: Supervisor, report_ms: int) -> None:
        self._registry = CollectorRegistry()
        labels = {"fleet": fleet_id, "process": process}
        self._registry.register(_FleetCollector(labels, view, supervisor, report_ms))

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(name, text, ["fleet", "process", *more], registry=self._registry)

        self._labels = labels
        self._moves = counter("session_manager_moves", "Tiles given to another pod, by reason.", "reason")
        self._load_moved = counter("session_manager_load_moved", "Load given to another pod, by reason.", "reason")
        self._splits = counter("session_manager_tile_splits", "Tiles that began to split into their H3 children.")
        self._merges = counter("session_manager_tile_merges", "Sets of H3 siblings that began to merge.")
        self._skips = counter("session_manager_skips", "Regular cycles that moved nothing, by reason.", "reason")
        self._lost = counter("session_manager_pods_lost", "Pods declared lost.")
        self._conflicts = counter("session_manager_commit_conflicts", "Tiles that changed under a decision.")
        self._quarantines = counter("session_manager_quarantines", "Quarantines imposed on tiles whose pods died.")
        self._cycle_seconds = Histogram(
            "session_manager_cycle_seconds",
            "Duration of control cycles.",
            ["fleet", "process"],
            registry=self._registry,
        )
        self._requests = Counter(
            "session_manager_http_requests", "HTTP requests, by status.", ["process", "status"], registry=self._registry
        )
        self._process = process

    def add(self, collector: Collector) -> None:
        """Have another part of the process tell its metrics, too."""
        self._registry.register(collector)

    def observe_cycle(self, facts: CycleFacts) -> None:
        """Count what a control cycle did."""
        self._cycle_seconds.labels(**self._labels).observe(facts.report.duration_ms / 1_000)
        for move in facts.moves:
            self._moves.labels(**self._labels, reason=move.reason.value).inc()
            self._load_moved.labels(**self._labels, reason=move.reason.value).inc(move.load)
        self._splits.labels(**self._labels).inc(facts.splits)
        self._merges.labels(**self._labels).inc(facts.merges)
        if facts.skip:
            self._skips.labels(**self._labels, reason=facts.skip).inc()
        self._lost.labels(**self._labels).inc(len(facts.lost_pods))
        self._conflicts.labels(**self._labels).inc(facts.conflicts)
        self._quarantines.labels(**self._labels).inc(facts.quarantines)

    def observe_request(self, status: int) -> None:
        """Count an answered HTTP request."""
        self._requests.labels(process=self._process, status=str(status)).inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _FleetCollector(Collector):
    """Reads the fleet at the moment of the scrape."""

    def __init__(self, labels: dict[str, str], view: FleetView, supervisor: Supervisor, report_ms: int) -> None:
        self._labels = labels
        self._view = view
        self._supervisor = supervisor
        self._report_ms = report_ms

    def collect(self) -> Iterator[Metric]:
        """The values of this moment; those of the fleet are left out while this process has lost touch with it."""
        gauge = self._gauge
        yield gauge("background_tasks_dead", "Background tasks that ended.", len(self._supervisor.failures))
        yield from self._load_counters()
        yield gauge("fleet_current", "Whether the picture of the fleet is young enough.", float(self._view.is_current))
        yield gauge("history_unrecorded", "Changes of tiles not in SQL yet.", self._view.unrecorded_changes)
        dropped = self._view.dropped_changes
        yield gauge("history_dropped", "Changes of tiles that were too many to wait for SQL, since ever.", dropped)
        try:
            fleet, now_ms = self._view.current(), self._view.now_ms()
        except Unavailable:
            return
        totals = sums(fleet, now_ms)
        yield gauge("lag_seconds", "For how long changes may have gone unseen.", self._view.lag_ms / 1_000)
        yield gauge("pods", "Pods known.", totals.pod_count)
        yield gauge("moves_in_flight", "Tiles in the middle of a handoff.", totals.moves_in_flight)
        yield gauge("quarantined_tiles", "Tiles that must wait without an owner.", totals.quarantined_tiles)
        yield gauge("load", "Sum of smoothed tile loads.", totals.total_load)
        yield gauge("capacity", "Sum of READY pods' capacities.", totals.total_capacity)
        yield gauge("imbalance_ratio", "Highest over mean utilization.", totals.imbalance)
        rows = np.flatnonzero(fleet.tiles.in_force())
        counts = np.bincount(health_codes(fleet, rows, now_ms, self._report_ms), minlength=len(HEALTHS))
        tiles = GaugeMetricFamily("session_manager_tiles", "Tiles, by health.", labels=[*self._labels, "health"])
        for health, count in zip(HEALTHS, counts.tolist(), strict=True):
            tiles.add_metric([*self._labels.values(), health.value], count)
        yield tiles

    def _load_counters(self) -> Iterator[CounterMetricFamily]:
        loads = CounterMetricFamily(
            "session_manager_tile_loads",
            "Reported loads of tiles: taken over, or passed over since the pod's term was not in force.",
            labels=[*self._labels, "outcome"],
        )
        for outcome, count in (("taken", self._view.loads.taken), ("passed_over", self._view.loads.passed_over)):
            loads.add_metric([*self._labels.values(), outcome], count)
        yield loads
        name = "session_manager_load_reports_malformed"
        text = "Load reports that were none, and were set aside."
        malformed = CounterMetricFamily(name, text, labels=list(self._labels))
        malformed.add_metric(list(self._labels.values()), self._view.loads.malformed_reports)
        yield malformed

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"session_manager_{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family
