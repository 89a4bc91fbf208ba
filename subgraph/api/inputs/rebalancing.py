"""Owns the inputs about rebalancing: dry runs, plans to carry out, pauses."""

from datetime import datetime

import strawberry

from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.api.inputs.once import IDEMPOTENCY_KEY
from subgraph.api.scalars import Duration
from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.columns import HypotheticalPod, WhatIf
from subgraph.domain.ids import PodId


@strawberry.input(description="A READY pod to suppose in a dry run.")
class HypotheticalPodInput:
    """A pod that does not exist."""

    id: strawberry.ID = strawberry.field(description="A name for it; no pod may bear it.")
    capacity: float = strawberry.field(description="The load it could bear.")
    max_tiles: int | None = strawberry.field(default=None, description="The most tiles it would take; null: no limit.")
    zone: str | None = strawberry.field(default=None, description="Where it would run.")
    labels: list[SessionDetailInput] | None = strawberry.field(default=None, description="Labels it would bear.")


@strawberry.input(description="How to plan a dry run, and what to suppose in it.")
class RebalancePlanInput:
    """A dry run."""

    emergency: bool = strawberry.field(
        default=False,
        description=(
            "Only what has no owner, or whose pod drains, is given to others: all of it at once, without budget or "
            "cool-down, and nothing is moved for balance or for a changed rule."
        ),
    )
    remove_pods: list[strawberry.ID] | None = strawberry.field(
        default=None, description="What if these pods were gone? Their tiles are placed elsewhere."
    )
    add_pods: list[HypotheticalPodInput] | None = strawberry.field(
        default=None, description="What if these pods were there?"
    )
    load_factor: float = strawberry.field(default=1.0, description="What if every load were multiplied by this?")
    max_churn: float | None = strawberry.field(
        default=None, description="The most load to move, as a share of all load (0 to 1); null: the policy's budget."
    )


@strawberry.input(description="How long rebalancing rests, and why.")
class PauseRebalancingInput:
    """A pause."""

    until: datetime | None = strawberry.field(default=None, description="When it goes on; or give `duration`.")
    duration: Duration | None = strawberry.field(
        default=None, description="For how long; or give `until`. At most P7D."
    )
    reason: str = strawberry.field(description="Why, for those who wonder; at most 500 characters.")

    def until_ms(self, now_ms: int) -> int:
        """When it goes on, in milliseconds of Redis time.

        Raises:
            InvalidInput: not exactly one of `until` and `duration` is given.
        """
        if (self.until is None) == (self.duration is None):
            raise InvalidInput("give either until or duration", ("until",))
        if self.duration is not None:
            return now_ms + round(self.duration.total_seconds() * 1_000)
        assert self.until is not None
        return round(self.until.timestamp() * 1_000)


@strawberry.input(description="Apply a plan by its id; or, without one, plan and apply now.")
class RebalanceInput:
    """A rebalance."""

    plan_id: strawberry.ID | None = strawberry.field(default=None, description="A plan of `rebalancePlan`.")
    emergency: bool = strawberry.field(
        default=False,
        description=(
            "Only what has no owner, or whose pod drains, is given to others: all of it at once, without budget or "
            "cool-down, and nothing is moved for balance or for a changed rule."
        ),
    )
    max_churn: float | None = strawberry.field(
        default=None, description="Without a plan: the most load to move, as a share of all load (0 to 1)."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description=(
            f"{IDEMPOTENCY_KEY} What was refused is not remembered; a plan that was cut short is gone on with; the "
            "last 1,000 keys are remembered."
        ),
    )


def what_if_of(wanted: RebalancePlanInput) -> WhatIf:
    """What a dry run supposes, as the domain's value.

    Raises:
        InvalidInput: a label of a supposed pod is given twice.
    """
    added = [
        HypotheticalPod(
            PodId(str(pod.id)),
            pod.capacity,
            pod.max_tiles,
            pod.zone,
            labels_of(pod.labels, ("addPods", str(index), "labels")),
        )
        for index, pod in enumerate(wanted.add_pods or ())
    ]
    return WhatIf(
        removed=frozenset(PodId(str(pod_id)) for pod_id in wanted.remove_pods or ()),
        added=tuple(added),
        load_factor=wanted.load_factor,
    )
