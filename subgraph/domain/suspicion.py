"""Owns the suspicion that a tile kills its pods: which losses count, when it is quarantined, for how long."""

from dataclasses import dataclass

import msgspec

from subgraph.domain.ids import PodId


@dataclass(frozen=True, slots=True)
class QuarantinePolicy:
    """When a tile whose owners keep dying must wait without one, and how many tiles may at a time."""

    early_ms: int = 15_000  # so soon after taking a tile up its owner is lost; later it dies of something else
    losses_enough: int = 3
    window_ms: int = 600_000  # within which so many losses must lie
    first_ms: int = 60_000  # the first quarantine; each further loss doubles it
    longest_ms: int = 3_600_000
    forgiven_after_ms: int = 600_000  # with one living owner all counts are cleared
    tiles_ratio_max: float = 0.001  # of all tiles, at a time: a dying rack must not stop half the fleet
    tiles_few: int = 10  # so many at a time always, where that is no more than the next ratio; one tile at least
    few_ratio_max: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.losses_enough <= LOSSES_KEPT_MAX:
            raise ValueError(f"from 1 to {LOSSES_KEPT_MAX} losses are enough")
        if not 0 < self.first_ms <= self.longest_ms:
            raise ValueError("0 < first_ms <= longest_ms must hold")

    def tiles_max(self, tiles: int) -> int:
        """How many of a fleet's tiles may be in quarantine at a time."""
        return max(1, min(self.tiles_few, int(self.few_ratio_max * tiles)), int(self.tiles_ratio_max * tiles))


LOSSES_KEPT_MAX = 10

DEFAULT_QUARANTINE = QuarantinePolicy()


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """A pod that was lost soon after it had taken the tile up. Redis time, milliseconds."""

    pod_id: PodId
    at_ms: int


class Suspicion(msgspec.Struct, frozen=True, array_like=True):
    """What speaks against a tile: its owners' early losses of late, the oldest first, and its quarantines so far.

    `in_a_row`: how many losses led here, those included that are forgotten by now: who has most is the worst suspect.
    """

    losses: tuple[Loss, ...]
    quarantines: int = 0
    quarantined_until_ms: int = 0
    in_a_row: int = 0

    def is_quarantined(self, now_ms: int) -> bool:
        """Whether the tile must wait without an owner."""
        return now_ms < self.quarantined_until_ms


def with_loss(suspicion: Suspicion | None, loss: Loss, policy: QuarantinePolicy) -> Suspicion:
    """The suspicion with one more loss; those outside the window are forgotten, and so are the oldest of very many."""
    before = suspicion or Suspicion(())
    recent = [one for one in before.losses if loss.at_ms - one.at_ms <= policy.window_ms]
    goes_on = recent or before.quarantines
    return msgspec.structs.replace(
        before,
        losses=(*recent, loss)[-LOSSES_KEPT_MAX:],
        in_a_row=before.in_a_row + 1 if goes_on else 1,
    )


def is_due(suspicion: Suspicion, policy: QuarantinePolicy) -> bool:
    """Whether the last loss calls for a quarantine that has not been imposed; after a first one every loss does."""
    enough = suspicion.quarantines > 0 or len(suspicion.losses) >= policy.losses_enough
    return enough and suspicion.losses[-1].at_ms >= suspicion.quarantined_until_ms


def spared(suspicion: Suspicion, now_ms: int) -> Suspicion:
    """The suspicion with its quarantine over: there are worse suspects than may be quarantined at a time."""
    return msgspec.structs.replace(suspicion, quarantined_until_ms=now_ms)


def quarantined(suspicion: Suspicion, now_ms: int, policy: QuarantinePolicy) -> Suspicion:
    """The suspicion with a quarantine from now on."""
    doublings = min(suspicion.quarantines, policy.longest_ms.bit_length())  # beyond that it is the longest anyway
    wait_ms = min(policy.first_ms << doublings, policy.longest_ms)
    return msgspec.structs.replace(
        suspicion, quarantines=suspicion.quarantines + 1, quarantined_until_ms=now_ms + wait_ms
    )
