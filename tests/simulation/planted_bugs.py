"""Owns bugs to plant: one rule each is broken, in the way a mistake would, so that tests can see it found.

Bugs in what the scripts compare (whose term, whose token) are planted in the scripts themselves, where their twin finds
them: tests/contract/test_store_twin.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec

from subgraph.client import lease
from subgraph.client.following import Following
from subgraph.domain import ownership
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AcknowledgedPhase, Term, TileRecord
from subgraph.operations.fleet.pod_registering import PodRegistering
from tests.simulation.sink import SinkTwin
from tests.support.store_twin import StoreTwin

Plant = Callable[[], Iterator[None]]


@contextmanager
def acknowledgement_of_another_epoch() -> Iterator[None]:
    """READY counts for whatever the pod prepares now."""
    right = ownership.acknowledge

    def acknowledge(
        tile_id: TileId, record: TileRecord, pod_id: PodId, epoch: int, phase: AcknowledgedPhase, now_ms: int
    ) -> TileRecord | None:
        if phase is AcknowledgedPhase.READY and record.next and record.next.pod_id == pod_id:
            epoch = record.next.epoch
        return right(tile_id, record, pod_id, epoch, phase, now_ms)

    with mock.patch.object(ownership, "acknowledge", acknowledge):
        yield


@contextmanager
def no_lease_margin() -> Iterator[None]:
    """A pod works until its lease has ended by its own clock."""
    with mock.patch.object(lease, "SAFETY_MARGIN_SHARE", 0.0):
        yield


@contextmanager
def epoch_used_again() -> Iterator[None]:
    """What was reserved for a move that failed is given to the next one."""
    right_prepare, right_abort = ownership.prepare, ownership.abort
    left: dict[int, int] = {}

    def abort(record: TileRecord) -> TileRecord:
        if record.next is not None:
            left[record.last_epoch] = record.next.epoch
        return right_abort(record)

    def prepare(record: TileRecord, term: Term) -> TileRecord:
        return right_prepare(record, msgspec.structs.replace(term, epoch=left.get(record.last_epoch, term.epoch)))

    with mock.patch.object(ownership, "abort", abort), mock.patch.object(ownership, "prepare", prepare):
        yield


@contextmanager
def no_version_compare() -> Iterator[None]:
    """A commit writes whatever it was decided on."""
    with mock.patch.object(StoreTwin, "_is_unchanged", return_value=True):
        yield


@contextmanager
def cut_over_before_ready() -> Iterator[None]:
    """The next owner counts as ready from the start."""
    right = ownership.prepare

    def prepare(record: TileRecord, term: Term) -> TileRecord:
        return right(record, msgspec.structs.replace(term, ready=True))

    with mock.patch.object(ownership, "prepare", prepare):
        yield


@contextmanager
def sink_refuses_its_own_epoch() -> Iterator[None]:
    """The fence compares with > in place of >=."""
    with mock.patch.object(SinkTwin, "is_open", lambda self, epoch, highest: epoch > highest):
        yield


@contextmanager
def sink_without_fence() -> Iterator[None]:
    """The sink takes whatever comes."""
    with mock.patch.object(SinkTwin, "is_open", return_value=True):
        yield


@contextmanager
def lost_without_a_look_at_the_lease() -> Iterator[None]:
    """A pod is declared lost on what the leader saw of its lease some time ago."""
    right = StoreTwin.commit

    def commit(self: StoreTwin, guard: Any, tiles: Any, pods: Any = (), groups: Any = ()) -> Any:
        for one in pods:
            if one.if_lease_ended:
                self.stored.leases.pop(one.pod_id, None)
        return right(self, guard, tiles, pods, groups)

    with mock.patch.object(StoreTwin, "commit", commit):
        yield


@contextmanager
def missed_change_not_noticed() -> Iterator[None]:
    """A pod does not compare what it has heard with what there is to hear."""
    with mock.patch.object(Following, "hear_of", return_value=None):
        yield


@contextmanager
def terms_pass_to_the_next_instance() -> Iterator[None]:
    """A new instance of a pod is given what the former one had."""

    async def let_go(*_: Any, **__: Any) -> None:
        return

    with mock.patch.object(PodRegistering, "_let_go", let_go):
        yield


PLANTED = {
    "acknowledgement of another epoch": acknowledgement_of_another_epoch,
    "no lease margin": no_lease_margin,
    "epoch used again after an abort": epoch_used_again,
    "no version compare": no_version_compare,
    "cut-over before READY": cut_over_before_ready,
    "sink refuses its own epoch": sink_refuses_its_own_epoch,
    "sink without fence": sink_without_fence,
    "lost without a look at the lease": lost_without_a_look_at_the_lease,
    "missed change not noticed": missed_change_not_noticed,
    "terms pass to the next instance": terms_pass_to_the_next_instance,
}
