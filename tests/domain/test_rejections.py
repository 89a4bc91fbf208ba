"""Why a tile is nowhere, or not elsewhere: for every pod a reason, pods of one reason together."""

import pytest

from subgraph.domain.fleet import rejections
from subgraph.domain.fleet.columns import HypotheticalPod, WhatIf
from subgraph.domain.fleet.explanation import explain_tile
from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.fleet.rejections import PODS_NAMED_MAX, Rejection
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.pods import PodStatus
from subgraph.domain.suspicion import Loss, Suspicion
from tests.support.fleets import T1, T2, T3, A, B, C, fleet_of, held, pod, tile, tile_ids
from tests.support.planned_fleet import plan_fleet

NOW_MS = 1_000_000
GPU, EU = ("gpu", "yes"), ("zone", "eu")
POLICY = PlacementPolicy()


def planned(fleet: Fleet, **how: object) -> FleetPlan:
    return plan_fleet(fleet, "plan", NOW_MS, POLICY, by_hand=True, **how)


def told(plan: FleetPlan) -> dict[TileId, tuple[tuple[str, ...], list[Rejection]]]:
    return {tile.tile_id: (tile.reasons, list(plan.rejections_of(tile))) for tile in plan.unplaceable}


def test_every_pod_has_a_reason_and_pods_of_one_reason_are_told_together() -> None:
    pods = {
        A: pod(zone="eu"),
        B: pod(zone="us"),
        C: pod(labels=dict([GPU]), zone="eu", status=PodStatus.CORDONED),
        PodId("d"): pod(labels=dict([GPU]), zone="eu"),
        PodId("e"): pod(labels={"gpu": "no"}, zone="eu", status=PodStatus.DRAINING),
    }
    fleet = fleet_of({T1: tile(required=dict([GPU, EU]), forbidden=(PodId("d"),))}, pods)
    assert told(planned(fleet)) == {
        T1: (
            ("FORBIDDEN", "LABELS"),
            [
                Rejection("LABELS", (GPU,), 2, (A, PodId("e"))),
                Rejection("FORBIDDEN", (), 1, (PodId("d"),)),
                Rejection("LABELS", (GPU, EU), 1, (B,)),
                Rejection("NOT_ACCEPTING", (), 1, (C,)),
            ],
        )
    }


def test_an_operators_word_alone_is_told_as_such() -> None:
    fleet = fleet_of({T1: tile(forbidden=(A,))}, {A: pod()})
    assert told(planned(fleet)) == {T1: (("FORBIDDEN",), [Rejection("FORBIDDEN", (), 1, (A,))])}


def test_without_pods_there_is_nobody_to_give_a_reason() -> None:
    assert told(planned(fleet_of({T1: tile(required=dict([GPU]))}, {}))) == {T1: (("NO_PODS",), [])}


def test_a_pod_that_the_plan_itself_fills_is_full() -> None:
    fleet = fleet_of({T1: tile(), T2: tile()}, {A: pod(tiles_max=1)})
    plan = planned(fleet)
    assert len(plan.moves) == 1
    ((reasons, rejected),) = told(plan).values()
    assert (reasons, rejected) == (("ALL_PODS_FULL",), [Rejection("FULL_TILES", (), 1, (A,))])


def test_a_quarantined_tile_is_told_as_such_for_all_pods() -> None:
    suspicion = Suspicion((Loss(C, 1),), 1, NOW_MS + 1)
    fleet = fleet_of({T1: tile(suspicion=suspicion)}, {A: pod(), B: pod()})
    plan = planned(fleet)
    assert told(plan) == {T1: (("QUARANTINED",), [Rejection("QUARANTINED", (), 2, (A, B))])}
    assert (plan.moves, plan.after.unassigned_tiles, plan.skipped) == ([], 1, "BALANCED")


def test_a_pinned_tile_tells_of_its_pod_apart_from_the_others() -> None:
    fleet = fleet_of({T1: tile(pin=A)}, {A: pod(status=PodStatus.CORDONED), B: pod(), C: pod()})
    assert told(planned(fleet)) == {
        T1: (
            ("PINNED",),
            [Rejection("PINNED_ELSEWHERE", (), 2, (B, C)), Rejection("NOT_ACCEPTING", (), 1, (A,))],
        )
    }


def test_of_many_pods_the_first_are_named_and_all_are_counted() -> None:
    pods = {PodId(f"p{n:03}"): pod() for n in range(100)}
    fleet = fleet_of({T1: tile(required=dict([GPU]))}, pods)
    ((_, (rejection,)),) = told(planned(fleet)).values()
    assert (rejection.pod_count, len(rejection.pod_ids), rejection.pod_ids[0]) == (100, PODS_NAMED_MAX, "p000")


def test_tiles_with_one_answer_share_it_and_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "EXPLAINED_MAX", 2)
    ids = tile_ids(6)
    required = [{"a": ""}, {"a": ""}, {"b": ""}, {"b": ""}, {"c": ""}, {"c": ""}]
    fleet = fleet_of({one: tile(required=labels) for one, labels in zip(ids, required, strict=True)}, {A: pod()})
    plan = planned(fleet)
    assert len(plan.rejections) == 2
    assert sorted(str(one.answer) for one in plan.unplaceable) == ["0", "0", "1", "1", "None", "None"]
    assert {one.reasons for one in plan.unplaceable} == {("LABELS",)}


def test_the_control_loops_own_plans_explain_nothing() -> None:
    fleet = fleet_of({T1: tile(required=dict([GPU]))}, {A: pod()})
    plan = plan_fleet(fleet, "", NOW_MS, POLICY)
    assert ([one.reasons for one in plan.unplaceable], plan.rejections) == ([("LABELS",)], ())


def test_a_supposed_pod_with_the_labels_takes_the_tile_and_one_without_says_why_not() -> None:
    fleet = fleet_of({T1: tile(required=dict([GPU]))}, {A: pod()})
    bearing, lacking = (HypotheticalPod(PodId("x"), 1.0, labels=labels) for labels in (dict([GPU]), {}))
    assert [move.target for move in planned(fleet, what_if=WhatIf(added=(bearing,))).moves] == ["x"]
    ((_, (rejection,)),) = told(planned(fleet, what_if=WhatIf(added=(lacking,)))).values()
    assert rejection == Rejection("LABELS", (GPU,), 2, (A, PodId("x")))


def test_an_explanation_names_what_a_pod_lacks_and_who_forbade_it() -> None:
    pods = {A: pod(labels=dict([GPU])), B: pod(zone="eu"), C: pod(labels=dict([GPU]), status=PodStatus.CORDONED)}
    tiles = {T1: tile(owner=held(A, 1), required=dict([GPU, EU]), forbidden=(B,)), T3: tile(forbidden=(C,))}
    fleet = fleet_of(tiles, pods)
    by_pod = {one.pod_id: one for one in explain_tile(fleet, T1, NOW_MS, POLICY)}
    assert (by_pod[A].rejected_by, by_pod[A].missing_labels) == (("LABELS",), (EU,))
    assert (by_pod[B].rejected_by, by_pod[B].missing_labels) == (("LABELS", "FORBIDDEN"), (GPU,))
    assert by_pod[C].rejected_by == ("LABELS", "NOT_ACCEPTING")
    (last,) = [one for one in explain_tile(fleet, T3, NOW_MS, POLICY) if one.pod_id == C]
    assert (last.rejected_by, last.missing_labels, last.feasible) == (("FORBIDDEN", "NOT_ACCEPTING"), (), False)
