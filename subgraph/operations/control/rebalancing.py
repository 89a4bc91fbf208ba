"""Owns rebalancing on request: a dry run in any process, and its application by the process that leads."""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import msgspec

from subgraph.domain.errors import InvalidInput, NotFound, PlanStale, Unavailable
from subgraph.domain.fleet.columns import REALITY, WhatIf
from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, prepare_plan
from subgraph.domain.idempotency import KEPT_FOR, IdempotencyKey, check_same
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.pods import CAPACITY_MAX, CAPACITY_MIN, check_bearing
from subgraph.operations.control.planning import planned
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet

ANSWER_SECONDS_MAX = 10.0
LOAD_FACTOR_MAX = 1_000.0
PODS_ADDED_MAX = 10_000


class RequestOnce(msgspec.Struct, frozen=True):
    """By what the leader knows a request that comes again. `key`: of its owner and text; `fingerprint`: of the rest."""

    key: str
    fingerprint: str
    kept_ms: int


class RebalanceRequest(msgspec.Struct, frozen=True):
    """What the leader is asked: carry out a plan, or plan and carry out now; `once`: not again if it was done."""

    plan_id: str | None
    max_churn: float | None
    emergency: bool = False
    once: RequestOnce | None = None


class RebalanceAnswer(msgspec.Struct, frozen=True):
    """What the leader did: the plan it carries out; or why it did not, with what had changed.

    `is_passing`: it cannot at the moment, whatever it is asked for. `key_used_for`: with what the key came before.
    """

    plan: FleetPlan | None = None
    refused: str | None = None
    is_passing: bool = False
    key_used_for: str | None = None
    changed_tile_ids: tuple[TileId, ...] = ()
    changed_pod_ids: tuple[PodId, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebalancing:
    """Plans on request."""

    live: LiveFleet
    view: FleetView
    policy: PlacementPolicy
    keys_kept_for: timedelta = KEPT_FOR

    async def plan(self, max_churn: float | None, what_if: WhatIf = REALITY, *, emergency: bool = False) -> FleetPlan:
        """A dry run on the fleet as it is now; without suppositions it is kept for a minute, for `apply`.

        Raises:
            InvalidInput: `max_churn` is no share between 0 and 1 or given in an emergency, or a supposition contradicts
                the fleet.
        """
        policy = with_max_churn(self.policy, max_churn)
        _check_emergency(max_churn, emergency=emergency)
        fleet, now_ms = self.view.current(), self.view.now_ms()
        _check_suppositions(fleet, what_if)
        async with self.view.frozen():
            prepared = prepare_plan(
                fleet, str(uuid4()), now_ms, policy, by_hand=True, emergency=emergency, what_if=what_if
            )
            plan = await planned(prepared)
        if what_if.is_real:
            await self.live.keep_plan(plan)
        return plan

    async def apply(
        self,
        plan_id: str | None,
        max_churn: float | None,
        *,
        emergency: bool = False,
        key: IdempotencyKey | None = None,
    ) -> FleetPlan:
        """Have the leader carry out a plan, or plan and carry out now; or the plan that was carried out with the key.

        Raises:
            InvalidInput: `max_churn` is no share, or is given together with a plan or in an emergency; or the key
                came with another request before.
            NotFound: there is no such plan (any more).
            PlanStale: what the plan touches has changed.
            Unavailable: nobody leads at the moment, or the fleet recovers from a loss of its live state.
        """
        with_max_churn(self.policy, max_churn)
        _check_emergency(max_churn, emergency=emergency)
        if plan_id is not None and max_churn is not None:
            raise InvalidInput("maxChurn is for planning: a plan has its churn already", ("maxChurn",))
        if plan_id is not None and emergency:
            raise InvalidInput("emergency is for planning: a plan is one already, or is none", ("emergency",))
        once = None if key is None else _once(key, self.keys_kept_for)
        begun = None if once is None else await self.live.read_keyed_plan(once.key)
        if key is not None and begun is not None:
            check_same(key, begun.fingerprint)
            if begun.is_done:
                return begun.plan
        elif plan_id is not None and await self.live.read_plan(plan_id) is None:
            raise NotFound("RebalancePlan", plan_id, ("planId",))
        request = msgspec.json.encode(RebalanceRequest(plan_id, max_churn, emergency, once))
        answered = await self.live.ask_leader(request, ANSWER_SECONDS_MAX)
        if answered is None:
            raise Unavailable("nobody leads the fleet at the moment", retry_after_seconds=1.0)
        try:
            answer = msgspec.json.decode(answered, type=RebalanceAnswer)
        except msgspec.MsgspecError as error:
            raise Unavailable("the leader's answer cannot be read: it runs another version") from error
        if key is not None and answer.key_used_for is not None:
            check_same(key, answer.key_used_for)
        if answer.is_passing:
            raise Unavailable(answer.refused or "", retry_after_seconds=1.0)
        if answer.plan is None:
            raise PlanStale(answer.refused or "", answer.changed_tile_ids, answer.changed_pod_ids)
        return answer.plan


def with_max_churn(policy: PlacementPolicy, max_churn: float | None) -> PlacementPolicy:
    """The policy with another bound on the load that may move.

    Raises:
        InvalidInput: it is no share between 0 and 1.
    """
    if max_churn is None:
        return policy
    if not 0 <= max_churn <= 1:
        raise InvalidInput(f"maxChurn is a share between 0 and 1, not {max_churn}", ("maxChurn",), "0 to 1")
    return replace(policy, balance=replace(policy.balance, load_moved_ratio_max=max_churn))


def _once(key: IdempotencyKey, kept_for: timedelta) -> RequestOnce:
    # Whose it is stays out of the live store.
    whose = json.dumps([key.tenant_id, key.owner_id, key.operation, key.text])
    digest = sha256(whose.encode()).hexdigest()
    return RequestOnce(digest, key.fingerprint, round(kept_for.total_seconds() * 1_000))


def _check_emergency(max_churn: float | None, *, emergency: bool) -> None:
    if emergency and max_churn is not None:
        raise InvalidInput("an emergency knows no budget: give either emergency or maxChurn", ("maxChurn",))


def _check_suppositions(fleet: Fleet, what_if: WhatIf) -> None:
    unknown = [pod_id for pod_id in what_if.removed if fleet.pods.get(pod_id) is None]
    if unknown:
        raise InvalidInput(f"there is no pod {unknown[0]!r} to remove", ("removePods",))
    if not 0 < what_if.load_factor <= LOAD_FACTOR_MAX:
        raise InvalidInput(
            f"loadFactor must be above 0 and at most {LOAD_FACTOR_MAX:g}, not {what_if.load_factor}",
            ("loadFactor",),
            f"{LOAD_FACTOR_MAX:g}",
        )
    if len(what_if.added) > PODS_ADDED_MAX:
        raise InvalidInput(f"at most {PODS_ADDED_MAX:,} pods to add", ("addPods",), f"{PODS_ADDED_MAX} pods")
    known = {pod.id for pod in fleet.pods}
    for index, pod in enumerate(what_if.added):
        if not CAPACITY_MIN <= pod.capacity <= CAPACITY_MAX:
            limits = f"{CAPACITY_MIN:g} to {CAPACITY_MAX:g}"
            raise InvalidInput(f"capacity must be a number from {limits}", ("addPods", str(index), "capacity"), limits)
        check_bearing(pod.zone, pod.labels, ("addPods", str(index)))
        if pod.id in known:
            raise InvalidInput(f"there is a pod {pod.id[:64]!r} already", ("addPods", str(index), "id"))
        known.add(pod.id)
