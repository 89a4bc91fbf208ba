"""Any life of a session's tiles: they come, split, merge, move, lose their pods and go; every place has one owner."""

import h3.api.basic_int as h3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from subgraph.domain import ownership
from subgraph.domain.coverage import Coverage
from subgraph.domain.errors import IllegalState, NotFound
from subgraph.domain.fleet.divisibility import require_mergeable, require_splittable
from subgraph.domain.fleet.planned_divisions import merge_of, split_of
from subgraph.domain.ids import PodId, TileId, parse_tile_id, tile_id
from subgraph.domain.ownership import AssignmentState, terms_of
from subgraph.domain.pods import PodStatus
from subgraph.domain.succession import children_of, parent_of
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.support.division_world import CELLS, FINEST, PENTAGON, PODS, POLICY, World, at_work, begun
from tests.support.fleets import A, pod


def is_related(one: TileId, other: TileId) -> bool:
    """Whether two tiles of a session share places."""
    (session, cell), (other_session, other_cell) = parse_tile_id(one), parse_tile_id(other)
    if session != other_session:
        return False
    finer, coarser = sorted((cell, other_cell), key=h3.get_resolution, reverse=True)
    return bool(h3.cell_to_parent(finer, h3.get_resolution(coarser)) == coarser)


class DivisionLife(RuleBasedStateMachine):
    """What happens to the tiles of a session; pods are what the rules let them be."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(capacities=st.lists(st.sampled_from((40.0, 100.0)), min_size=3, max_size=3))
    def begin(self, capacities: list[float]) -> None:
        pods = {one: pod(capacity=capacity) for one, capacity in zip(PODS, capacities, strict=True)}
        self.world.store.change({}, dict(pods))
        self.world.follow()
        self.world.register(CELLS[-1:])

    @rule(cells=st.lists(st.sampled_from(CELLS), unique=True, min_size=1))
    def cells_are_registered(self, cells: list[int]) -> None:
        self.world.register(cells)

    @rule(hot=st.sampled_from(CELLS), load=st.sampled_from((0.0, 1.0, 90.0, 200.0)))
    def loads_are_reported(self, hot: int, load: float) -> None:
        centre = h3.cell_to_center_child(hot, FINEST)
        self.world.report(lambda place: load if place == centre else 0.01)

    @rule(seconds=st.sampled_from((0, 1, 4, 11)), tiles_max=st.sampled_from((1, 9, 100)))
    def the_leader_plans_and_carries_out(self, seconds: int, tiles_max: int) -> None:
        self.world.now_ms += seconds * 1_000
        self.world.carry_out(self.world.plan(), tiles_max=tiles_max)

    @rule(pod_id=st.sampled_from(PODS), every=st.sampled_from((1, 2)))
    def a_pod_acknowledges_in_the_middle_of_a_cycle(self, pod_id: PodId, every: int) -> None:
        world = self.world
        world.carry_out(world.plan(), in_between=lambda: world.acknowledge(pod_id, every=every))

    @rule(pod_id=st.sampled_from(PODS), every=st.sampled_from((1, 1, 3)))
    def a_pod_acknowledges(self, pod_id: PodId, every: int) -> None:
        self.world.acknowledge(pod_id, every=every)

    @rule(patient=st.booleans())
    def a_quiet_time_goes_by(self, patient: bool) -> None:
        """What is under way comes to its end; where pods are patient, some of it."""
        for _ in range(1 if patient else 3):
            self.the_leader_plans_and_carries_out(seconds=1, tiles_max=100)
            for pod_id in PODS:
                self.world.acknowledge(pod_id, every=2 if patient else 1)

    @rule(which=st.integers(0, 1_000), stale=st.booleans())
    def a_tile_splits_by_hand(self, which: int, stale: bool) -> None:
        world = self.world
        tiles = world.in_force()
        if not tiles:
            return
        chosen = tiles[which % len(tiles)]
        steps = {"splits": (split_of(world.fleet, chosen),)}
        try:
            require_splittable(world.fleet, chosen, POLICY.resolution)
        except IllegalState:
            # Carried out all the same, as when it became so only now, it does nothing, or nothing by halves.
            if children_of(chosen):
                world.by_hand(**steps)
            return
        if stale:
            world.acknowledge(A)
        world.by_hand(**steps)

    @rule(which=st.integers(0, 1_000))
    def tiles_merge_by_hand(self, which: int) -> None:
        world = self.world
        parents = sorted({parent for parent in map(parent_of, world.in_force()) if parent})
        if not parents:
            return
        chosen = parents[which % len(parents)]
        try:
            require_mergeable(world.fleet, chosen)
        except (IllegalState, NotFound):
            if all(world.fleet.record(child) is not None for child in children_of(chosen)):
                world.by_hand(merges=(merge_of(world.fleet, chosen),))
            return
        world.by_hand(merges=(merge_of(world.fleet, chosen),))
        assert chosen in world.in_force()

    @rule(pod_id=st.sampled_from(PODS), comes_back=st.booleans())
    def a_pod_is_lost_and_its_instance_does_not_know(self, pod_id: PodId, comes_back: bool) -> None:
        self._becomes(pod_id, PodStatus.LOST)
        if comes_back:
            self.the_leader_plans_and_carries_out(seconds=0, tiles_max=100)
            self.a_pod_comes_back(pod_id)

    @rule(pod_id=st.sampled_from(PODS))
    def a_pod_drains(self, pod_id: PodId) -> None:
        if self.world.store.pods[pod_id].record.status.is_live:
            self._becomes(pod_id, PodStatus.DRAINING)

    @rule(pod_id=st.sampled_from(PODS))
    def a_pod_comes_back(self, pod_id: PodId) -> None:
        # As for a new instance: it works on nothing of what the former one did.
        if not self.world.fleet.terms_of_pod(pod_id):
            self._becomes(pod_id, PodStatus.READY)

    @precondition(lambda self: len(self.world.worked) > 30)
    @rule()
    def the_session_stops_and_another_one_starts(self) -> None:
        world = self.world
        stored = {one: world.store.tiles[one] for one in world.in_force()}
        retired = {one: ownership.retire(found.record, world.now_ms) for one, found in stored.items()}
        world.write([TileWrite(one, stored[one].version, record) for one, record in retired.items()])
        world.session, world.registered = world.session + 1, set()

    @rule()
    def a_process_that_missed_changes_reads_all(self) -> None:
        self.world.late.adopt(self.world.store.snapshot())

    def _becomes(self, pod_id: PodId, status: PodStatus) -> None:
        world = self.world
        record = world.store.pods[pod_id].record.with_status(status, world.now_ms)
        world.store.change({}, {pod_id: record})
        world.follow()

    @invariant()
    def every_place_that_was_registered_has_one_tile(self) -> None:
        world = self.world
        coverage = Coverage(parse_tile_id(one)[1] for one in world.in_force())  # ValueError: one lies inside another
        assert all(coverage.fills(cell) for cell in world.registered)
        assert all(any(is_within(one, cell) for cell in world.registered) for one in coverage)

    @invariant()
    def the_picture_is_the_store(self) -> None:
        world = self.world
        for fleet in (world.fleet, world.late):
            if fleet.version == world.fleet.version:
                assert {one: fleet.record(one) for one, _ in fleet.tiles.items()} == {
                    one: found.record for one, found in world.store.tiles.items()
                }

    @invariant()
    def nobody_else_can_write_where_somebody_works(self) -> None:
        world = self.world
        for one in world.in_force():
            record = world.store.tiles[one].record
            if record.owner is None or record.owner.acknowledged_at_ms is None:
                continue
            assert record.replaces == ()
            for former, epoch in world.worked:
                if (former, epoch) != (one, record.owner.epoch) and is_related(one, former):
                    assert not world.sink.takes(former, epoch), (former, epoch, one, record.owner.epoch)

    @invariant()
    def no_tile_has_two_owners_and_what_retires_has_none(self) -> None:
        for found in self.world.store.tiles.values():
            states = [state for _, state in terms_of(found.record)]
            assert len(set(states)) == len(states)
            assert not found.record.retiring or AssignmentState.ACTIVE not in states


def is_within(cell: int, ancestor: int) -> bool:
    resolution = h3.get_resolution(ancestor)
    return bool(h3.get_resolution(cell) >= resolution and h3.cell_to_parent(cell, resolution) == ancestor)


DivisionLife.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDivisionLife = DivisionLife.TestCase


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    hot=st.dictionaries(st.integers(0, 4 * 49 - 1), st.floats(0.1, 120), max_size=6),
    base=st.sampled_from((0.0, 0.01, 0.1)),
    split=st.sets(st.sampled_from(CELLS)),
)
def test_under_a_load_that_does_not_change_nothing_splits_and_merges_in_turn(
    hot: dict[int, float], base: float, split: set[int]
) -> None:
    world = begun(CELLS)
    for cell in split:
        world.by_hand(splits=(split_of(world.fleet, tile_id(world.session_id, cell)),))
        at_work(world)
    everywhere = [place for cell in CELLS for place in h3.cell_to_children(cell, 6)]
    weights = {h3.cell_to_center_child(everywhere[n % len(everywhere)], FINEST): load for n, load in hot.items()}
    done: list[tuple[str, TileId]] = []
    rounds_at_rest = 0
    for _ in range(60):
        world.now_ms += 1_000
        world.report(lambda place: weights.get(place, base / 49))
        plan = world.plan()
        done += [("split", one.tile_id) for one in plan.splits] + [("merge", one.parent) for one in plan.merges]
        rounds_at_rest = 0 if plan.splits or plan.merges else rounds_at_rest + 1
        world.carry_out(plan, tiles_max=100)
        at_work(world)
        if rounds_at_rest == 12:
            break
    assert rounds_at_rest == 12, "it does not come to rest"
    assert len({one for _, one in done}) == len(done), f"a tile that split has merged, or the other way round: {done}"


@pytest.mark.parametrize("cell", [CELLS[0], PENTAGON])
def test_split_merged_and_split_again_the_tiles_are_the_same(cell: int) -> None:
    world = begun([cell])
    whole = tile_id(world.session_id, cell)
    seen = []
    for _ in range(2):
        world.by_hand(splits=(split_of(world.fleet, whole),))
        at_work(world)
        seen.append(sorted(world.in_force()))
        world.by_hand(merges=(merge_of(world.fleet, whole),))
        at_work(world)
        assert world.in_force() == [whole]
    assert seen[0] == seen[1] == sorted(children_of(whole))


def test_loads_are_the_same_in_sum_through_splits_and_merges() -> None:
    world = begun(CELLS)
    world.report(lambda place: 0.5 if place % 3 else 0.0)
    total = world.fleet.pod_loads().sum()
    whole = tile_id(world.session_id, CELLS[0])
    world.by_hand(splits=(split_of(world.fleet, whole),))
    assert world.fleet.pod_loads().sum() == pytest.approx(total)
    at_work(world)
    world.by_hand(merges=(merge_of(world.fleet, whole),))
    assert world.fleet.pod_loads().sum() == pytest.approx(total)
