"""Owns what can be set: one field each, read from `SESSION_MANAGER_*`, and what is refused."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from subgraph.domain.claims import ClaimNames
from subgraph.domain.expiry import MAX_HISTORY_MAX, TTL_MAX, TTL_MIN
from subgraph.domain.loads import LoadMetric
from subgraph.logs import LEVELS
from subgraph.operations.about import OPERATION_OBJECTS_MAX
from subgraph.settings import titles, tokens
from subgraph.settings.addresses import is_loopback
from subgraph.settings.texts import PREFIX, text_of, unknown, value_of, variable


class BadSetting(Exception):
    """A setting is malformed, or settings contradict each other: one line that names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration of a process. Durations are in seconds, except those whose name has another unit."""

    host: str = "127.0.0.1"
    """The address to listen on; one beyond this machine needs authentication, or `ALLOW_OPEN_ACCESS`."""
    port: int = 4001
    """The port to listen on; 0 takes a free one."""
    data_dir: Path = Path("session-manager-data")
    """Where the embedded stores keep their data."""
    redis_url: str | None = None
    """The Redis or Valkey to use: `redis://…`, `rediss://…` or `unix://…`; without it an embedded Valkey is started."""
    database_url: str | None = None
    """The database to use: `sqlite:///…` or `postgresql://…`; without it a SQLite file in the data directory."""
    migrate_on_start: bool = True
    """Whether a start upgrades the database to this version's schema; if not, an older schema is refused."""
    workers: int = 1
    """Server processes."""
    access_token: str | None = field(default=None, repr=False)
    """A shared secret that callers send as their bearer token; it allows everything, as the local tenant."""
    allow_open_access: bool = False
    """Whether to listen beyond this machine without authentication, because another layer protects it."""
    jwt_secret: str | None = field(default=None, repr=False)
    """The secret with which tokens are signed (HS256); set at most one of this and the next two."""
    jwt_public_key_file: Path | None = None
    """The public key or certificate, in PEM, that verifies tokens."""
    jwt_jwks_url: str | None = None
    """The URL at which the issuer publishes its keys (JWKS)."""
    jwt_algorithms: tuple[str, ...] = ()
    """The accepted algorithms; by default HS256 with a secret, else RS256, RS384, RS512, ES256, ES384, ES512."""
    jwt_issuer: str | None = None
    """The `iss` that a token must have; by default it is not checked."""
    jwt_audience: str | None = None
    """The `aud` that a token must contain; by default it is not checked."""
    jwt_leeway_seconds: float = 10.0
    """The clock skew allowed when a token's times are checked."""
    jwt_tenant_claims: tuple[str, ...] = ClaimNames().tenant
    """Claims for the tenant; the first one present counts."""
    jwt_owner_claims: tuple[str, ...] = ClaimNames().owner
    """Claims for the owner; the first one present counts."""
    jwt_scope_claims: tuple[str, ...] = ClaimNames().scopes
    """Claims with scopes; all of them count."""
    jwt_tenant: str | None = None
    """The tenant of tokens that name none; by default these are refused."""
    gateway_secret: str | None = field(default=None, repr=False)
    """A secret that the gateway adds to every request; if set, requests without it are refused."""
    gateway_secret_header: str = "X-Gateway-Secret"
    """The header, or entry of `connection_init`, with the gateway's secret."""
    scope_directives: bool = False
    """Whether the SDL has @requiresScopes and @authenticated, which Apollo Gateway refuses."""
    fleet: str = "default"
    """The fleet's id; several fleets can share one Redis and database."""
    pod_lease_seconds: float = 3.0
    """The lease of a pod that asks for none."""
    pod_lease_seconds_max: float = 5.0
    """The longest lease of a pod, and how long a new leader waits before it takes a tile from anyone."""
    leader_lease_seconds: float = 2.0
    """The lease of the leader, the process that runs the control loop."""
    cycle_seconds: float = 1.0
    """The interval of regular control cycles."""
    report_seconds: float = 1.0
    """The interval at which pods report loads; a tile is STALE after three of them."""
    prepare_seconds: float = 10.0
    """How long a pod may prepare to take over a tile before another one is chosen."""
    take_over_seconds: float = 60.0
    """How long a pod may take to acknowledge a tile as ACTIVE before the tile is given to another one."""
    drain_seconds: float = 10.0
    """How long a former owner may take to acknowledge a tile as RELEASED before it counts as released."""
    load_metric: LoadMetric = LoadMetric.RECORDS
    """The load to balance: `records` or `bytes` per second, or the `backlog`."""
    split_tiles: bool = True
    """Whether hot tiles split and cold ones merge automatically; operators can do both in any case."""
    split_depth_max: int = 3
    """How many resolutions finer than its registered cell a tile may become."""
    split_resolution_max: int = 15
    """The finest resolution that a tile may split to."""
    merge_after_seconds: float = 300.0
    """How long siblings must have been on the same pod before they merge automatically."""
    history_retention_days: int = 30
    """How long ended terms of ownership are kept in the history."""
    enabled: bool = True
    """Whether session management is on; if not, mutations and subscriptions are refused, and queries still work."""
    show_session_picker: bool = True
    """A hint to front ends whether to let users choose a session."""
    session_ttl_hours: float = 720.0
    """The TTL of sessions created without one."""
    session_max_history: int = 500
    """How many messages a session's working history keeps, unless its creator chooses."""
    session_retention_days: float = 30.0
    """How long after its end, expiry or deletion a session is purged."""
    journal_retention_days: float = 30.0
    """How long the journal keeps what nobody asked for: ticks, and what the fleet did to tiles."""
    session_sweep_seconds: float = 5.0
    """The interval of sweeps for sessions that have expired or are past their retention."""
    session_copies_max: int = 10_000
    """How many sessions a process caches; the least recently used are evicted first."""
    title_provider_url: str | None = None
    """The service that makes titles of queries ([titles.md](titles.md)); else the first line is the title."""
    title_provider_token: str | None = field(default=None, repr=False)
    """The bearer token sent to the title provider."""
    title_provider_seconds: float = 10.0
    """How long the provider may take before the query's first line becomes the title."""
    idempotency_hours: float = 24.0
    """How long an idempotency key is remembered."""
    operation_objects_max: int = OPERATION_OBJECTS_MAX
    """How many objects an operation may ask for; nested lists multiply, by `first` and by references."""
    sockets_max: int = 10_000
    """How many WebSockets a process has open at most; further ones are refused with 503."""
    metrics: bool = True
    """Whether `/metrics` is served."""
    log_level: str = "warning"
    """How much is logged: `debug`, `info`, `warning` or `error`."""

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65_535, "port", f"must lie between 0 and 65535, not {self.port}")
        _require(1 <= self.workers <= 64, "workers", f"must lie between 1 and 64, not {self.workers}")
        _require(
            self.fleet.replace("-", "").replace("_", "").isalnum() and len(self.fleet) <= 64,
            "fleet",
            "must have 1 to 64 letters, digits, - or _",
        )
        _require(
            0.5 <= self.pod_lease_seconds <= self.pod_lease_seconds_max <= 60,
            "pod_lease_seconds",
            f"must be at least 0.5 and at most {variable('pod_lease_seconds_max')}, which is at most 60",
        )
        for name in ("leader_lease_seconds", "cycle_seconds", "report_seconds"):
            _require(0.05 <= getattr(self, name) <= 60, name, "must lie between 0.05 and 60")
        for name in ("prepare_seconds", "take_over_seconds", "drain_seconds"):
            _require(0.5 <= getattr(self, name) <= 3_600, name, "must lie between 0.5 and 3600")
        for name in ("split_depth_max", "split_resolution_max"):
            _require(0 <= getattr(self, name) <= 15, name, f"must lie between 0 and 15, not {getattr(self, name)}")
        _require(0 <= self.merge_after_seconds <= 604_800, "merge_after_seconds", "must lie between 0 and 604800")
        copies = self.session_copies_max
        _require(2 <= copies <= 10_000, "session_copies_max", f"must lie between 2 and 10000, not {copies}")
        # A day at least: churn can be asked for over that time.
        kept = self.history_retention_days
        _require(1 <= kept <= 3_650, "history_retention_days", f"must lie between 1 and 3650, not {kept}")
        hours = self.session_ttl_hours
        hours_max = TTL_MAX.total_seconds() / 3_600
        _require(
            TTL_MIN.total_seconds() / 3_600 <= hours <= hours_max,
            "session_ttl_hours",
            f"must lie between 1 second and {hours_max:g} hours, not {hours:g}",
        )
        messages = self.session_max_history
        _require(1 <= messages <= MAX_HISTORY_MAX, "session_max_history", f"must lie between 1 and {MAX_HISTORY_MAX}")
        days = self.session_retention_days
        _require(0 < days <= 3_650, "session_retention_days", f"must be above 0 and at most 3650, not {days:g}")
        days = self.journal_retention_days
        _require(0 < days <= 3_650, "journal_retention_days", f"must be above 0 and at most 3650, not {days:g}")
        _require(0.05 <= self.session_sweep_seconds <= 3_600, "session_sweep_seconds", "must lie between 0.05 and 3600")
        kept_hours = self.idempotency_hours
        _require(
            0.01 <= kept_hours <= 8_760, "idempotency_hours", f"must lie between 0.01 and 8760, not {kept_hours:g}"
        )
        most = self.operation_objects_max
        _require(10_000 <= most <= 10**8, "operation_objects_max", f"must lie between 10000 and 100000000, not {most}")
        sockets = self.sockets_max
        _require(1 <= sockets <= 10**6, "sockets_max", f"must lie between 1 and 1000000, not {sockets}")
        levels = f"must be one of {', '.join(LEVELS)}, not {self.log_level!r}"
        _require(self.log_level in LEVELS, "log_level", levels)
        for name, why in (*tokens.problems(self), *titles.problems(self)):
            _require(False, name, why)
        _require(
            self.is_loopback or self.tells_callers or self.allow_open_access,
            "host",
            f"{self.host} can be reached from other machines, and anybody could read and write: set "
            f"{PREFIX}ACCESS_TOKEN or {PREFIX}JWT_…, or {PREFIX}ALLOW_OPEN_ACCESS=true if another layer guards it",
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        return is_loopback(self.host)

    @property
    def verifies_tokens(self) -> bool:
        """Whether callers may show signed tokens."""
        return any(one is not None for one in (self.jwt_secret, self.jwt_public_key_file, self.jwt_jwks_url))

    @property
    def tells_callers(self) -> bool:
        """Whether callers must say who they are."""
        return self.access_token is not None or self.verifies_tokens

    @property
    def is_local_only(self) -> bool:
        """Whether it serves this machine alone, because it cannot tell callers apart."""
        return self.is_loopback and not self.tells_callers and not self.allow_open_access

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, chosen: Mapping[str, Any] | None = None
    ) -> "Settings":
        """The settings as the environment gives them, under those chosen otherwise.

        Raises:
            BadSetting: one is malformed.
        """
        given: dict[str, Any] = {}
        for one in fields(cls):
            text = environment.get(variable(one.name))
            if text:
                given[one.name] = _parsed(one.name, one.default, text)
        return cls(**(given | dict(chosen or {})))

    def to_environment(self) -> dict[str, str]:
        """The settings as `from_environment` reads them."""
        pairs = ((variable(one.name), getattr(self, one.name)) for one in fields(self))
        return {name: text_of(value) for name, value in pairs if value is not None}


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What the environment sets that is no setting: a line for each, which a slip of the pen would need."""
    return [*unknown(environment, [one.name for one in fields(Settings)])]


def _parsed(name: str, default: object, text: str) -> object:
    try:
        # A file that need not be there has no default to tell its kind.
        if name == "jwt_public_key_file":
            return Path(text)
        return value_of(default, text.lower() if name == "log_level" else text)
    except ValueError as error:
        raise BadSetting(f"{variable(name)} {error}") from None


def _require(condition: bool, name: str, why: str) -> None:
    if not condition:
        raise BadSetting(f"{variable(name)} {why}")
