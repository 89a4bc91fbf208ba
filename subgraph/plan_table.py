"""Owns `session-manager plan`: a dry run of a running server, as a table."""

import math
import re
from collections.abc import Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

ANSWER_SECONDS_MAX = 30.0
PODS_NAMED_MAX = 3
FILE_WIDTH = 160
"""Columns where nobody looks at a terminal: ids are for copying, so none is cut."""

_PLAN = """
query Plan($input: RebalancePlanInput, $first: Int!) { rebalancePlan(input: $input) {
  id isHypothetical skipped moveCount churn churnLowerBound computeMs expiresAt
  before { imbalance maxUtilization unassignedTiles } after { imbalance maxUtilization unassignedTiles }
  splits { tileId into load pod { id } } merges { parent tileIds load pod { id } } unsplit(first: 20) { tileId reason }
  moves(first: $first) { edges { node { tileId fromPodId toPodId reason load gain } } }
  unplaceable(first: 20) { tileId reasons rejections { reason podCount podIds missingLabels { key value } } }
} }
"""


_OPTIONS = {
    "loadFactor": "--load-factor",
    "maxChurn": "--max-churn",
    "removePods": "--remove-pod",
    "addPods": "--add-pod",
}


class CannotPlan(Exception):
    """Why there is no plan: one line."""


def print_plan(
    url: str,
    access_token: str | None,
    moves: int,
    *,
    removed: Sequence[str],
    added: Sequence[str],
    load_factor: float,
    max_churn: float | None,
) -> None:
    """Ask the server for a dry run, and print it.

    Args:
        url: the server's GraphQL endpoint.
        access_token: shown to it, if given.
        moves: how many moves to list at most.
        removed: ids of pods to suppose gone.
        added: pods to suppose there, as ID:CAPACITY.
        load_factor: what to multiply all loads by.
        max_churn: the most load to move, as a share of all load.

    Raises:
        CannotPlan: the server does not answer, or refuses what is supposed.
    """
    for option, number in (("--load-factor", load_factor), ("--max-churn", max_churn)):
        if number is not None and not math.isfinite(number):
            raise CannotPlan(f"{option} is a number, not {number}")
    wanted = {
        "removePods": list(removed),
        "addPods": [_supposed_pod(text) for text in added],
        "loadFactor": load_factor,
        "maxChurn": max_churn,
    }
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    _print(_ask(url, access_token, {"input": wanted, "first": moves}), console)


def _supposed_pod(text: str) -> dict[str, Any]:
    pod_id, _, capacity = text.rpartition(":")
    try:
        return {"id": pod_id, "capacity": float(capacity)}
    except ValueError:
        raise CannotPlan(f"--add-pod takes ID:CAPACITY, not {text!r}") from None


def _ask(url: str, access_token: str | None, variables: dict[str, Any]) -> dict[str, Any]:
    headers = {} if access_token is None else {"Authorization": f"Bearer {access_token}"}
    try:
        answer = httpx.post(
            url, json={"query": _PLAN, "variables": variables}, headers=headers, timeout=ANSWER_SECONDS_MAX
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotPlan(f"no answer from {url}: {error}") from error
    try:
        answered = answer.json()
    except ValueError:
        answered = None
    if not isinstance(answered, dict) or not ("data" in answered or "errors" in answered):
        raise CannotPlan(f"{url} answered {answer.status_code}: there is no GraphQL endpoint, as /graphql of a server")
    if answered.get("errors"):
        raise CannotPlan(_in_options(answered["errors"][0]["message"]))
    plan: dict[str, Any] = answered["data"]["rebalancePlan"]
    return plan


def _in_options(message: str) -> str:
    """The server's words, in which inputs are named as options here are."""
    for name, option in _OPTIONS.items():
        message = re.sub(rf"\b{name}\b", option, message)
    return message


def _print(plan: dict[str, Any], console: Console) -> None:
    outcomes = Table(box=None, pad_edge=False)
    for name in ("", "imbalance", "highest utilization", "unassigned tiles"):
        outcomes.add_column(name, justify="right" if name else "left")
    for when in ("before", "after"):
        outcome = plan[when]
        outcomes.add_row(
            when,
            f"{outcome['imbalance']:.3f}",
            f"{outcome['maxUtilization']:.1%}",
            f"{outcome['unassignedTiles']:,}",
        )
    console.print(outcomes)
    console.print(
        f"{plan['moveCount']:,} moves; load moved for balance {plan['churn']:,.2f} "
        f"(lower bound {plan['churnLowerBound']:,.2f}); planned in {plan['computeMs']:.1f} ms",
        highlight=False,
    )
    if plan["skipped"]:
        console.print(f"nothing is moved for balance: {plan['skipped']}", highlight=False)
    _print_moves(plan, console)
    _print_divisions(plan, console)
    for tile in plan["unplaceable"]:
        why = "; ".join(map(_rejection, tile["rejections"]))
        console.print(
            f"no pod can take {tile['tileId']}: {', '.join(tile['reasons'])}" + (f" ({why})" if why else ""),
            highlight=False,
            soft_wrap=True,
        )
    does_something = plan["moveCount"] or plan["splits"] or plan["merges"]
    if does_something and not plan["isHypothetical"]:
        console.print(
            f'to apply it, until {plan["expiresAt"]}: mutation {{ rebalance(input: {{ planId: "{plan["id"]}" }}) '
            "{ errors { message } } }",
            highlight=False,
            soft_wrap=True,
        )


def _rejection(rejection: dict[str, Any]) -> str:
    labels = " ".join(f"{label['key']}={label['value']}" for label in rejection["missingLabels"])
    named, count = rejection["podIds"][:PODS_NAMED_MAX], rejection["podCount"]
    more = f" and {count - len(named):,} more" if count > len(named) else ""
    return f"{', '.join(named)}{more}: {rejection['reason']}" + (f" {labels}" if labels else "")


def _print_divisions(plan: dict[str, Any], console: Console) -> None:
    rows = [("split", one["tileId"], f"{len(one['into'])} tiles inside it", one) for one in plan["splits"]]
    rows += [("merge", f"{len(one['tileIds'])} tiles inside it", one["parent"], one) for one in plan["merges"]]
    if rows:
        table = Table(box=None, pad_edge=False)
        for name in ("", "from", "into", "on", "load"):
            table.add_column(name, justify="right" if name == "load" else "left", overflow="fold")
        for kind, before, after, one in rows:
            table.add_row(kind, before, after, one["pod"]["id"] if one["pod"] else "nobody", f"{one['load']:,.2f}")
        console.print(table)
    for tile in plan["unsplit"]:
        console.print(
            f"too hot, and does not split: {tile['tileId']}: {tile['reason']}", highlight=False, soft_wrap=True
        )


def _print_moves(plan: dict[str, Any], console: Console) -> None:
    edges = plan["moves"]["edges"]
    if not edges:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("tile", "from", "to", "reason", "load", "gain"):
        table.add_column(name, justify="right" if name in ("load", "gain") else "left", overflow="fold")
    for move in (edge["node"] for edge in edges):
        numbers = (f"{move['load']:,.2f}", f"{move['gain']:.2%}")
        table.add_row(move["tileId"], move["fromPodId"] or "nobody", move["toPodId"], move["reason"], *numbers)
    console.print(table)
    if plan["moveCount"] > len(edges):
        console.print(f"… and {plan['moveCount'] - len(edges):,} more")
