"""Owns reading the Dockerfile, and carrying its steps out below a folder where there is no Docker engine."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its base, its name, and its instructions in order."""

    base: str
    name: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        """The arguments of every such instruction."""
        return [arguments for name, arguments in self.steps if name == instruction]

    def last(self, instruction: str) -> str:
        """The arguments of the one that counts, which is the last."""
        return self.all(instruction)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets; references to other variables are left as they are."""
        return dict(re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV"))))

    @property
    def entrypoint(self) -> list[str]:
        """The program of a container."""
        program: list[str] = json.loads(self.last("ENTRYPOINT"))
        return program

    @property
    def command(self) -> list[str]:
        """What a container runs that is told nothing else."""
        return [*self.entrypoint, *json.loads(self.last("CMD"))]

    @property
    def healthcheck(self) -> list[str]:
        """The command of HEALTHCHECK."""
        command: list[str] = json.loads(self.last("HEALTHCHECK").partition("CMD ")[2])
        return command


def read_dockerfile(text: str) -> list[Stage]:
    """The stages of a Dockerfile as this project writes them: upper case, no parser directives, no heredocs."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        instruction, _, arguments = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            stages.append(Stage(base, name, ()))
        elif instruction:
            step = (instruction, arguments.strip())
            stages[-1] = Stage(stages[-1].base, stages[-1].name, (*stages[-1].steps, step))
    return stages


class Builder:
    """Builds one stage after the other in `folder / "image"`; a stage sees of others only what it copies."""

    def __init__(self, context: Path, folder: Path, stages: Sequence[Stage]) -> None:
        self._context = context
        self._folder = folder
        self._stages = stages
        self.image = folder / "image"
        self.directory = self.image
        self.variables: dict[str, str] = {}
        named = " ".join(" ".join(stage.all("WORKDIR") + stage.all("VOLUME") + stage.all("COPY")) for stage in stages)
        paths = sorted({re.escape(path) for path in named.split() if path.startswith("/")})
        self._path_of_image = re.compile(rf"(?<![\w./])(?={'|'.join(paths)})")

    def build(self) -> None:
        """Carry all stages out; the last one is left standing.

        Raises:
            CalledProcessError: a RUN step failed.
        """
        for stage in self._stages:
            self.image.mkdir()
            self.directory = self.image
            self.variables = {name: value for name, value in os.environ.items() if not name.startswith("SESSION_")}
            self._carry_out(stage)
            if stage is not self._stages[-1]:
                self.image.rename(self._folder / stage.name)

    def placed(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.image / path.lstrip("/")

    def _carry_out(self, stage: Stage) -> None:
        ways: dict[str, Callable[[str], None]] = {
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "RUN": self._run,
            "ENV": self._env,
        }
        for instruction, arguments in stage.steps:
            if instruction in ways:
                print(f"  {instruction} {arguments}", flush=True)
                ways[instruction](arguments)

    def _workdir(self, path: str) -> None:
        self.directory = self.placed(path)
        self.directory.mkdir(parents=True, exist_ok=True)

    def _copy(self, arguments: str) -> None:
        *sources, target = arguments.split()
        if sources[0].startswith("--from="):
            # The earlier stage is not needed again, and moving keeps true what a virtual environment says of its place.
            [source] = sources[1:]
            self.placed(target).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / sources[0].removeprefix("--from=") / source.lstrip("/")).rename(self.placed(target))
            return
        for path in (self._context / source for source in sources):
            if path.is_dir():
                shutil.copytree(path, self.directory / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, self.directory / target)

    def _run(self, command: str) -> None:
        subprocess.run(
            ["sh", "-c", self._with_paths_placed(command)],
            cwd=self.directory,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            check=True,
        )

    def _env(self, arguments: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", arguments):
            self.variables[name] = self._with_paths_placed(value).replace("$PATH", self.variables["PATH"])

    def _with_paths_placed(self, text: str) -> str:
        return self._path_of_image.sub(str(self.image), text)
