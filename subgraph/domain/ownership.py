"""Owns who may work on a tile: its terms of ownership and the one table of steps a handoff takes.

A tile has at most three terms at a time: the owner's (in force), the next one's (PREPARING) and the former one's
(DRAINING). Every step is a function from record to record; epochs come in as values, already reserved.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from subgraph.domain.errors import EpochStale, IllegalState
from subgraph.domain.ids import PodId, TenantId, TileId
from subgraph.domain.labels import Labels
from subgraph.domain.suspicion import Loss, QuarantinePolicy, Suspicion, with_loss


class AssignmentState(StrEnum):
    """Where one term of ownership stands."""

    PREPARING = "PREPARING"
    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    RELEASED = "RELEASED"
    LOST = "LOST"
    ABORTED = "ABORTED"


END_OF: Mapping[AssignmentState, AssignmentState] = {
    AssignmentState.ACTIVE: AssignmentState.LOST,
    AssignmentState.PREPARING: AssignmentState.ABORTED,
    AssignmentState.DRAINING: AssignmentState.RELEASED,
}
"""The state a term ends in, by the living one it ends from. A drain that took too long counts as RELEASED."""


class AssignmentReason(StrEnum):
    """Why a tile was given to a pod."""

    INITIAL = "INITIAL"
    LOAD_BALANCE = "LOAD_BALANCE"
    POD_JOINED = "POD_JOINED"
    POD_LOST = "POD_LOST"
    POD_DRAINED = "POD_DRAINED"
    TILE_SPLIT = "TILE_SPLIT"
    TILE_MERGED = "TILE_MERGED"
    MANUAL = "MANUAL"
    RECOVERED = "RECOVERED"
    NOT_TAKEN_OVER = "NOT_TAKEN_OVER"


class AcknowledgedPhase(StrEnum):
    """What a pod says it has done for a term."""

    READY = "READY"
    ACTIVE = "ACTIVE"
    RELEASED = "RELEASED"


class Term(msgspec.Struct, frozen=True, array_like=True):
    """One term of ownership of one tile by one pod. Times are Redis time, milliseconds since 1970.

    `load`: the tile's smoothed load when the term was reserved. As long as it is in force and not acknowledged,
    `reminders` says how often it was told again, and `in_force_at_ms` since when; None: since it was assigned.
    """

    pod_id: PodId
    epoch: int
    reason: AssignmentReason
    assigned_at_ms: int
    ready: bool = False
    acknowledged_at_ms: int | None = None
    draining_since_ms: int | None = None
    load: float = 0.0
    reminders: int = 0
    in_force_at_ms: int | None = None

    @property
    def in_force_since_ms(self) -> int:
        """When the epoch of a term in force came into force; asked for while that is not acknowledged."""
        return self.assigned_at_ms if self.in_force_at_ms is None else self.in_force_at_ms


class TileRecord(msgspec.Struct, frozen=True, array_like=True):
    """A tile as the live store holds it.

    `retiring`: its session has stopped, or other tiles replaced it; it goes when nobody works on it any more.
    `last_epoch`: the highest that was ever in force; 0 while nobody ever owned the tile. `pin`: the pod an operator
    wants the tile on. `required`: labels that its pod must bear, besides those its session requires. `forbidden`: pods
    an operator wants the tile off. `suspicion`: what speaks for it killing its pods.
    `registered_resolution`: that of the registered cell which the tile is a part of; None: its own. `replaces`: the
    tiles that it came from in a split or merge, for as long as their former owners may still write: the owner shuts
    them out before it works, and its first ACTIVE says so. `retired_at_ms`: when others replaced the tile.
    `not_taken_over`: nobody owns it, because its last owner never said that it worked.
    """

    tenant_id: TenantId
    capacity: float | None = None
    owner: Term | None = None
    next: Term | None = None
    draining: Term | None = None
    retiring: bool = False
    last_epoch: int = 0
    pin: PodId | None = None
    required: Labels = {}
    forbidden: tuple[PodId, ...] = ()
    suspicion: Suspicion | None = None
    registered_resolution: int | None = None
    replaces: tuple[TileId, ...] = ()
    retired_at_ms: int | None = None
    not_taken_over: bool = False

    @property
    def is_handing_over(self) -> bool:
        """Whether a move of this tile is under way: one at a time."""
        return self.next is not None or self.draining is not None

    @property
    def is_settled(self) -> bool:
        """Whether the owner works on the tile and nothing is under way."""
        acknowledged = self.owner is not None and self.owner.acknowledged_at_ms is not None
        return acknowledged and not self.is_handing_over

    @property
    def epoch_in_force(self) -> int:
        """The owner's epoch; 0 when nobody owns the tile."""
        return self.owner.epoch if self.owner else 0

    @property
    def highest_epoch(self) -> int:
        """The highest epoch of any term that the record knows of, reserved ones included; 0: there was none."""
        return max((self.last_epoch, *(term.epoch for term, _ in terms_of(self))))


