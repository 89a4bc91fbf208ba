"""Owns the life of a term of ownership as one table: its phases, who may end each and when, how long each may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from subgraph.domain.ownership import AssignmentState, Term


class TermPhase(StrEnum):
    """Where a term stands, in full. What is told of it is the coarser `AssignmentState`."""

    PREPARING = "PREPARING"
    READY = "READY"
    IN_FORCE = "IN_FORCE"
    AT_WORK = "AT_WORK"
    DRAINING = "DRAINING"
    RELEASED = "RELEASED"
    ABORTED = "ABORTED"
    LOST = "LOST"


class Actor(StrEnum):
    """Who may take a step; how each proves that it may is in docs/architecture.md."""

    LEADER = "leader"
    POD = "the term's pod"
    RELAY = "relay"
    CALLER = "caller"


class Step(NamedTuple):
    """One step in the life of a term. `source` is None where it begins; `when` are the occasions."""

    source: TermPhase | None
    target: TermPhase
    actor: Actor
    when: str


_P, _A = TermPhase, Actor

STEPS: tuple[Step, ...] = (
    Step(None, _P.PREPARING, _A.LEADER, "a settled tile is to move"),
    Step(
        None,
        _P.IN_FORCE,
        _A.LEADER,
        "the tile has no owner; it takes the place of others, on their pod; its pod held it when the store lost writes",
    ),
    Step(_P.PREPARING, _P.READY, _A.POD, "it says READY"),
    Step(_P.PREPARING, _P.IN_FORCE, _A.LEADER, "cut-over without waiting: the owner is lost"),
    Step(_P.PREPARING, _P.ABORTED, _A.LEADER, "time-out; its pod is lost or gone; the store lost writes"),
    Step(_P.PREPARING, _P.ABORTED, _A.POD, "a new instance registers, and does not hold the tile"),
    Step(_P.PREPARING, _P.ABORTED, _A.RELAY, "the session has stopped"),
    Step(_P.PREPARING, _P.ABORTED, _A.CALLER, "an operator wants the tile off the pod"),
    Step(_P.READY, _P.IN_FORCE, _A.LEADER, "cut-over"),
    Step(_P.READY, _P.ABORTED, _A.LEADER, "its pod is lost or gone; the store lost writes"),
    Step(_P.READY, _P.ABORTED, _A.POD, "a new instance registers, and does not hold the tile"),
    Step(_P.READY, _P.ABORTED, _A.RELAY, "the session has stopped"),
    Step(_P.READY, _P.ABORTED, _A.CALLER, "an operator wants the tile off the pod"),
    Step(_P.IN_FORCE, _P.AT_WORK, _A.POD, "it says ACTIVE"),
    Step(_P.IN_FORCE, _P.DRAINING, _A.LEADER, "cut-over to the next one"),
    Step(_P.IN_FORCE, _P.DRAINING, _A.RELAY, "the session has stopped"),
    Step(
        _P.IN_FORCE,
        _P.LOST,
        _A.LEADER,
        "time-out, where another pod receives tiles; its pod is lost or gone; the store lost writes",
    ),
    Step(_P.IN_FORCE, _P.LOST, _A.POD, "a new instance registers, and does not hold the tile"),
    Step(_P.AT_WORK, _P.DRAINING, _A.LEADER, "cut-over to the next one; the tile splits or merges"),
    Step(_P.AT_WORK, _P.DRAINING, _A.RELAY, "the session has stopped"),
    Step(_P.AT_WORK, _P.LOST, _A.LEADER, "its pod is lost or gone; the store lost writes"),
    Step(_P.AT_WORK, _P.LOST, _A.POD, "a new instance registers, and does not hold the tile"),
    Step(_P.DRAINING, _P.RELEASED, _A.POD, "it says RELEASED; a new instance registers, and does not hold the tile"),
    Step(_P.DRAINING, _P.RELEASED, _A.LEADER, "time-out; its pod is lost or gone; the store lost writes"),
    Step(_P.DRAINING, _P.RELEASED, _A.RELAY, "the session has stopped, and a later owner drains"),
)
"""Every step there is. That the code takes these and no others is tested over every record a tile can have."""


@dataclass(frozen=True, slots=True)
class HandoffPolicy:
    """How long each phase of a handoff may take.

    Until `take_over_timeout_ms` after its term came into force a pod must have said ACTIVE. It is told again every
    `tell_again_ms`. Whoever lets the time pass gets no tiles for `shunned_ms`.
    """

    prepare_timeout_ms: int = 10_000
    take_over_timeout_ms: int = 60_000
    tell_again_ms: int = 10_000
    shunned_ms: int = 60_000
    drain_timeout_ms: int = 10_000
    forget_pods_after_ms: int = 600_000

    def __post_init__(self) -> None:
        if self.tell_again_ms < 1:
            raise ValueError("telling again takes at least a millisecond")

    @property
    def limits_ms(self) -> Mapping[TermPhase, int]:
        """The time-outs of the phases that have one. READY has none: the cut-over is the leader's next step."""
        return {
            TermPhase.PREPARING: self.prepare_timeout_ms,
            TermPhase.IN_FORCE: self.take_over_timeout_ms,
            TermPhase.DRAINING: self.drain_timeout_ms,
        }

    def is_overdue(self, term: Term, state: AssignmentState, now_ms: int) -> bool:
        """Whether a living term has been in its phase for longer than it may."""
        limit_ms = self.limits_ms.get(phase_of(term, state))
        return limit_ms is not None and now_ms - _since_ms(term, state) > limit_ms


def phase_of(term: Term, state: AssignmentState) -> TermPhase:
    """The phase of a term in a state."""
    match state:
        case AssignmentState.PREPARING if term.ready:
            return TermPhase.READY
        case AssignmentState.ACTIVE:
            return TermPhase.IN_FORCE if term.acknowledged_at_ms is None else TermPhase.AT_WORK
        case _:
            return TermPhase(state.value)


def _since_ms(term: Term, state: AssignmentState) -> int:
    match state:
        case AssignmentState.ACTIVE:
            return term.in_force_since_ms
        case AssignmentState.DRAINING:
            return term.draining_since_ms or 0
        case _:
            return term.assigned_at_ms
