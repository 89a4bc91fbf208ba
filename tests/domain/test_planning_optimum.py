"""How close the planner comes to the best of all assignments that move no more load: small fleets, by brute force."""

import numpy as np
import numpy.typing as npt
import pytest

from subgraph.domain.planning.plan import plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.planning_fleets import POLICY, UNBOUNDED, fleet

Column = npt.NDArray[np.float64]


def least_peak(loads: Column, owners: list[int], capacities: Column, churn: float, peak_max: float) -> float:
    """Return the least possible maximum of all assignments with that churn: tile by tile, all of them are kept."""
    pods = capacities.size
    pod_loads, churns = np.zeros((1, pods)), np.zeros(1)
    for tile in np.argsort(-loads).tolist():
        target = np.tile(np.arange(pods), churns.size)
        pod_loads = np.repeat(pod_loads, pods, axis=0)
        pod_loads[np.arange(target.size), target] += loads[tile]
        churns = np.repeat(churns, pods) + np.where(target == owners[tile], 0.0, loads[tile])
        kept = (churns <= churn + 1e-9) & ((pod_loads / capacities).max(axis=1) <= peak_max + 1e-9)
        pod_loads, churns = pod_loads[kept], churns[kept]
    return float((pod_loads / capacities).max(axis=1).min())


def shortfall(random: np.random.Generator, policy: BalancePolicy) -> float:
    tiles, pods = int(random.integers(4, 13)), int(random.integers(2, 5))
    loads, owners = random.lognormal(0, 1.2, tiles), random.integers(0, pods, tiles).tolist()
    capacities = random.choice([1.0, 1.0, 2.0, 4.0], pods)
    plan = plan_rebalance(fleet(loads.tolist(), owners, capacities.tolist()), policy)
    reached = plan.after.max_utilization
    return reached / least_peak(loads, owners, capacities, plan.churn, reached)


@pytest.mark.parametrize("policy", [POLICY, UNBOUNDED], ids=["budget", "no budget"])
def test_small_fleets_end_at_the_optimum_of_all_assignments_with_the_same_churn(policy: BalancePolicy) -> None:
    random = np.random.default_rng(17)
    ratios = np.array([shortfall(random, policy) for _ in range(120)])
    assert ratios.max() <= 1.10
    assert np.mean(ratios <= 1.01) >= 0.95
