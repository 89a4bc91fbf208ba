"""Owns a twin of what Redis does for one fleet: every script of the adapter, step by step, on dictionaries.

A test drives twin and scripts with the same random histories and compares all there is, so that what is shown with the
twin holds for the scripts. Records are kept as values: nothing here changes one. Left out are the log for history and
the bounds on load reports: neither says who owns what.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import msgspec

from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetChange, Pause, Versioned
from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.load_report import LoadReport
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord
from subgraph.operations.fleet.fleet_pulse import NOTHING_HELD, Beat, PodClaims
from subgraph.operations.fleet.fleet_writes import (
    Committed,
    Guard,
    IncarnationBehind,
    Leadership,
    NotLeading,
    PodLease,
    PodWrite,
    TileWrite,
)

LOAD_REPORTS_KEPT_MS = 10_000
REQUESTS_WAITING_MAX = 1_000

Told = FleetChange | CycleReport
Hears = Callable[[Told], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the leader's lease, and until when."""

    token: str
    name: str
    ends_at_ms: int


class Stored(msgspec.Struct):
    """All keys of a fleet; named as the prelude names them."""

    incarnation: int | None = None
    run_id: str = ""
    counter: int = 0
    published: int = 0
    era: int = 0
    restored: int | None = None
    tiles: dict[TileId, Versioned[TileRecord]] = msgspec.field(default_factory=dict)
    pods: dict[PodId, Versioned[PodRecord]] = msgspec.field(default_factory=dict)
    tokens: dict[PodId, tuple[str, int]] = msgspec.field(default_factory=dict)
    leases: dict[PodId, int] = msgspec.field(default_factory=dict)
    applied: dict[PodId, int] = msgspec.field(default_factory=dict)
    claims: dict[PodId, PodClaims] = msgspec.field(default_factory=dict)
    leader: Holder | None = None
    loads: list[tuple[int, LoadReport]] = msgspec.field(default_factory=list)
    cycle: CycleReport | None = None
    pause: Pause | None = None
    requirements: dict[SessionId, SessionRequirement] = msgspec.field(default_factory=dict)
    requests: list[tuple[str, int, bytes]] = msgspec.field(default_factory=list)

    def copy(self) -> "Stored":
        """A copy that changes by itself."""
        copied = copy(self)
        for name in _CONTAINERS:
            setattr(copied, name, getattr(self, name).copy())
        return copied


_CONTAINERS = tuple(one.name for one in msgspec.structs.fields(Stored) if one.default_factory in (dict, list))


