"""Owns the command `session-manager`: its subcommands, their options, and one clear line when something is wrong."""

import logging
from pathlib import Path
from typing import Any

import click

from subgraph import __version__
from subgraph.settings import PREFIX, BadSetting, Settings


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
@_option("data_dir", click.Path(path_type=Path), "Where the embedded stores keep their data.")
@_option("redis_url", str, "Redis or Valkey to use; without it an embedded Valkey is started.")
@_option("database_url", str, "Database to use; without it SQLite in the data directory.")
@_option("workers", int, "Server processes; default 1.")
@_option("access_token", str, "Secret that every request must show as a bearer token.")
@_option("log_level", click.Choice(["debug", "info", "warning", "error"]), "How much is logged; default warning.")
def serve(**given: Any) -> None:
    """Serve the subgraph, with GraphiQL at /graphql. Every option is also an environment variable."""
    from subgraph.serve import CannotServe
    from subgraph.serve import serve as run

    try:
        settings = _settings(given)
        run(settings, lambda line: click.echo(line))
    except (BadSetting, CannotServe) as error:
        raise click.ClickException(str(error)) from error


@main.command()
def schema() -> None:
    """Print the SDL that gateways compose."""
    from subgraph.api.schema import print_sdl

    click.echo(print_sdl(), nl=False)


def _settings(given: dict[str, Any]) -> Settings:
    settings = Settings.from_environment(chosen={name: value for name, value in given.items() if value is not None})
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return settings
