"""Owns time and memory against size: a plan in a drifting fleet, from ten thousand tiles to a million."""

import gc
import statistics
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placing.figures import Verdict, print_table
from placing.fleet import UNOWNED, Fleet, Graph, Loads, Rows
from placing.ours import POLICY, applied, columns_of
from placing.workloads import SIGMA, drifted
from subgraph.domain.planning.plan import plan_rebalance

SIZES = (10_000, 31_600, 100_000, 316_000, 1_000_000)
TILES_PER_POD = 100
BARS_MS = {100_000: 50.0, 1_000_000: 500.0}
BYTES_PER_TILE_MAX = 200.0
EXPONENT_MAX = 1.1


@dataclass(frozen=True, slots=True)
class Size:
    """What planning costs at one size."""

    tiles: int
    pods: int
    moves: int
    wall_ms: Sequence[float]
    cpu_ms: Sequence[float]
    bytes_per_tile: float  # at the peak of a plan that balances
    bytes_per_tile_placed: float  # at the peak of one that places every tile, as after a total loss

    @property
    def wall_median_ms(self) -> float:
        """The median time of a plan by the clock."""
        return statistics.median(self.wall_ms)

    @property
    def cpu_median_ms(self) -> float:
        """The median processor time of a plan."""
        return statistics.median(self.cpu_ms)


def measure(tiles: int, plans: int) -> Size:
    """Time that many plans, each after one more round of drift, and then the memory of one."""
    pods, rng = tiles // TILES_PER_POD, np.random.default_rng(tiles)
    load = np.exp(rng.normal(0.0, SIGMA, tiles))
    nobody, graph = np.full(tiles, UNOWNED, np.int32), Graph.of_grid(tiles)
    bytes_to_place = _peak_bytes(_fleet(load, nobody, graph))
    owner = applied_to(_fleet(load, applied_to(_fleet(load, nobody, graph)), graph))
    wall_ms, cpu_ms, moves = [], [], []
    for _ in range(plans):
        load = drifted(rng, load)
        columns = columns_of(_fleet(load, owner, graph))
        gc.collect()
        began, began_cpu = time.perf_counter(), time.thread_time()
        plan = plan_rebalance(columns, POLICY)
        wall_ms.append((time.perf_counter() - began) * 1_000)
        cpu_ms.append((time.thread_time() - began_cpu) * 1_000)
        moves.append(plan.tiles.size)
        owner[plan.tiles] = plan.targets
    bytes_to_balance = _peak_bytes(_fleet(drifted(rng, load), owner, graph))
    return Size(
        tiles, pods, int(statistics.median(moves)), wall_ms, cpu_ms, bytes_to_balance / tiles, bytes_to_place / tiles
    )


def applied_to(fleet: Fleet) -> Rows:
    """Return the assignment after one round of ours."""
    return applied(fleet, plan_rebalance(columns_of(fleet), POLICY))


def compare_sizes(*, full: bool) -> tuple[list[Size], list[Verdict]]:
    """Measure all sizes, print them, and hold them against the bars."""
    plans = {tiles: max(5, min(41, 4_000_000 // tiles)) * (3 if full else 1) for tiles in SIZES}
    sizes = [measure(tiles, plans[tiles]) for tiles in SIZES]
    # The second one leaves out the sizes where what every plan costs, however small, makes growth look better.
    exponent, later = growth_exponent(sizes), growth_exponent(sizes[SIZES.index(100_000) :])
    print("\nTime and memory of a plan against size (log-normal, drift, 100 tiles a pod)")
    heads = (
        "tiles × pods",
        "plans",
        "moves",
        "median ms",
        "worst ms",
        "cpu ms",
        "µs a tile",
        "bytes a tile",
        "placing all",
    )
    print_table(heads, [_line(size) for size in sizes])
    print(f"growth exponent of the median cpu ms: {exponent:.2f} from 10 K to 1 M tiles, {later:.2f} from 100 K")
    found = {size.tiles: size for size in sizes}
    verdicts = [
        Verdict(
            f"{tiles:,} tiles: median plan ≤ {bar:.0f} ms",
            found[tiles].wall_median_ms <= bar,
            f"{found[tiles].wall_median_ms:.1f} ms",
        )
        for tiles, bar in BARS_MS.items()
    ]
    bytes_worst = max(max(size.bytes_per_tile, size.bytes_per_tile_placed) for size in sizes)
    verdicts += [
        Verdict(
            "growth close to linear, 10 K to 1 M",
            max(exponent, later) <= EXPONENT_MAX,
            f"exponent {exponent:.2f}, from 100 K {later:.2f}",
        ),
        Verdict("≤ 200 bytes a tile of working memory", bytes_worst <= BYTES_PER_TILE_MAX, f"{bytes_worst:.0f} bytes"),
    ]
    return sizes, verdicts


def growth_exponent(sizes: Sequence[Size]) -> float:
    """The slope of the logarithm of the median processor time over that of the size."""
    slope, _ = np.polyfit(np.log([size.tiles for size in sizes]), np.log([size.cpu_median_ms for size in sizes]), 1)
    return float(slope)


def _peak_bytes(fleet: Fleet) -> int:
    columns = columns_of(fleet)
    tracemalloc.start()
    plan_rebalance(columns, POLICY)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak_bytes


def _fleet(load: Loads, owner: Rows, graph: Graph) -> Fleet:
    tiles, pods = load.size, load.size // TILES_PER_POD
    movable, live = np.ones(tiles, np.bool_), np.ones(pods, np.bool_)
    return Fleet(np.arange(tiles), load, owner, movable, np.ones(pods), live, graph)


def _line(size: Size) -> tuple[str, ...]:
    return (
        f"{size.tiles:,} × {size.pods:,}",
        f"{len(size.wall_ms)}",
        f"{size.moves:,}",
        f"{size.wall_median_ms:.1f}",
        f"{max(size.wall_ms):.1f}",
        f"{size.cpu_median_ms:.1f}",
        f"{size.wall_median_ms * 1_000 / size.tiles:.3f}",
        f"{size.bytes_per_tile:.0f}",
        f"{size.bytes_per_tile_placed:.0f}",
    )
