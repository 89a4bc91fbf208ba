"""Owns a pod's desired state as its running instance follows it: a snapshot, then every change, until it is over."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from subgraph.domain.errors import LeaseLost, NotFound
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import PodId
from subgraph.operations.fleet.fleet_view import FleetView, Resynchronised


@dataclass(frozen=True, slots=True)
class AssignmentStep:
    """A step of a pod's desired state. `previous_version` is None for a snapshot, which says all."""

    version: int
    previous_version: int | None
    is_snapshot: bool
    terms: Sequence[TermChange]


@dataclass(frozen=True, slots=True)
class PodAssignments:
    """The desired states of pods."""

    view: FleetView

    async def follow(
        self, pod_id: PodId, token: str | None, after_version: int | None
    ) -> AsyncGenerator[AssignmentStep, None]:
        """What a pod should do: a snapshot, left out if nothing has changed since `after_version`, then all changes.

        With `token` it is the state of that instance alone. Without, it is that of the instance that runs now.

        Raises:
            NotFound: there is no such pod.
            LeaseLost: the instance is over; at once, or when another one registers, or (with `token`) the pod is lost
                or leaves, or when the live store has forgotten writes and every pod must register anew. An instance
                that was followed up by another hears of no term that the other one got.
        """
        pod = await self._instance(pod_id, token)
        instance = token or pod.record.lease_token
        told_version = after_version
        async for told in self.view.watch_pod(pod_id):
            fleet = self.view.current()
            now = fleet.pods.get(pod_id)
            if now is not None and now.record.era < fleet.era:
                raise _void(pod_id)
            if now is None or now.record.lease_token != instance or (token and not now.record.status.is_live):
                raise _over(pod_id, now, instance)
            if isinstance(told, Resynchronised):
                newest = max(now.concerned_at, fleet.snapshot_version)
                if told_version is not None and newest <= told_version:
                    continue
                step = AssignmentStep(fleet.version, None, is_snapshot=True, terms=fleet.terms_of_pod(pod_id))
            elif pod_id not in told.terms_of_pod or (told_version is not None and told.version <= told_version):
                continue  # nothing became other, or a snapshot told it already while this was waiting
            else:
                step = AssignmentStep(told.version, told_version, is_snapshot=False, terms=told.terms_of_pod[pod_id])
            told_version = step.version
            yield step

    async def _instance(self, pod_id: PodId, token: str | None) -> PodRow:
        pod = self.view.current().pods.get(pod_id)
        if token is not None and (pod is None or pod.record.lease_token != token):
            # It may have registered with another process, and this one has not heard of it yet.
            _, fleet = await self.view.observe()
            pod = fleet.pods.get(pod_id)
        if pod is None:
            raise NotFound("Pod", pod_id, ("podId",))
        if pod.record.era < self.view.current().era:
            raise _void(pod_id)
        if token is not None and (pod.record.lease_token != token or not pod.record.status.is_live):
            raise _over(pod_id, pod, token)
        return pod


def _void(pod_id: PodId) -> LeaseLost:
    # Not "superseded", whichever token is stored: the store may have been put back to that of a former instance.
    return LeaseLost(pod_id, f"the live store may have forgotten what pod {pod_id!r} does: register again")


def _over(pod_id: PodId, pod: PodRow | None, instance: str) -> LeaseLost:
    if pod is not None and pod.record.status.is_live and pod.record.lease_token != instance:
        return LeaseLost(
            pod_id, f"another instance of pod {pod_id!r} has registered: this one is over", superseded=True
        )
    return LeaseLost(pod_id, f"no instance of pod {pod_id!r} runs: it was lost or has left")
