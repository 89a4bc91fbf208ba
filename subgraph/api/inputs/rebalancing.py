"""Owns the inputs about rebalancing: dry runs, plans to carry out, pauses."""

from datetime import datetime

import strawberry

from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.api.inputs.once import IDEMPOTENCY_KEY
from subgraph.api.scalars import Duration
from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.columns import HypotheticalPod, WhatIf
from subgraph.domain.ids import PodId


@strawberry.input(description="A hypothetical READY pod for a dry run.")
class HypotheticalPodInput:
    """A pod that does not exist."""

    id: strawberry.ID = strawberry.field(description="Its id, which no existing pod may have.")
    capacity: float = strawberry.field(description="The load it could carry, in the unit of the balanced metric.")
    max_tiles: int | None = strawberry.field(default=None, description="Maximum number of tiles; null: unlimited.")
    zone: str | None = strawberry.field(default=None, description="Availability zone it would run in.")
    labels: list[SessionDetailInput] | None = strawberry.field(default=None, description="Labels it would have.")


@strawberry.input(description="Options and hypothetical changes for a dry run.")
class RebalancePlanInput:
    """A dry run."""

    emergency: bool = strawberry.field(
        default=False,
        description=(
            "Only assign tiles that have no owner or whose pod is draining: all of them at once, without churn "
            "budget or cool-down. Nothing is moved for balance or because of changed constraints."
        ),
    )
    remove_pods: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Ids of pods to treat as absent: their tiles are assigned elsewhere."
    )
    add_pods: list[HypotheticalPodInput] | None = strawberry.field(
        default=None, description="Hypothetical pods to add."
    )
    load_factor: float = strawberry.field(default=1.0, description="Factor by which to multiply every load.")
    max_churn: float | None = strawberry.field(
        default=None,
        description="Maximum load to move, as a fraction of the total load (0 to 1); null: the configured budget.",
    )


@strawberry.input(description="How long to pause rebalancing, and why.")
class PauseRebalancingInput:
    """A pause."""

    until: datetime | None = strawberry.field(
        default=None, description="When rebalancing resumes, at most 7 days from now. Give either this or `duration`."
    )
    duration: Duration | None = strawberry.field(
        default=None, description="Length of the pause, at most P7D. Give either this or `until`."
    )
    reason: str = strawberry.field(description="Reason shown to other operators, at most 500 characters.")

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


@strawberry.input(description="A plan to apply; without one, plan and apply now.")
class RebalanceInput:
    """A rebalance."""

    plan_id: strawberry.ID | None = strawberry.field(default=None, description="Id of a plan from `rebalancePlan`.")
    emergency: bool = strawberry.field(
        default=False,
        description=(
            "Only assign tiles that have no owner or whose pod is draining: all of them at once, without churn "
            "budget or cool-down. Nothing is moved for balance or because of changed constraints."
        ),
    )
    max_churn: float | None = strawberry.field(
        default=None,
        description="Only without `planId`: maximum load to move, as a fraction of the total load (0 to 1).",
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description=(
            f"{IDEMPOTENCY_KEY} Refused requests are not recorded; an interrupted plan is continued. At most the "
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
