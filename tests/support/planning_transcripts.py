"""Owns the text in which a small fleet and its plan are written down, so that people can review what the planner does.

A transcript is a story in `#` lines, the fleet, and after `plan` what the planner makes of it:

    pods    name, capacity; then `cordoned`, `draining`, `max <tiles>`
    tiles   name, pod (`-`: nobody), load (`?`: never reported); then `resting`, `pin <pod>`, `needs <group>`
    groups  name, the pods that have what it needs
    beside  names of tiles, each a neighbour of the next
    policy  field of BalancePolicy, value
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from subgraph.domain.planning.columns import NO_LIMIT, UNOWNED, PlanningInput
from subgraph.domain.planning.plan import MoveReason, Plan, PlanOutcome, UnplaceableReason, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy

SECTIONS = ("pods", "tiles", "groups", "beside", "policy")
ANYWHERE = "any"


@dataclass(slots=True)
class Scene:
    """A fleet by names."""

    pods: dict[str, list[str]] = field(default_factory=dict)
    tiles: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    beside: set[frozenset[str]] = field(default_factory=set)
    policy: dict[str, Any] = field(default_factory=dict)

    def put(self, section: str, words: list[str]) -> None:
        """Take in a line of a section."""
        match section:
            case "pods" | "tiles" | "groups":
                getattr(self, section)[words[0]] = words[1:]
            case "beside":
                self.beside.update(map(frozenset, pairwise(words)))
            case "policy":
                self.policy[words[0]] = float(words[1])

    def columns(self) -> PlanningInput:
        """The planner's input."""
        pod_names, tile_names = list(self.pods), list(self.tiles)
        pod_row = {name: row for row, name in enumerate(pod_names)} | {"-": UNOWNED}
        tile_row = {name: row for row, name in enumerate(tile_names)}
        groups = {ANYWHERE: pod_names, **self.groups}
        around: list[list[int]] = [[] for _ in tile_names]
        for one, other in map(sorted, self.beside):
            around[tile_row[one]].append(tile_row[other])
            around[tile_row[other]].append(tile_row[one])
        tiles, pods = self.tiles.values(), self.pods.values()
        return PlanningInput(
            tile_load=np.array([np.nan if words[1] == "?" else float(words[1]) for words in tiles], np.float64),
            tile_pod=np.array([pod_row[words[0]] for words in tiles], np.int32),
            tile_movable=np.array(["resting" not in words for words in tiles], np.bool_),
            pod_capacity=np.array([float(words[0]) for words in pods], np.float64),
            pod_accepts=np.array(["cordoned" not in words and "draining" not in words for words in pods], np.bool_),
            pod_evacuates=np.array(["draining" in words for words in pods], np.bool_),
            pod_tiles_max=np.array([int(after(words, "max", str(NO_LIMIT))) for words in pods], np.int64),
            tile_group=np.array([list(groups).index(after(words, "needs", ANYWHERE)) for words in tiles], np.int32),
            group_allows=np.array([[pod in allowed for pod in pod_names] for allowed in groups.values()], np.bool_),
            tile_pin=np.array([pod_row[after(words, "pin", "-")] for words in tiles], np.int32),
            neighbor_offsets=np.cumsum([0, *map(len, around)], dtype=np.int64) if self.beside else None,
            neighbors=np.array([row for rows in around for row in sorted(rows)], np.int32) if self.beside else None,
        )

    def told(self, plan: Plan) -> list[str]:
        """The plan, line by line."""
        pods, tiles = [*self.pods, "-"], list(self.tiles)
        lines = [
            f"{MoveReason(kind).name.lower():<9} {tiles[tile]} {pods[source]} → {pods[target]}  load {load:g}"
            for tile, source, target, kind, load in zip(
                plan.tiles.tolist(),
                plan.sources.tolist(),
                plan.targets.tolist(),
                plan.reasons.tolist(),
                plan.loads.tolist(),
                strict=True,
            )
        ]
        lines += [
            f"no place  {tiles[tile]}  {UnplaceableReason(reason).name}"
            for tile, reason in zip(plan.unplaceable_tiles.tolist(), plan.unplaceable_reasons.tolist(), strict=True)
        ]
        if plan.skip is not None:
            lines.append(f"nothing   {plan.skip.value}")
        if plan.budget_bound:
            lines.append("more is for another round")
        lines += [f"before    {outcome(plan.before)}", f"after     {outcome(plan.after)}"]
        if plan.churn:
            lines.append(f"churn     {plan.churn:g}, at least {plan.churn_lower_bound:g}")
        return lines


def outcome(told: PlanOutcome) -> str:
    """An outcome in a line."""
    words = f"max {told.max_utilization:.3f}, max/mean {told.imbalance:.3f}"
    return words + (f", {told.unassigned_tiles} without an owner" if told.unassigned_tiles else "")


def after(words: list[str], key: str, otherwise: str) -> str:
    """The word that follows another one."""
    return words[words.index(key) + 1] if key in words else otherwise


def transcribe(text: str) -> str:
    """Return a transcript with the plan that the planner makes now in place of the one it tells."""
    told, _, _ = text.partition("\nplan\n")
    scene, section = Scene(), ""
    for number, line in enumerate(told.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line in SECTIONS:
            section = line
        elif line.startswith("  ") and section:
            scene.put(section, line.split())
        else:
            raise ValueError(f"line {number} belongs to no section: {line!r}")
    plan = plan_rebalance(scene.columns(), BalancePolicy(**scene.policy))
    return told + "\nplan\n" + "".join(f"  {line}\n" for line in scene.told(plan))
