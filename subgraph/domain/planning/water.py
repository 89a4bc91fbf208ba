"""Owns water-filling: the common level up to which an amount fills vessels of unequal size and content."""

import numpy as np

from subgraph.domain.planning.columns import Loads


def water_level(content: Loads, size: Loads, amount: float) -> float:
    """Return the level w with Σ max(0, w·size − content) = amount; at least one vessel, sizes above 0.

    Upside down it drains: −water_level(−content, size, amount) is the level above which there is just that amount.
    """
    height = content / size
    order = np.argsort(height, kind="stable")
    levels = (amount + np.cumsum(content[order])) / np.cumsum(size[order])
    # The level holds once it does not reach the next vessel's content.
    beyond = levels[:-1] <= height[order[1:]]
    return float(levels[int(np.argmax(beyond)) if beyond.any() else -1])
