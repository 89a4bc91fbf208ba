"""Owns how the fleet's picture becomes the planner's columns, and the planner's rows become named moves."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.tile_table import NOBODY
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.planning.columns import NO_LIMIT, UNOWNED, PlanningInput
from subgraph.domain.planning.explain import explain
from subgraph.domain.planning.plan import Plan, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import MoveReason, UnplaceableReason
from subgraph.domain.pods import PodRecord, PodStatus

PLAN_LIFETIME_MS = 60_000


@dataclass(frozen=True, slots=True)
class PlacementPolicy:
    """How tiles are placed: the balance sought, a tile's rest between two moves, how long a pod counts as new."""

    balance: BalancePolicy = field(default_factory=BalancePolicy)
    cool_down_ms: int = 10_000
    joined_within_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class HypotheticalPod:
    """A READY pod that does not exist, to see what it would change."""

    id: PodId
    capacity: float
    tiles_max: int | None = None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a dry run supposes: pods gone, pods added, all loads multiplied."""

    removed: frozenset[PodId] = frozenset()
    added: tuple[HypotheticalPod, ...] = ()
    load_factor: float = 1.0

    @property
    def is_real(self) -> bool:
        """Whether nothing is supposed: only then can a plan be carried out."""
        return self == WhatIf()


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """The fleet's balance before or after a plan."""

    imbalance: float
    max_utilization: float
    unassigned_tiles: int


class FleetMove(msgspec.Struct, frozen=True, array_like=True):
    """One tile that goes to another pod. `tile_version` and `target_version`: what the move was decided on."""

    tile_id: TileId
    source: PodId | None
    target: PodId
    reason: AssignmentReason
    load: float
    gain: float
    tile_version: int
    target_version: int


class FleetPlan(msgspec.Struct, frozen=True, array_like=True):
    """A plan by names, as it is stored, shown and applied. Times are Redis time, milliseconds; `churn` is load."""

    id: str
    base_version: int
    created_at_ms: int
    expires_at_ms: int
    moves: Sequence[FleetMove]
    unplaceable: Sequence[tuple[TileId, Sequence[str]]]
    skipped: str | None
    before: Outcome
    after: Outcome
    churn: float
    churn_lower_bound: float
    compute_ms: float
    is_hypothetical: bool = False


REALITY = WhatIf()


@dataclass(frozen=True, slots=True)
class _Columns:
    """The planner's input, and what its rows stand for."""

    input: PlanningInput
    tile_rows: npt.NDArray[np.intp]
    pods: Sequence[PodRow]


