"""Owns the search through everything that can happen in the small world, up to a number of steps."""

from dataclasses import dataclass
from hashlib import blake2b

from tests.simulation.exploration.pod_steps import Broken
from tests.simulation.exploration.small_world import SmallWorld
from tests.simulation.exploration.steps import steps


@dataclass(frozen=True, slots=True)
class Explored:
    """How far a search came: worlds it found and steps it took, up to `depth` steps from the beginning."""

    depth: int
    worlds: int
    steps: int
    broken: str | None = None
    path: tuple[str, ...] = ()


def explore(begin: SmallWorld, depth: int) -> Explored:
    """Take every step that can be taken, breadth first, from every world once; end at the first broken rule."""
    seen = {_digest(begin)}
    level: list[tuple[SmallWorld, tuple[str, ...]]] = [(begin, ())]
    taken = 0
    for deep in range(1, depth + 1):
        following: list[tuple[SmallWorld, tuple[str, ...]]] = []
        for world, path in level:
            try:
                for name, after in steps(world):
                    taken += 1
                    digest = _digest(after)
                    if digest not in seen:
                        seen.add(digest)
                        following.append((after, (*path, name)))
            except Broken as broken:
                return Explored(deep, len(seen), taken, str(broken), path)
        level = following
    return Explored(depth, len(seen), taken)


def _digest(world: SmallWorld) -> bytes:
    return blake2b(world.key(), digest_size=12).digest()
