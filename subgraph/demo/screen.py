"""Owns the demo's screen: the day, the pods, the tiles, the moves, the sink, and what to try next."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from subgraph.demo.watch import World

DAY_SECONDS = 86_400
BAR_WIDTH = 28
HEALTH_STYLE = {
    "HEALTHY": "green",
    "DEGRADED": "yellow",
    "OVERLOADED": "red",
    "STALE": "magenta",
    "UNASSIGNED": "bold red",
}
STATUS_STYLE = {"READY": "green", "CORDONED": "yellow", "DRAINING": "cyan", "LOST": "bold red", "GONE": "dim"}


@dataclass(frozen=True, slots=True)
class Moment:
    """What only the demo itself knows: simulated time, aircraft aloft, records sent, the pods' processes, who waits."""

    second_of_day: float
    pace: float
    aircraft: int
    records_sent: int
    process_of_pod: dict[str, int]
    hints: tuple[str, ...]
    waiting: tuple[str, ...] = ()


def screen(world: World, moment: Moment) -> RenderableType:
    """The whole screen."""
    layout = Layout()
    layout.split_column(
        Layout(_day(moment), size=3),
        Layout(name="middle", ratio=1, minimum_size=10),
        Layout(Panel(_events(world, moment), title="events", border_style="dim"), ratio=1, minimum_size=5),
        Layout(
            Panel(Group(*map(Text, moment.hints)), title="try next", border_style="dim"), size=len(moment.hints) + 2
        ),
    )
    layout["middle"].split_row(
        Layout(Panel(_pods(world, moment), title="pods", border_style="dim"), ratio=3),
        Layout(Panel(_numbers(world, moment), title="tiles and sink", border_style="dim"), ratio=2),
    )
    return layout


def line(world: World, moment: Moment) -> str:
    """One line that says how things stand, where there is no terminal."""
    fleet, audit = world.fleet, world.audit
    return (
        f"{clock(moment.second_of_day)}  {moment.aircraft} aloft  pods "
        + " ".join(f"{pod['id']}:{pod['utilization']:.0%}/{pod['tileCount']}" for pod in world.pods)
        + f"  tiles {fleet.get('tileCount', 0)}  unassigned {fleet.get('unassignedTiles', 0)}"
        + f"  imbalance {fleet.get('imbalance', 0):.3f}"
        + f"  accepted {audit.accepted:,} twice {audit.accepted_twice} refused {world.totals.refused:,}"
        + f" missed {world.totals.missed:,}"
        + (f"  WAITING: {'; '.join(moment.waiting)}" if moment.waiting else "")
    )


def clock(second_of_day: float) -> str:
    """Time of day, hours and minutes."""
    minutes = int(second_of_day) // 60
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _day(moment: Moment) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=34)
    table.add_column(ratio=1)
    table.add_column(width=30, justify="right")
    table.add_row(
        f"[bold]US flights, 13 June 2001  {clock(moment.second_of_day)}[/]",
        ProgressBar(total=DAY_SECONDS, completed=moment.second_of_day),
        f"{moment.aircraft:,} aloft, {moment.pace:g} × real time",
    )
    return Panel(table, border_style="dim")


def _pods(world: World, moment: Moment) -> RenderableType:
    table = Table(expand=True, box=None, pad_edge=False)
    for name in ("pod", "process", "status", "load", ""):
        table.add_column(name, justify="right" if name in ("process", "") else "left")
    table.add_column("tiles", justify="right")
    for pod in world.pods:
        used = pod["utilization"]
        bar = ProgressBar(total=1.0, completed=min(used, 1.0), width=BAR_WIDTH, complete_style=_load_style(used))
        process = moment.process_of_pod.get(pod["id"])
        table.add_row(
            pod["id"],
            str(process or "–"),
            Text(pod["status"], STATUS_STYLE[pod["status"]]),
            bar,
            f"{used:.1%}",
            str(pod["tileCount"]),
        )
    return table


def _numbers(world: World, moment: Moment) -> RenderableType:
    fleet, totals, audit = world.fleet, world.totals, world.audit
    table = Table.grid(padding=(0, 2))
    imbalance = fleet.get("imbalance", 1.0)
    table.add_row("imbalance (max / mean)", Text(f"{imbalance:.3f}", "green" if imbalance <= 1.1 else "yellow"))
    counts = world.health_counts
    for health, style in HEALTH_STYLE.items():
        if counts[health]:
            table.add_row(Text(health.lower(), style), f"{counts[health]:,} tiles")
    moves = ", ".join(f"{reason} {count:,}" for reason, count in world.moves_by_reason.most_common())
    table.add_row("moves so far", moves or "none")
    table.add_row(
        "in flight", f"{fleet.get('movesInFlight', 0)}   {fleet.get('rebalancing', {}).get('lastSkip') or ''}"
    )
    table.add_row("records sent", f"{moment.records_sent:,}")
    table.add_row("accepted by the sink", f"{audit.accepted:,}")
    table.add_row("  twice", Text(f"{audit.accepted_twice:,}", "bold red" if audit.accepted_twice else "green"))
    table.add_row("  refused by the fence", f"{totals.refused:,}")
    table.add_row("  repeated, dropped", f"{totals.duplicates:,}")
    table.add_row("  missed", Text(f"{totals.missed:,}", "red" if totals.missed else "green"))
    return table


def _events(world: World, moment: Moment) -> RenderableType:
    waiting = "".join(f"waiting  {one}\n" for one in moment.waiting)
    return Text.assemble((waiting, "bold yellow"), "\n".join(list(world.events)[-30:][::-1]))


def _load_style(utilization: float) -> str:
    return "red" if utilization > 1.0 else "yellow" if utilization > 0.8 else "green"