def plan_fleet(
    fleet: Fleet,
    plan_id: str,
    now_ms: int,
    policy: PlacementPolicy,
    *,
    settled: Mapping[TileId, TileRecord | None] | None = None,
    lost: Collection[PodId] = (),
    by_hand: bool = False,
    what_if: WhatIf = REALITY,
) -> FleetPlan:
    """Plan the fleet as it will be once `settled` is written and `lost` pods are gone.

    Args:
        fleet: the picture to plan on.
        plan_id: what the plan will be called.
        now_ms: the live store's time.
        policy: how to place.
        settled: records that this cycle writes anyway; None: the tile goes.
        lost: pods this cycle declares lost.
        by_hand: an operator asks: hysteresis and cool-down do not hold anything back.
        what_if: what to suppose about pods and loads.
    """
    started = time.perf_counter()
    balance = replace(policy.balance, trigger=policy.balance.target) if by_hand else policy.balance
    gone = what_if.removed.union(lost)
    columns = _columns(fleet, settled or {}, gone, now_ms, 0 if by_hand else policy.cool_down_ms, what_if)
    plan = plan_rebalance(columns.input, balance)
    moves = _moves(fleet, columns, plan, now_ms, policy, by_hand)
    return FleetPlan(
        id=plan_id,
        base_version=fleet.version,
        created_at_ms=now_ms,
        expires_at_ms=now_ms + PLAN_LIFETIME_MS,
        moves=moves,
        unplaceable=[
            (fleet.tiles.ids[columns.tile_rows[row]], [UnplaceableReason(reason).name])
            for row, reason in zip(plan.unplaceable_tiles.tolist(), plan.unplaceable_reasons.tolist(), strict=True)
        ],
        skipped=plan.skip.value if plan.skip else None,
        before=Outcome(plan.before.imbalance, plan.before.max_utilization, plan.before.unassigned_tiles),
        after=Outcome(plan.after.imbalance, plan.after.max_utilization, plan.after.unassigned_tiles),
        churn=plan.churn,
        churn_lower_bound=plan.churn_lower_bound,
        compute_ms=(time.perf_counter() - started) * 1_000,
        is_hypothetical=not what_if.is_real,
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod as a place for a tile: what speaks against it, and what it would be like."""

    pod_id: PodId
    feasible: bool
    rejected_by: tuple[str, ...]
    score: float
    score_terms: Mapping[str, float]


def explain_tile(fleet: Fleet, tile_id: TileId, now_ms: int, policy: PlacementPolicy) -> list[Candidate]:
    """Why a tile is where it is: every live pod as a place for it, best first (by the gain of having it there).

    Terms: `utilizationAfter` of the pod with the tile, `gain` in utilization of the hotter of the two pods, `churn` the
    load that would move, `neighborsKept` the neighbouring tiles the pod has.
    """
    columns = _columns(fleet, {}, (), now_ms, policy.cool_down_ms, REALITY)
    row = fleet.tiles.row(tile_id)
    position = np.flatnonzero(columns.tile_rows == row)
    if not len(position):
        return []
    told = explain(columns.input, policy.balance, int(position[0]))
    candidates = [
        Candidate(
            pod.id,
            bool(told.possible[index]),
            tuple(code.name for code in told.objections[index]),
            float(told.gain[index]),
            {
                "utilizationAfter": float(told.utilization_after[index]),
                "gain": float(told.gain[index]),
                "churn": float(told.churn[index]),
                "neighborsKept": float(told.neighbors_kept[index]),
            },
        )
        for index, pod in enumerate(columns.pods)
    ]
    return sorted(candidates, key=lambda one: (not one.feasible, -one.score, one.pod_id))


def one_move(move: FleetMove, plan_id: str, base_version: int, now_ms: int) -> FleetPlan:
    """A plan of a single move, wanted by hand; it claims nothing about balance."""
    unknown = Outcome(imbalance=1.0, max_utilization=0.0, unassigned_tiles=0)
    return FleetPlan(
        id=plan_id,
        base_version=base_version,
        created_at_ms=now_ms,
        expires_at_ms=now_ms + PLAN_LIFETIME_MS,
        moves=[move],
        unplaceable=[],
        skipped=None,
        before=unknown,
        after=unknown,
        churn=move.load,
        churn_lower_bound=0.0,
        compute_ms=0.0,
    )


def needs_planning(fleet: Fleet, settled: Mapping[TileId, TileRecord | None]) -> bool:
    """Whether something cannot wait for the next regular round: a tile without an owner, or a draining pod's."""
    tiles = fleet.tiles
    unowned = tiles.exists[: tiles.rows_used] & (tiles.owner[: tiles.rows_used] == NOBODY)
    if np.count_nonzero(unowned) > len(tiles.retiring):
        return True
    if any(record is not None and record.owner is None and not record.retiring for record in settled.values()):
        return True
    draining = [fleet.pods.row_or_new(pod.id) for pod in fleet.pods if pod.record.status is PodStatus.DRAINING]
    return bool(draining) and bool(np.isin(tiles.owner[: tiles.rows_used], draining).any())


def _columns(
    fleet: Fleet,
    settled: Mapping[TileId, TileRecord | None],
    lost: Collection[PodId],
    now_ms: int,
    cool_down_ms: int,
    what_if: WhatIf,
) -> _Columns:
    tiles = fleet.tiles
    used = tiles.rows_used
    owner = tiles.owner[:used].copy()
    planned = tiles.exists[:used].copy()
    draining = [fleet.pods.row_or_new(pod.id) for pod in fleet.pods if pod.record.status is PodStatus.DRAINING]
    # A tile rests between two moves, but not on a pod that wants to leave.
    rested = (now_ms - tiles.owner_since_ms[:used] >= cool_down_ms) | np.isin(owner, draining)
    movable = (tiles.owner_acknowledged_ms[:used] > 0) & rested
    for row, term in tiles.next.items():
        owner[row] = fleet.pods.row_or_new(term.pod_id)
    movable[[*tiles.next, *tiles.draining]] = False
    planned[list(tiles.retiring)] = False
    for tile_id, record in settled.items():
        settled_row = tiles.row(tile_id)
        assert settled_row is not None
        movable[settled_row] = False
        if record is None or record.retiring:
            planned[settled_row] = False
            continue
        heir = record.next or record.owner
        owner[settled_row] = fleet.pods.row_or_new(heir.pod_id) if heir else NOBODY
    pods = [pod for pod in fleet.pods if pod.is_known and pod.record.status.is_live and pod.id not in lost]
    index_of_row = np.full(len(fleet.pods.rows) + 1, UNOWNED, np.int32)
    for index, pod in enumerate(pods):
        index_of_row[fleet.pods.row_or_new(pod.id)] = index
    pods += map(_hypothetical_row, what_if.added)
    # A pod whose record has not arrived yet may be live: its tiles are left alone until it has.
    unknown = [fleet.pods.row_or_new(pod.id) for pod in fleet.pods if not pod.is_known]
    planned &= ~np.isin(owner, unknown)
    tile_rows = np.flatnonzero(planned)
    status = [pod.record.status for pod in pods]
    limits = [pod.record.tiles_max for pod in pods]
    return _Columns(
        PlanningInput(
            tile_load=tiles.smoothed[tile_rows] * what_if.load_factor,
            tile_pod=index_of_row[owner[tile_rows]],  # NOBODY reads the last entry, which is UNOWNED
            tile_movable=movable[tile_rows],
            pod_capacity=np.array([pod.record.capacity for pod in pods], np.float64),
            pod_accepts=np.array([one is PodStatus.READY for one in status], np.bool_),
            pod_evacuates=np.array([one is PodStatus.DRAINING for one in status], np.bool_),
            pod_tiles_max=np.array([NO_LIMIT if limit is None else limit for limit in limits], np.int64),
            tiles_in_flight=len(tiles.next) + len(tiles.draining),
            tile_pin=_pins(fleet, pods, index_of_row)[tile_rows] if tiles.pins else None,
        ),
        tile_rows,
        pods,
    )


def _pins(fleet: Fleet, pods: Sequence[PodRow], index_of_row: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    # A pin holds while its pod may keep tiles: that of a lost or draining pod must not leave the tile without an owner.
    keeping = {pod.id for pod in pods if pod.record.status in (PodStatus.READY, PodStatus.CORDONED)}
    pins = np.full(fleet.tiles.rows_used, UNOWNED, np.int32)
    for row, pod_id in fleet.tiles.pins.items():
        if pod_id in keeping:
            pins[row] = index_of_row[fleet.pods.row_or_new(pod_id)]
    return pins


def _hypothetical_row(pod: HypotheticalPod) -> PodRow:
    record = PodRecord(
        service="", capacity=pod.capacity, lease_ms=0, lease_token="", registered_at_ms=0, tiles_max=pod.tiles_max
    )
    return PodRow(pod.id, record, changed_at=0)


def _moves(
    fleet: Fleet, columns: _Columns, plan: Plan, now_ms: int, policy: PlacementPolicy, by_hand: bool
) -> list[FleetMove]:
    tiles = fleet.tiles
    moves = []
    for tile, source, target, kind, load, gain in zip(
        plan.tiles.tolist(),
        plan.sources.tolist(),
        plan.targets.tolist(),
        plan.reasons.tolist(),
        plan.loads.tolist(),
        plan.gains.tolist(),
        strict=True,
    ):
        row, pod = int(columns.tile_rows[tile]), columns.pods[target]
        moves.append(
            FleetMove(
                tile_id=tiles.ids[row],
                source=columns.pods[source].id if source != UNOWNED else None,
                target=pod.id,
                reason=_reason(kind, bool(tiles.last_epoch[row]), pod, now_ms, policy, by_hand),
                load=load,
                gain=gain,
                tile_version=int(tiles.changed_at[row]),
                target_version=pod.changed_at,
            )
        )
    return moves


def _reason(
    kind: int, was_owned: bool, target: PodRow, now_ms: int, policy: PlacementPolicy, by_hand: bool
) -> AssignmentReason:
    match MoveReason(kind):
        case MoveReason.PLACED:
            return AssignmentReason.POD_LOST if was_owned else AssignmentReason.INITIAL
        case MoveReason.EVACUATED:
            return AssignmentReason.POD_DRAINED
        case MoveReason.REPAIRED:
            return AssignmentReason.MANUAL
        case MoveReason.BALANCED if by_hand:
            return AssignmentReason.MANUAL
        case MoveReason.BALANCED if now_ms - target.record.registered_at_ms < policy.joined_within_ms:
            return AssignmentReason.POD_JOINED
        case _:
            return AssignmentReason.LOAD_BALANCE