class StoreTwin:
    """One Redis server, as a fleet sees it. Each call is one atomic step at the server's own time."""

    def __init__(self, now_ms: Callable[[], int], run_id: str = "run1") -> None:
        self.now_ms = now_ms
        self.run_id = run_id
        self.stored = Stored()
        self.listeners: dict[Hears, None] = {}
        """Who hears what is published, in the order of coming."""
        self.answers: dict[str, bytes] = {}
        self._requests_made = 0
        self._plans: dict[str, tuple[FleetPlan, int]] = {}
        self._keyed_plans: dict[str, tuple[KeyedPlan, int]] = {}

    def restart(self, run_id: str, stored: Stored | None = None) -> None:
        """Begin another run, with what the one before left behind: all of it, or of an earlier moment."""
        self.run_id = run_id
        self.stored = stored or Stored()
        self.listeners.clear()

    def beat(self) -> Beat:
        """beat.lua"""
        stored, now_ms = self.stored, self.now_ms()
        return Beat(
            now_ms=now_ms,
            incarnation=stored.incarnation or 0,
            published_version=stored.published,
            leader=holder.name if (holder := self._holder()) else None,
            leases=dict(stored.leases),
            applied=dict(stored.applied),
            last_cycle=stored.cycle,
            pause=stored.pause if stored.pause and stored.pause.until_ms > now_ms else None,
            is_adopted=self._is_adopted,
            era=stored.era,
            is_restored=stored.restored == stored.era,
            pods_with_claims=len(stored.claims),
        )

    def commit(
        self,
        guard: Guard,
        tiles: Sequence[TileWrite],
        pods: Sequence[PodWrite] = (),
        groups: Sequence[Sequence[TileWrite]] = (),
    ) -> Committed:
        """commit.lua"""
        stored = self.stored
        if isinstance(guard, Leadership):
            self._require_leads(guard)
        elif isinstance(guard, PodLease):
            self._require_instance(guard)
        self._require_adopted()
        now_ms = self.now_ms()
        pods_written: dict[PodId, PodRecord | None] = {}
        for pod in pods:
            in_lease = pod.if_lease_ended and stored.leases.get(pod.pod_id, 0) > now_ms
            if _version(stored.pods.get(pod.pod_id)) == pod.expected and not in_lease:
                pods_written[pod.pod_id] = pod.record
                if pod.if_lease_ended or pod.record is None:
                    self._forget_instance(pod.pod_id)
        units = [[one] for one in tiles] + [list(group) for group in groups]
        equal = [unit for unit in units if all(self._is_unchanged(one) for one in unit)]
        tiles_written = {one.tile_id: one.record for unit in equal for one in unit}
        version = 0
        if pods_written or tiles_written:
            version = self._reserve(1)
            _write(stored.pods, pods_written, version)
            _write(stored.tiles, tiles_written, version)
            self._publish(version, tiles_written, pods_written)
        return Committed(
            version,
            frozenset(one.tile_id for unit in units for one in unit if one.tile_id not in tiles_written),
            frozenset(pod.pod_id for pod in pods if pod.pod_id not in pods_written),
        )

    def require(self, session_id: SessionId, requirement: SessionRequirement | None) -> int:
        """require.lua"""
        noted = self.stored.requirements.get(session_id)
        if requirement is None and noted is None:
            return 0
        if requirement is not None and noted is not None and noted.revision >= requirement.revision:
            return 0
        version = self._reserve(1)
        if requirement is None:
            del self.stored.requirements[session_id]
        else:
            self.stored.requirements[session_id] = requirement
        self._publish(version, requirements={session_id: requirement})
        return version

    def reserve(self, leadership: Leadership, count: int, above: int = 0) -> int:
        """reserve.lua"""
        self._require_leads(leadership)
        first = self._reserve(count)
        if first <= above:
            raise _not_leading()
        return first

    def register_pod(self, pod_id: PodId, record: PodRecord, claims: Mapping[TileId, int] = NOTHING_HELD) -> int:
        """register_pod.lua"""
        if self.stored.era != record.era or not record.era:
            raise _not_adopted()
        version = self._reserve(1)
        self.stored.pods[pod_id] = Versioned(version, record)
        self.stored.tokens[pod_id] = (record.lease_token, record.lease_ms)
        self.stored.applied.pop(pod_id, None)
        if claims:
            self.stored.claims[pod_id] = PodClaims(pod_id, version, claims)
        self._renew(pod_id)
        self._publish(version, pods={pod_id: record})
        return version

    def renew_lease(self, lease: PodLease, applied_version: int | None, loads: LoadReport | None) -> None:
        """renew_lease.lua"""
        self._require_instance(lease)
        self._renew(lease.pod_id)
        if applied_version is not None:
            self.stored.applied[lease.pod_id] = applied_version
        if loads is not None:
            now_ms = self.now_ms()
            kept = [entry for entry in self.stored.loads if entry[0] >= now_ms - LOAD_REPORTS_KEPT_MS]
            self.stored.loads = [*kept, (now_ms, loads)]

    def end_pod(self, lease: PodLease, record: PodRecord) -> int:
        """end_pod.lua"""
        self._require_instance(lease)
        version = self._reserve(1)
        self._forget_instance(lease.pod_id)
        self.stored.pods[lease.pod_id] = Versioned(version, record)
        self._publish(version, pods={lease.pod_id: record})
        return version

    def try_lead(self, name: str, token: str, lease_ms: int) -> bool:
        """try_lead.lua"""
        holder = self._holder()
        if holder is not None and holder.token != token:
            return False
        self.stored.leader = Holder(token, name, self.now_ms() + lease_ms)
        return True

    def begin_term(self, leadership: Leadership, seen_version: int = 0) -> bool:
        """begin_term.lua"""
        stored, holder = self.stored, self._holder()
        if holder is None or holder.token != leadership.token:
            raise _not_leading()
        if (stored.incarnation or 0) >= leadership.incarnation:
            raise IncarnationBehind(stored.incarnation or 0)
        has_forgotten = not self._is_adopted or stored.published < seen_version
        stored.incarnation, stored.run_id, stored.counter = leadership.incarnation, self.run_id, 0
        if has_forgotten:
            stored.era, stored.restored = leadership.incarnation, None
            for forgotten in (stored.tokens, stored.leases, stored.applied):
                forgotten.clear()
        self._publish(self._reserve(1))
        return has_forgotten

    def drop_claims(self, leadership: Leadership, claims: PodClaims) -> None:
        """drop_claims.lua"""
        self._require_leads(leadership)
        waiting = self.stored.claims.get(claims.pod_id)
        if waiting is not None and waiting.version == claims.version:
            del self.stored.claims[claims.pod_id]

    def declare_restored(self, leadership: Leadership) -> bool:
        """declare_restored.lua"""
        self._require_leads(leadership)
        if self.stored.claims:
            return False
        self.stored.restored = self.stored.era
        return True

    def keep_leading(self, leadership: Leadership, lease_ms: int) -> None:
        """keep_leading.lua"""
        holder = self._require_leads(leadership)
        self.stored.leader = Holder(holder.token, holder.name, self.now_ms() + lease_ms) if lease_ms else None

    def announce_cycle(self, leadership: Leadership, report: CycleReport) -> None:
        """announce_cycle.lua"""
        self._require_leads(leadership)
        self.stored.cycle = report
        self._tell(report)

    def take_requests(self, leadership: Leadership, requests_max: int) -> list[tuple[str, bytes]]:
        """take_requests.lua, and the choice of those whose callers still wait."""
        self._require_leads(leadership)
        requests, now_ms = self.stored.requests, self.now_ms()
        self.stored.requests = requests[requests_max:]
        return [(name, request) for name, deadline_ms, request in requests[:requests_max] if deadline_ms > now_ms]

    def put_request(self, request: bytes, deadline_ms: int) -> str:
        """Add a request to the list; its id."""
        self._requests_made += 1
        request_id = f"request-{self._requests_made}"
        self.stored.requests = [*self.stored.requests, (request_id, deadline_ms, request)][-REQUESTS_WAITING_MAX:]
        return request_id

    def keep_plan(self, plan: FleetPlan) -> None:
        """Keep a plan for its lifetime."""
        self._plans[plan.id] = (plan, self.now_ms() + max(1, plan.expires_at_ms - plan.created_at_ms))

    def read_plan(self, plan_id: str) -> FleetPlan | None:
        """A plan whose lifetime is not over."""
        plan, ends_at_ms = self._plans.get(plan_id, (None, 0))
        return plan if ends_at_ms > self.now_ms() else None

    def begin_keyed_plan(self, leadership: Leadership, key: str, keyed: KeyedPlan, kept_ms: int) -> KeyedPlan | None:
        """begin_keyed_plan.lua; the twin lives too short for its keys to be too many."""
        self._require_leads(leadership)
        before = self.read_keyed_plan(key)
        if before is None:
            self._keyed_plans[key] = (keyed, self.now_ms() + kept_ms)
        return before

    def end_keyed_plan(self, key: str, keyed: KeyedPlan) -> None:
        """Note that a key's plan is carried out."""
        if self.read_keyed_plan(key) is not None:
            self._keyed_plans[key] = (msgspec.structs.replace(keyed, is_done=True), self._keyed_plans[key][1])

    def read_keyed_plan(self, key: str) -> KeyedPlan | None:
        """What is remembered for a key."""
        keyed, ends_at_ms = self._keyed_plans.get(key, (None, 0))
        return keyed if ends_at_ms > self.now_ms() else None

    # What the prelude's functions do.

    def _reserve(self, count: int) -> int:
        self._require_adopted()
        self.stored.counter += count
        return ((self.stored.incarnation or 0) << 32) + self.stored.counter - count + 1

    @property
    def _is_adopted(self) -> bool:
        return self.stored.run_id == self.run_id

    def _require_adopted(self) -> None:
        if not self._is_adopted:
            raise _not_adopted()

    def _holder(self) -> Holder | None:
        holder = self.stored.leader
        return holder if holder and holder.ends_at_ms > self.now_ms() else None

    def _require_leads(self, leadership: Leadership) -> Holder:
        holder = self._holder()
        if (
            holder is None
            or holder.token != leadership.token
            or self.stored.incarnation != leadership.incarnation
            or not self._is_adopted
        ):
            raise _not_leading()
        return holder

    def _require_instance(self, lease: PodLease) -> None:
        held = self.stored.tokens.get(lease.pod_id)
        if held is None or held[0] != lease.token:
            self._require_adopted()
            raise LeaseLost(lease.pod_id, "the lease is not of the running instance", superseded=held is not None)

    def _renew(self, pod_id: PodId) -> None:
        self.stored.leases[pod_id] = self.now_ms() + self.stored.tokens[pod_id][1]

    def _forget_instance(self, pod_id: PodId) -> None:
        for kept in (self.stored.tokens, self.stored.applied, self.stored.claims, self.stored.leases):
            kept.pop(pod_id, None)

    def _is_unchanged(self, write: TileWrite) -> bool:
        if write.lost_owner is not None and write.lost_owner in self.stored.tokens:
            return False
        return _version(self.stored.tiles.get(write.tile_id)) == write.expected

    def _publish(
        self,
        version: int,
        tiles: Mapping[TileId, TileRecord | None] | None = None,
        pods: Mapping[PodId, PodRecord | None] | None = None,
        requirements: Mapping[SessionId, SessionRequirement | None] | None = None,
    ) -> None:
        previous, self.stored.published = self.stored.published, version
        self._tell(FleetChange(previous, version, tiles or {}, pods or {}, requirements or {}, self.now_ms()))

    def _tell(self, told: Told) -> None:
        for hears in list(self.listeners):
            hears(told)


def _version(found: Versioned[Any] | None) -> int:
    return found.version if found else 0


def _write(into: dict[Any, Versioned[Any]], written: Mapping[Any, Any], version: int) -> None:
    for key, record in written.items():
        if record is None:
            into.pop(key, None)
        else:
            into[key] = Versioned(version, record)


def _not_leading() -> NotLeading:
    return NotLeading("another process leads, or a newer incarnation is in force")


def _not_adopted() -> Unavailable:
    return Unavailable("no leader has taken over the live store", retry_after_seconds=1.0)
