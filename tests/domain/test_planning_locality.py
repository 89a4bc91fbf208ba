"""The edges cut between neighbouring tiles."""

import numpy as np
import pytest

from subgraph.domain.planning.columns import UNOWNED
from subgraph.domain.planning.locality import cut_edges

# Four tiles in a row: 0 - 1 - 2 - 3.
OFFSETS, NEIGHBORS = np.array([0, 1, 3, 5, 6]), np.array([1, 0, 2, 1, 3, 2], np.int32)


@pytest.mark.parametrize(
    ("owners", "cut"),
    [([0, 0, 0, 0], 0), ([0, 0, 1, 1], 1), ([0, 1, 0, 1], 3), ([0, UNOWNED, 1, 1], 0)],
)
def test_a_pair_on_two_pods_is_cut_once(owners: list[int], cut: int) -> None:
    assert cut_edges(np.array(owners, np.int32), OFFSETS, NEIGHBORS) == cut
