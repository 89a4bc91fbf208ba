"""A rebalance in an emergency, by hand: planned, carried out at once, and refused where it contradicts itself."""

from tests.support.server import RunningServer, until
from tests.support.world import FakeWork, disk, new_session, until_owned

REBALANCE = """mutation($input: RebalanceInput) { rebalance(input: $input) { plan { id moveCount skipped }
  errors { code path } } }"""
PLAN = """query($input: RebalancePlanInput) { rebalancePlan(input: $input) { id moveCount skipped
  moves { edges { node { reason } } } } }"""
TILES = 500


def test_an_emergency_empties_draining_pods_at_once_and_balances_nothing(own_server: RunningServer) -> None:
    server = own_server
    pause = 'mutation { pauseRebalancing(input: {duration: "PT10M", reason: "by hand"}) { errors { code } } }'
    server.data(pause)
    leaving, heir = FakeWork(server), FakeWork(server)
    leaving.register()
    session_id = new_session(server, disk(20)[:TILES])
    until_owned(server, session_id, TILES)
    leaving.acknowledge()
    heir.register()
    loads = [{"tileId": t["tileId"], "epoch": t["epoch"], "recordsPerSecond": 1.0} for t in leaving.terms()]
    leaving.report(loads)

    nothing = server.data(PLAN, input={"emergency": True})["rebalancePlan"]
    assert (nothing["moveCount"], nothing["skipped"]) == (0, "NO_EMERGENCY")
    assert server.data(PLAN)["rebalancePlan"]["moveCount"] > 0, "there is something to balance"

    drain = "mutation($id: ID!) { drainPod(input: {podId: $id}) { errors { code } } }"
    server.data(drain, id=leaving.id)
    assert 0 < server.data(PLAN)["rebalancePlan"]["moveCount"] < TILES, "a budget holds most of them back"
    plan = server.data(PLAN, input={"emergency": True})["rebalancePlan"]
    assert plan["moveCount"] == TILES
    assert {edge["node"]["reason"] for edge in plan["moves"]["edges"]} == {"POD_DRAINED"}
    wanted = {"emergency": True, "idempotencyKey": "storm"}
    done = server.data(REBALANCE, input=wanted)["rebalance"]
    assert (done["errors"], done["plan"]["moveCount"]) == ([], TILES)
    until(lambda: len(heir.terms()) == TILES, "all handoffs are under way")
    assert server.data(REBALANCE, input=wanted)["rebalance"] == done
    other = server.data(REBALANCE, input={**wanted, "emergency": False})["rebalance"]
    assert other["errors"] == [{"code": "INVALID_INPUT", "path": ["idempotencyKey"]}]


def test_an_emergency_with_a_budget_or_of_a_plan_is_refused_by_field(server: RunningServer) -> None:
    for wanted, path in (
        ({"emergency": True, "maxChurn": 0.5}, ["maxChurn"]),
        ({"emergency": True, "planId": "x"}, ["emergency"]),
    ):
        answer = server.data(REBALANCE, input=wanted)["rebalance"]
        assert answer == {"plan": None, "errors": [{"code": "INVALID_INPUT", "path": path}]}