LivingTerm = tuple[Term, AssignmentState]

# Looking a member up in its enumeration takes as long as all else that is done to list the terms of a tile.
_ACTIVE, _PREPARING, _DRAINING = AssignmentState.ACTIVE, AssignmentState.PREPARING, AssignmentState.DRAINING


def place(record: TileRecord, term: Term) -> TileRecord:
    """Give a tile whose owner is gone (or that never had one) to a pod at once: there is nobody to wait for.

    Whoever does it by hand knows better than any suspicion.
    """
    _require(not record.retiring, "a retiring tile takes no owner")
    _require(record.owner is None, "an owner is moved from, or lost, but not overwritten")
    _require(term.epoch > record.highest_epoch, "an epoch must rise")
    suspicion = None if term.reason is AssignmentReason.MANUAL else record.suspicion
    return msgspec.structs.replace(
        record, owner=_in_force(term), next=None, last_epoch=term.epoch, suspicion=suspicion, not_taken_over=False
    )


def prepare(record: TileRecord, term: Term) -> TileRecord:
    """Begin a make-before-break move: the next owner prepares while the present one works on."""
    _require(
        record.owner is not None and not record.is_handing_over and not record.retiring, "only a settled tile moves"
    )
    _require(term.epoch > record.highest_epoch, "an epoch must rise")
    return msgspec.structs.replace(record, next=term)


def cut_over(record: TileRecord, now_ms: int) -> TileRecord:
    """Put the next owner's epoch in force. The former owner drains; a lost one has been dropped before."""
    _require(record.next is not None, "nobody prepares")
    assert record.next is not None
    return msgspec.structs.replace(
        record,
        owner=msgspec.structs.replace(_in_force(record.next), in_force_at_ms=now_ms),
        next=None,
        draining=_drained(record.owner, now_ms) or record.draining,
        last_epoch=record.next.epoch,
        not_taken_over=False,
    )


def abort(record: TileRecord) -> TileRecord:
    """Give up a move whose next owner is gone or too slow; the present owner never noticed."""
    return msgspec.structs.replace(record, next=None)


def drop_owner(record: TileRecord) -> TileRecord:
    """The owner is lost: its term ends. A next owner that prepares is kept, to be cut over to."""
    return msgspec.structs.replace(record, owner=None)


def take_from_idle(record: TileRecord) -> TileRecord:
    """The owner never said that it works, and its time is over: its term ends, as if it were lost."""
    return msgspec.structs.replace(drop_owner(record), not_taken_over=True)


def tell_again(record: TileRecord, reminders: int) -> TileRecord:
    """The owner has not said that it works: as a change of its term, that is told to it again."""
    assert record.owner is not None
    return msgspec.structs.replace(record, owner=msgspec.structs.replace(record.owner, reminders=reminders))


def suspect(record: TileRecord, at_ms: int, policy: QuarantinePolicy) -> TileRecord:
    """The owner died: that counts against a tile which it had taken up a short time before. The owner stays for now."""
    owner = record.owner
    if owner is None or at_ms - (owner.acknowledged_at_ms or owner.assigned_at_ms) >= policy.early_ms:
        return record
    return msgspec.structs.replace(record, suspicion=with_loss(record.suspicion, Loss(owner.pod_id, at_ms), policy))


def regain(record: TileRecord, term: Term) -> TileRecord:
    """Give a tile to the pod that held it when the live store lost writes: what the record says of others is older."""
    _require(not record.retiring, "a retiring tile takes no owner")
    _require(term.epoch > record.highest_epoch, "an epoch must rise")
    return msgspec.structs.replace(record, owner=_in_force(term), next=None, draining=None, last_epoch=term.epoch)


