"""Owns the page that shows the steps of a handoff: diagram and tables, printed from the table in the domain."""

from subgraph.domain.handoff import STEPS, HandoffPolicy, TermPhase

INTRODUCTION = """# The life of a term of ownership

A term is one pod's ownership of one tile at one epoch. A tile has three terms at most: the owner's, the next one's, the
former one's. A move is made before it breaks: the next owner prepares while the present one works on; the cut-over puts
its epoch in force; it takes over, while the former one drains. This page is printed from
[handoff.py](../subgraph/domain/handoff.py); a test tries every step on every record a tile can have, and finds these
steps and no others.
"""
MEANING = {
    TermPhase.PREPARING: "told to prepare; the present owner works on",
    TermPhase.READY: "has prepared; the cut-over is the leader's next step",
    TermPhase.IN_FORCE: "its epoch is the tile's; it shuts out former owners, and has not said ACTIVE yet",
    TermPhase.AT_WORK: "has said ACTIVE",
    TermPhase.DRAINING: "finishes what it began; its epoch is not the tile's any more",
    TermPhase.RELEASED: "has finished, or its time to finish is over",
    TermPhase.ABORTED: "never came into force",
    TermPhase.LOST: "ended without draining; the sinks shut it out",
}
CLOSING = """## When a pod does not take over

A pod whose term is in force is told so again every {again:g} seconds until it says ACTIVE. After {limit:g} seconds
(and not while a new leader waits) the term ends as LOST, and the tile is given to another pod at once, at a higher
epoch, with the reason NOT_TAKEN_OVER. It is the pod's fault, not the tile's: nothing is held against the tile, but the
pod receives no tiles for {shunned:g} seconds (its `shunnedUntil`; `NOT_ACCEPTING` for whoever asks why not). Where no
other pod receives tiles, the slow one keeps its own, and is told again.
"""


def page() -> str:
    """The page."""
    policy = HandoffPolicy()
    closing = CLOSING.format(
        again=policy.tell_again_ms / 1_000,
        limit=policy.take_over_timeout_ms / 1_000,
        shunned=policy.shunned_ms / 1_000,
    )
    return "\n".join((INTRODUCTION, *_diagram(), "", *_phases(policy), "", *_steps(), "", closing))


def _diagram() -> list[str]:
    actors: dict[tuple[str, str], list[str]] = {}
    for step in STEPS:
        actors.setdefault((step.source or "[*]", step.target), []).append(step.actor)
    arrows = [f"    {source} --> {target}: {', '.join(of)}" for (source, target), of in actors.items()]
    sources = {step.source for step in STEPS}
    ends = [f"    {phase} --> [*]" for phase in TermPhase if phase not in sources]
    return ["```mermaid", "stateDiagram-v2", *arrows, *ends, "```"]


def _phases(policy: HandoffPolicy) -> list[str]:
    rows = []
    for phase in TermPhase:
        limit_ms = policy.limits_ms.get(phase)
        rows.append(f"| {phase} | {MEANING[phase]} | {'–' if limit_ms is None else f'{limit_ms / 1_000:g} s'} |")
    return ["| phase | the pod | time-out |", "|---|---|---|", *rows]


def _steps() -> list[str]:
    rows = [f"| {step.source or 'begins as'} | {step.target} | {step.actor} | {step.when} |" for step in STEPS]
    return ["| from | to | by | when |", "|---|---|---|---|", *rows]


if __name__ == "__main__":
    print(page(), end="")
