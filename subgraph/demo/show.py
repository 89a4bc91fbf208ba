"""Owns `session-manager demo`: the live world on a terminal, until Ctrl-C or for a chosen time."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live

from subgraph.adapters.data_directory import DataDirectory, DataDirectoryUnusable
from subgraph.demo.feeder import TILE_RESOLUTION
from subgraph.demo.processes import DemoFailed
from subgraph.demo.screen import Moment, line, screen
from subgraph.demo.world import LiveWorld, live_world

REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What can be chosen. Paces are simulated seconds per real second."""

    pods: int = 5
    port: int = 4001
    pace: float = 60.0
    start_second_of_day: float = 11.5 * 3_600
    resolution: int = TILE_RESOLUTION
    seconds: float | None = None
    data_dir: Path | None = None
    plain: bool = False


def run_demo(options: DemoOptions) -> None:
    """Run the demo until Ctrl-C, or for the seconds chosen.

    Raises:
        DemoFailed: a part of it did not come up, or has ended.
    """
    with contextlib.ExitStack() as cleanups:
        data_dir = options.data_dir or Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="sm-demo-")))
        directory = DataDirectory(data_dir)
        try:
            directory.acquire()
        except DataDirectoryUnusable as error:
            raise DemoFailed(str(error)) from error
        cleanups.callback(directory.release)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(options, data_dir))


async def _run(options: DemoOptions, data_dir: Path) -> None:
    console = Console()
    console.print("starting a server, its stores, and a fleet of pods …", style="dim")
    async with live_world(
        data_dir,
        port=options.port,
        pods=options.pods,
        pace=options.pace,
        start_second_of_day=options.start_second_of_day,
        resolution=options.resolution,
    ) as world:
        hints = _hints(world)
        showing = asyncio.create_task(_show(console, options, world, hints))
        await asyncio.wait([showing, world.problem], return_when=asyncio.FIRST_COMPLETED)
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
        if world.problem.done():
            world.problem.result()
        console.print(line(world.watch.world, _moment(world, hints)), highlight=False, soft_wrap=True)


async def _show(console: Console, options: DemoOptions, world: LiveWorld, hints: tuple[str, ...]) -> None:
    plain = options.plain or not console.is_terminal
    if plain:
        console.print("\n".join(hints), highlight=False, soft_wrap=True)
    with contextlib.suppress(TimeoutError), _live(console, plain) as live:
        async with asyncio.timeout(options.seconds):
            while True:
                moment = _moment(world, hints)
                if live is not None:
                    live.update(screen(world.watch.world, moment), refresh=True)
                else:
                    console.print(line(world.watch.world, moment), highlight=False, soft_wrap=True)
                await asyncio.sleep(LINE_SECONDS if live is None else REFRESH_SECONDS)


def _moment(world: LiveWorld, hints: tuple[str, ...]) -> Moment:
    replay = world.feeder.replay
    return Moment(
        second_of_day=replay.second_of_day,
        pace=replay.pace,
        aircraft=world.feeder.aircraft,
        records_sent=world.channel.sent,
        process_of_pod=world.processes.process_of_pod,
        hints=hints,
        waiting=tuple(f"{who}: {why}" for who, why in world.watch.waiting.reasons.items()),
    )


@contextlib.contextmanager
def _live(console: Console, plain: bool) -> Iterator[Live | None]:
    if plain:
        yield None
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield live


def _hints(world: LiveWorld) -> tuple[str, ...]:
    (_, pid), (other, other_pid) = [*world.processes.process_of_pod.items()][:2]
    drain = f'mutation {{ drainPod(input: {{ podId: "{other}" }}) {{ pod {{ status }} errors {{ message }} }} }}'
    ask = "{ mainSession { partition { tileCount imbalance tilesByHealth { health count } } } fleet { imbalance } }"
    return (
        f"open GraphiQL  {world.url}   (the main session is {world.session_id})",
        f"ask            {ask}",
        f"kill a pod     kill -9 {pid}",
        f"pause a pod    kill -STOP {other_pid}; sleep 10; kill -CONT {other_pid}",
        f"drain a pod    {drain}",
    )