def without_terms_before(record: TileRecord, version: int) -> TileRecord | None:
    """The record without the terms whose epochs are older; None: a retiring tile is gone with them."""

    def kept(term: Term | None) -> Term | None:
        return term if term is not None and term.epoch >= version else None

    return _gone_if_empty(
        msgspec.structs.replace(
            record, owner=kept(record.owner), next=kept(record.next), draining=kept(record.draining)
        )
    )


def drop_draining(record: TileRecord) -> TileRecord | None:
    """The former owner is lost or silent: the sinks fence it off. None: a retiring tile is gone with it."""
    return _gone_if_empty(msgspec.structs.replace(record, draining=None))


def retire(record: TileRecord, now_ms: int) -> TileRecord | None:
    """The session stopped: the owner drains and nobody follows. None: nobody owned it, so the tile is gone."""
    draining = _drained(record.owner, now_ms) or record.draining
    return _gone_if_empty(
        msgspec.structs.replace(record, owner=None, next=None, draining=draining, retiring=True),
    )


def acknowledge(
    tile_id: TileId, record: TileRecord, pod_id: PodId, epoch: int, phase: AcknowledgedPhase, now_ms: int
) -> TileRecord | None:
    """What a pod's acknowledgement makes of a tile. Repeated and late ones change nothing; None: the tile is gone.

    Raises:
        EpochStale: the pod has no such term, now or a moment ago.
    """
    named = (pod_id, epoch)
    owner, following, draining = record.owner, record.next, record.draining
    match phase:
        case AcknowledgedPhase.READY if following and (following.pod_id, following.epoch) == named:
            return msgspec.structs.replace(record, next=msgspec.structs.replace(following, ready=True))
        case AcknowledgedPhase.ACTIVE if owner and (owner.pod_id, owner.epoch) == named:
            if owner.acknowledged_at_ms is not None:
                return record
            at_work = msgspec.structs.replace(owner, acknowledged_at_ms=now_ms, reminders=0, in_force_at_ms=None)
            return msgspec.structs.replace(record, owner=at_work, replaces=())
        case AcknowledgedPhase.RELEASED if draining and (draining.pod_id, draining.epoch) == named:
            return drop_draining(record)
        case AcknowledgedPhase.READY if owner and (owner.pod_id, owner.epoch) == named:
            return record
        case AcknowledgedPhase.RELEASED if epoch < record.highest_epoch:
            return record
    raise EpochStale(tile_id, epoch, record.epoch_in_force)


def terms_of(record: TileRecord) -> list[LivingTerm]:
    """The living terms of a tile with their states: owner, next, former."""
    return living(record.owner, record.next, record.draining)


def living(owner: Term | None, following: Term | None, draining: Term | None) -> list[LivingTerm]:
    """Those terms that there are, with their states."""
    terms: list[LivingTerm] = []
    # Of every change of every tile this is asked several times; most tiles have an owner and nothing else.
    if owner is not None:
        terms.append((owner, _ACTIVE))
    if following is not None:
        terms.append((following, _PREPARING))
    if draining is not None:
        terms.append((draining, _DRAINING))
    return terms


def ended_terms(before: TileRecord | None, after: TileRecord | None) -> list[LivingTerm]:
    """The terms that a change ended, each with the state it ended in: RELEASED, LOST or ABORTED."""
    return ended_among(terms_of(before) if before else [], terms_of(after) if after else [])


def ended_among(known: Sequence[LivingTerm], now: Sequence[LivingTerm]) -> list[LivingTerm]:
    """Those terms of a tile which do not live any more, each with the state it ended in."""
    living_epochs = {term.epoch for term, _ in now}
    return [(term, END_OF[state]) for term, state in known if term.epoch not in living_epochs]


def _drained(term: Term | None, now_ms: int) -> Term | None:
    return term and msgspec.structs.replace(term, draining_since_ms=now_ms)


def _in_force(term: Term) -> Term:
    return msgspec.structs.replace(term, ready=True)


def _gone_if_empty(record: TileRecord) -> TileRecord | None:
    return record if record.draining is not None or not record.retiring else None


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise IllegalState(f"this step of a handoff is not open: {why}", "HANDOFF")
