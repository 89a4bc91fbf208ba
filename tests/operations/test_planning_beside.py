"""Planning beside the event loop: all else goes on while a large fleet is planned; small ones need no thread."""

import asyncio
import threading
from typing import Any

import pytest

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, PreparedPlan, prepare_plan
from subgraph.domain.planning.plan import Plan
from subgraph.operations.control import planning
from subgraph.operations.control.planning import planned
from tests.support.fleets import T1, T2, A, B, held, pod, snapshot, tile
from tests.support.planned_fleet import plan_fleet

pytestmark = pytest.mark.anyio

NOW_MS = 10**6
BESIDE_SECONDS_MAX = 10.0


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.adopt(snapshot({T1: tile(owner=held(A, 1)), T2: tile()}, {A: pod(), B: pod()}))
    return fleet


def prepared(fleet: Fleet) -> PreparedPlan:
    return prepare_plan(fleet, "plan", NOW_MS, PlacementPolicy())


async def test_the_event_loop_goes_on_while_a_large_fleet_is_planned(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = threading.Event()
    compute = PreparedPlan.compute

    def waits_for_the_loop(self: PreparedPlan) -> Plan:
        assert turned.wait(BESIDE_SECONDS_MAX), "the event loop stood still"
        return compute(self)

    monkeypatch.setattr(PreparedPlan, "compute", waits_for_the_loop)
    monkeypatch.setattr(planning, "IN_THREAD_TILES_MIN", 1)
    asyncio.get_running_loop().call_later(0.01, turned.set)
    plan = await planned(prepared(fleet))
    assert [(move.tile_id, move.target) for move in plan.moves] == [(T2, B)]


async def test_a_small_fleet_is_planned_at_once_with_the_same_result(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: Any) -> None:
        raise AssertionError("a thread was used")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    plan = await planned(prepared(fleet))
    again = plan_fleet(fleet, "plan", NOW_MS, PlacementPolicy())
    assert plan.moves
    assert but_for_the_time(plan) == but_for_the_time(again)


def but_for_the_time(plan: Any) -> Any:
    return {name: getattr(plan, name) for name in plan.__struct_fields__ if name != "compute_ms"}
