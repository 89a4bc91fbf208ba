"""Owns `python -m subgraph`: the same as the command `session-manager`."""

from subgraph.cli import main

main(prog_name="session-manager")
