"""Owns the wiring of the fleet: its picture, its control loop, its history, and what is asked of them."""

import os
import socket
import time
from datetime import timedelta

from redis.asyncio import Redis

from subgraph.adapters.data_directory import DataDirectory
from subgraph.adapters.prometheus.metrics import Metrics
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.redis.term_log import RedisTermLog
from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.adapters.sql.tile_journal import SqlTileJournal
from subgraph.adapters.valkey.embedded_valkey import embedded_url
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.planning.resolution import ResolutionPolicy
from subgraph.operations.control.control_cycle import ControlCycle
from subgraph.operations.control.control_loop import ControlLoop
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.control.recovery import Recovery
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.coverage.tile_making import TileMaking
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.tile_changes import TileChangeFeed
from subgraph.operations.history.history_recorder import HistoryRecorder
from subgraph.operations.history.history_retention import HistoryRetention
from subgraph.operations.history.recent_ends import RecentEnds
from subgraph.operations.journal.health_journal import HealthJournal
from subgraph.operations.supervision import Supervisor
from subgraph.settings import Settings
from subgraph.wiring.units import ms, new_token

MS_PER_DAY = 86_400_000


class FleetParts:
    """The parts of one process that concern pods and tiles."""

    def __init__(
        self, settings: Settings, redis: Redis, database: Database, bus: RedisEventBus, supervisor: Supervisor
    ) -> None:
        name = f"{socket.gethostname()}/{os.getpid()}"
        self.name = name
        self.report_ms = ms(settings.report_seconds)
        self.lease_ms, lease_ms_max = ms(settings.pod_lease_seconds), ms(settings.pod_lease_seconds_max)
        self.lease_ms_max = lease_ms_max
        self.live = RedisLiveFleet(redis, bus, settings.fleet)
        self.view = FleetView(self.live, lease_ms_max, settings.load_metric, time.monotonic)
        self.metrics = Metrics(settings.fleet, name, self.view, supervisor, self.report_ms)
        self.coverage = SqlCoverageRegister(database, settings.fleet)
        self.retirement = Retirement(self.live, self.view)
        self.tile_making = TileMaking(self.coverage, self.live, self.view, self.retirement)
        self.tile_changes = TileChangeFeed(self.view, self.report_ms)
        self.candidacy = Candidacy(
            self.live,
            SqlFleetRegister(database),
            self.view,
            settings.fleet,
            name,
            ms(settings.leader_lease_seconds),
            lease_ms_max,
            new_token,
            settings.redis_url == embedded_url(DataDirectory(settings.data_dir).valkey_directory),
        )
        self.placement = PlacementPolicy(
            resolution=ResolutionPolicy(
                enabled=settings.split_tiles,
                finer_max=settings.split_depth_max,
                resolution_max=settings.split_resolution_max,
                merge_after_ms=ms(settings.merge_after_seconds),
            )
        )
        self.rebalancing = Rebalancing(
            self.live, self.view, self.placement, timedelta(hours=settings.idempotency_hours)
        )
        cycle = ControlCycle(
            self.live,
            self.view,
            self.candidacy,
            Recovery(self.live, self.view, self.candidacy, self.coverage),
            self.placement,
            HandoffPolicy(
                prepare_timeout_ms=ms(settings.prepare_seconds),
                take_over_timeout_ms=ms(settings.take_over_seconds),
                drain_timeout_ms=ms(settings.drain_seconds),
            ),
            self.metrics.observe_cycle,
            time.monotonic,
        )
        self.control_loop = ControlLoop(self.view, self.candidacy, cycle, settings.cycle_seconds, time.monotonic)
        self.terms = SqlTermHistory(database, settings.fleet)
        self.recent_ends = RecentEnds(self.view)
        tile_journal = SqlTileJournal(database, settings.fleet)
        term_log = RedisTermLog(redis, settings.fleet)
        self.history_recorder = HistoryRecorder(
            term_log, self.terms, self.view, self.candidacy, time.monotonic, tile_journal
        )
        self.health_journal = HealthJournal(self.view, self.leads, tile_journal, self.report_ms, settings.cycle_seconds)
        self.history_retention = HistoryRetention(
            self.terms, self.view, self.candidacy, settings.history_retention_days * MS_PER_DAY
        )

    def leads(self) -> bool:
        """Whether this process leads the fleet."""
        return self.candidacy.leads

    def start(self, supervisor: Supervisor) -> None:
        """Start what runs in the background."""
        supervisor.start("fleet-view", self.view.run())
        supervisor.start("tile-effects", self.tile_changes.collect())
        supervisor.start("tile-changes", self.tile_changes.run())
        supervisor.start("recent-ends", self.recent_ends.collect())
        supervisor.start("history-recorder", self.history_recorder.run())
        supervisor.start("health-journal", self.health_journal.run())
        supervisor.start("history-retention", self.history_retention.run())
        supervisor.start("control-loop", self.control_loop.run())
