"""Owns an operator's changes to the fleet: cordon, uncordon and drain pods, pause and resume rebalancing."""

from dataclasses import dataclass

from subgraph.domain.errors import InvalidInput, LeaseLost, NotFound, Unavailable
from subgraph.domain.fleet.changes import Pause
from subgraph.domain.ids import PodId
from subgraph.domain.limits import check_length
from subgraph.domain.pods import PodRecord, PodStatus
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import COMMIT_ATTEMPTS_MAX, PodWrite
from subgraph.operations.fleet.live_fleet import LiveFleet

PAUSE_MS_MAX = 7 * 24 * 3_600 * 1_000
REASON_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's hand on a fleet. Every act is idempotent."""

    live: LiveFleet
    view: FleetView

    async def cordon(self, pod_id: PodId) -> None:
        """Give a pod no new tiles; it keeps those it has.

        Raises:
            NotFound: the pod is unknown. LeaseLost: no live instance stands behind it.
        """
        await self._set_status(pod_id, PodStatus.CORDONED)

    async def uncordon(self, pod_id: PodId) -> None:
        """Let a cordoned or draining pod have tiles again.

        Raises:
            NotFound, LeaseLost: as for `cordon`.
        """
        await self._set_status(pod_id, PodStatus.READY)

    async def drain(self, pod_id: PodId) -> None:
        """Have a pod's tiles moved away, make-before-break, and give it no new ones.

        Raises:
            NotFound, LeaseLost: as for `cordon`.
        """
        await self._set_status(pod_id, PodStatus.DRAINING)

    async def pause(self, until_ms: int, by: str, reason: str) -> None:
        """Let rebalancing rest; tiles without an owner, a lost pod's too, are placed all the same.

        Args:
            until_ms: when it goes on by itself (Redis time, milliseconds).
            by: who wants it.
            reason: why, for those who wonder.

        Raises:
            InvalidInput: the moment is past or more than seven days away, or the reason is empty or too long.
        """
        left_ms = until_ms - self.view.now_ms()
        if not 0 < left_ms <= PAUSE_MS_MAX:
            raise InvalidInput("a pause ends in the future, within 7 days", ("until",), "P7D")
        check_length("reason", len(reason.strip()), REASON_LENGTH_MAX, ("reason",))
        await self.live.set_pause(Pause(until_ms, by, reason))
        await self.view.refresh()

    async def resume(self) -> None:
        """Let rebalancing go on."""
        await self.live.set_pause(None)
        await self.view.refresh()

    async def _set_status(self, pod_id: PodId, status: PodStatus) -> None:
        for _ in range(COMMIT_ATTEMPTS_MAX):
            stored = await self.live.read_pod(pod_id)
            if stored is None:
                raise NotFound("Pod", pod_id, ("podId",))
            record: PodRecord = stored.record
            if not record.status.is_live:
                raise LeaseLost(pod_id, f"pod {pod_id!r} is {record.status}: no instance stands behind it", ("podId",))
            if record.status is status:
                return
            changed = record.with_status(status, self.view.now_ms())
            committed = await self.live.commit(None, (), [PodWrite(pod_id, stored.version, changed)])
            if committed.version:
                await self.view.caught_up(committed.version)
                return
        raise Unavailable(f"pod {pod_id!r} kept changing; try again", retry_after_seconds=1.0)
