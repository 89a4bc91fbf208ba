"""Owns Python programs in processes of their own that fork from the warm one, and having some go on at once."""

import asyncio
import contextlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import IO

from tests.support.warm_process import end_with_parent, started

SECONDS_MAX = 60


class WarmProgram:
    """A running program. It ends with the process that started it.

    Its output is text, and holds what it says of its failures too.
    """

    def __init__(self, program: str, *arguments: str) -> None:
        hears, tells = multiprocessing.Pipe(duplex=False)
        told, says = multiprocessing.Pipe(duplex=False)
        self._process = started(_run, program, arguments, hears, says)
        hears.close()
        says.close()
        self._input, self.output = _text(tells, "w"), _text(told, "r")

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def finish(self, told: str = "") -> str:
        """What it still says, once it has been told something; it has ended then."""
        with contextlib.suppress(BrokenPipeError), self._input:
            self._input.write(told)
        with self.output:
            said = self.output.read()
        self._process.join(SECONDS_MAX)
        return said


async def said_at_once(program: str, *arguments: Sequence[str]) -> list[str]:
    """What a program says in as many processes as there are lists of arguments, none of which may fail.

    Each says a line when it is ready, and then waits for one: none has finished before another one begins.
    """
    programs = [WarmProgram(program, *given) for given in arguments]
    ready = [await asyncio.to_thread(one.output.readline) for one in programs]
    said = await asyncio.gather(*(asyncio.to_thread(one.finish, "go\n") for one in programs))
    assert [one.returncode for one in programs] == [0] * len(programs), [*ready, *said]
    return said


def _run(program: str, arguments: Sequence[str], hears: Connection, says: Connection) -> None:
    for connection, number in ((hears, 0), (says, 1), (says, 2)):
        os.dup2(connection.fileno(), number)
    hears.close()
    says.close()
    # The former is closed in every process that `multiprocessing` has begun.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv = ["-c", *arguments]
    end_with_parent()
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})


def _text(connection: Connection, mode: str) -> IO[str]:
    text: IO[str] = os.fdopen(os.dup(connection.fileno()), mode)
    connection.close()
    return text
