"""Owns the command `session-manager`: its subcommands, their options, and one-line errors."""

import logging
from pathlib import Path
from typing import Any

import click

from subgraph import __version__
from subgraph.logs import LEVELS, begin_logging
from subgraph.settings import BadSetting, Settings, unknown_settings
from subgraph.settings.texts import PREFIX

logger = logging.getLogger(__name__)


def _option(name: str, kind: Any, text: str) -> Any:
    variable = PREFIX + name.upper()
    return click.option(f"--{name.replace('_', '-')}", name, type=kind, help=f"{text} [{variable}]")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="session-manager")
def main() -> None:
    """A federated GraphQL subgraph for sessions, H3 tiles and the pods that own them."""


@main.command()
@_option("host", str, "Address to listen on; default 127.0.0.1.")
@_option("port", int, "Port to listen on; 0 takes a free one; default 4001.")
@_option(
    "data_dir", click.Path(path_type=Path), "Where the embedded stores keep their data; default ./session-manager-data."
)
@_option("redis_url", str, "Redis or Valkey, as redis://host:6379/0; without it an embedded Valkey is started.")
@_option(
    "database_url",
    str,
    "SQLite or PostgreSQL, as postgresql://user:password@host/name; without it SQLite in the data directory.",
)
@_option("migrate_on_start", bool, "Whether to bring the database to this version's schema; default true.")
@_option("workers", int, "Server processes; default 1.")
@_option("access_token", str, "Secret that every request must show as a bearer token.")
@_option("log_level", click.Choice(LEVELS), "How much is logged; default warning.")
def serve(**given: Any) -> None:
    """Serve the subgraph, with GraphiQL at /graphql.

    Every option is also an environment variable; docs/settings.md lists all of these, also those without an option.
    """
    settings = _settings(given)  # before the slow imports, so that a wrong setting is reported at once
    from subgraph.serve import CannotServe
    from subgraph.serve import serve as run

    try:
        run(settings, lambda line: click.echo(line))
    except CannotServe as error:
        raise click.ClickException(str(error)) from error


@main.command()
@_option("data_dir", click.Path(path_type=Path), "Where the embedded SQLite is; default ./session-manager-data.")
@_option("database_url", str, "The database; without it SQLite in the data directory.")
def migrate(**given: Any) -> None:
    """Bring the database to this version's schema, and say from which revision to which."""
    settings = _settings(given)
    from subgraph.migrate import CannotMigrate
    from subgraph.migrate import migrate as run

    try:
        click.echo(run(settings))
    except CannotMigrate as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--pods", type=click.IntRange(2, 50), default=5, show_default=True, help="Pod processes.")
@click.option(
    "--pace", type=click.FloatRange(1, 3600), default=60, show_default=True, help="Simulated seconds per real second."
)
@click.option("--start", "start_time", default="11:30", show_default=True, help="Time of day to start at, HH:MM.")
@click.option(
    "--resolution",
    type=click.IntRange(0, 5),
    default=3,
    show_default=True,
    help="H3 resolution of the tiles; at 1 or 0 the busy ones are too hot to stay whole, and split.",
)
@click.option("--seconds", type=click.FloatRange(min=1), help="Stop after this many seconds.")
@click.option("--port", type=click.IntRange(1, 65_535), default=4001, show_default=True, help="The server's port.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Keep the stores here; default: a temporary directory."
)
@click.option("--plain", is_flag=True, help="Print a line every few seconds instead of drawing the screen.")
def demo(start_time: str, **chosen: Any) -> None:
    """Watch a real day of US flights, kept balanced over a fleet of pod processes.

    It starts its own server and stores, without authentication, and ignores the shell's SESSION_MANAGER_… settings.
    """
    from subgraph.demo.processes import DemoFailed
    from subgraph.demo.show import DemoOptions, run_demo

    hours, _, minutes = start_time.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and int(hours) < 24 and int(minutes) < 60):
        raise click.BadParameter(f"{start_time!r} is no time of day, HH:MM", param_hint="--start")
    start = int(hours) * 3_600.0 + int(minutes) * 60
    try:
        run_demo(DemoOptions(start_second_of_day=start, **chosen))
    except DemoFailed as error:
        raise click.ClickException(str(error)) from error


@main.command()
def schema() -> None:
    """Print the schema (SDL) for gateways to compose."""
    from subgraph.api.schema import print_sdl

    click.echo(print_sdl(), nl=False)


@main.command()
@click.option("--url", default="http://127.0.0.1:4001/graphql", show_default=True, help="The server's endpoint.")
@click.option("--access-token", envvar=PREFIX + "ACCESS_TOKEN", help=f"Its access token. [{PREFIX}ACCESS_TOKEN]")
@click.option("--remove-pod", "removed", multiple=True, metavar="ID", help="Plan as if this pod were gone.")
@click.option("--add-pod", "added", multiple=True, metavar="ID:CAPACITY", help="Plan as if there were this pod, too.")
@click.option("--load-factor", type=float, default=1.0, show_default=True, help="Plan as if all loads were multiplied.")
@click.option("--max-churn", type=float, help="The most load to move, as a share of all load (0 to 1).")
@click.option("--moves", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Moves to list.")
def plan(url: str, access_token: str | None, moves: int, **supposed: Any) -> None:
    """Print what rebalancing would do (a dry run), now or with other pods or loads. Nothing is moved."""
    from subgraph.plan_table import CannotPlan, print_plan

    try:
        print_plan(url, access_token, moves, **supposed)
    except CannotPlan as error:
        raise click.ClickException(str(error)) from error


def _settings(given: dict[str, Any]) -> Settings:
    try:
        settings = Settings.from_environment(chosen={name: value for name, value in given.items() if value is not None})
    except BadSetting as error:
        raise click.ClickException(str(error)) from error
    begin_logging(settings.log_level)
    for line in unknown_settings():
        logger.warning(line)
    return settings
