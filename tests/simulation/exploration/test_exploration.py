"""Every order of steps of handoff, leadership and leases in a small world: no rule breaks, and planted bugs show."""

import pytest

from tests.simulation.exploration.scenes import SCENES, scene
from tests.simulation.exploration.search import explore
from tests.simulation.planted_bugs import PLANTED

DEPTH = 7
WORLDS_MIN = 5_000

FOUND = {
    "acknowledgement of another epoch": "a move was given up, and begins again",
    "no lease margin": "a lease has ended",
    "lost without a look at the lease": "a lease has ended",
    "epoch used again after an abort": "a move was given up",
    "no version compare": "the next owner is ready",
    "cut-over before READY": "a tile moves",
}
"""Planted bug to the scene from which it shows."""


@pytest.mark.parametrize("name", SCENES)
def test_no_order_of_steps_breaks_a_rule(name: str) -> None:
    explored = explore(scene(name), DEPTH)
    assert explored.broken is None, explored.path
    assert explored.depth == DEPTH
    assert explored.worlds > WORLDS_MIN, "there is much to explore"


@pytest.mark.parametrize("bug", FOUND)
def test_some_order_of_steps_shows_a_planted_bug(bug: str) -> None:
    with PLANTED[bug]():
        explored = explore(scene(FOUND[bug]), DEPTH)
    assert explored.broken
