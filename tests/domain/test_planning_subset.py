"""The search for the few tiles that cover a need, against trying out all sets."""

from itertools import combinations

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.subset import HALF, OFFERS, cheapest_cover

ROWS = 40


def sets_of(offers: range) -> list[tuple[int, ...]]:
    return [chosen for size in range(3) for chosen in combinations(offers, size)]


ALL_SETS = [one + other for one in sets_of(range(HALF)) for other in sets_of(range(HALF, OFFERS))]


def sums_of_all_sets(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    extended = np.append(values, 0.0)
    indices = np.array([chosen + (OFFERS,) * (4 - len(chosen)) for chosen in ALL_SETS])
    sums: npt.NDArray[np.float64] = extended[indices].sum(axis=1)
    return sums


def test_of_the_sets_within_the_limit_the_cheapest_is_found_and_else_the_one_least_over() -> None:
    random = np.random.default_rng(1)
    load = random.lognormal(0, 1.5, (ROWS, OFFERS))
    cost = load + random.normal(0, 1, load.shape)
    cost[random.random(load.shape) < 0.4] = np.inf
    need, over_max = random.lognormal(0.5, 1, ROWS), random.choice([0.0, 0.001, 0.2], ROWS)
    spare = random.choice([0.3, 3.0], ROWS)
    given, covers = cheapest_cover(load, cost, need, over_max, spare)
    within_count = 0
    for row in range(ROWS):
        over = sums_of_all_sets(load[row]) - need[row]
        costs = sums_of_all_sets(cost[row])
        possible = np.isfinite(costs) & (over >= -1e-9 * need[row])
        within = possible & (over <= min(over_max[row], spare[row]))
        chosen_over = load[row, given[row]].sum() - need[row]
        if within.any():
            within_count += 1
            assert np.isclose(cost[row, given[row]].sum(), costs[within].min())
        elif covers[row]:
            least = possible & (over <= over[possible].min() + 1e-8 * need[row])
            assert np.isclose(chosen_over, over[possible].min(), atol=1e-8 * need[row])
            assert np.isclose(cost[row, given[row]].sum(), costs[least].min())
            assert chosen_over <= min(spare[row], load[row, np.isfinite(cost[row])].min()) + 1e-8 * need[row]
        else:
            lightest = load[row, np.isfinite(cost[row])].min()
            assert not possible.any() or over[possible].min() > min(spare[row], lightest)
            assert not given[row].any()
    assert 0 < within_count < ROWS


def test_of_tiles_that_are_over_the_need_alike_the_cheapest_is_given() -> None:
    load, cost = np.full((1, OFFERS), 10.0), np.arange(float(OFFERS))[None, ::-1].copy()
    given, covers = cheapest_cover(load, cost, np.array([8.0]), np.array([0.1]), np.array([100.0]))
    assert covers[0]
    assert np.flatnonzero(given[0]).tolist() == [OFFERS - 1]


def test_equal_tiles_cover_exactly_what_they_can() -> None:
    load = np.full((1, OFFERS), 10.0)
    given, covers = cheapest_cover(load, load.copy(), np.array([30.0]), np.array([0.0]), np.array([100.0]))
    assert covers[0]
    assert given.sum() == 3
