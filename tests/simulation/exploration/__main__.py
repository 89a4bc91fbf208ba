"""Owns the command line of the exploration: `python -m tests.simulation.exploration --depth 9`."""

import argparse
import sys
import time

from tests.simulation.exploration.scenes import SCENES, scene
from tests.simulation.exploration.search import explore


def main() -> int:
    """Run the command; 1: a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.exploration", description=__doc__)
    parser.add_argument("--depth", type=int, default=8, help="how many steps from each scene")
    depth = parser.parse_args().depth
    broken = 0
    for name in SCENES:
        began = time.monotonic()
        explored = explore(scene(name), depth)
        seconds = time.monotonic() - began
        print(f"{name}: {explored.worlds:,} worlds, {explored.steps:,} steps, depth {explored.depth}, {seconds:.1f} s")
        if explored.broken:
            broken += 1
            print("\n".join([f"  BROKEN: {explored.broken}", *(f"    {step}" for step in explored.path)]))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
