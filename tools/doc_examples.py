"""The commands in the documentation, run as they stand there, so that what a page shows is what the command says.

A fenced block tagged `console` holds commands after `$ ` (`> ` continues one) and what they print:

    ```console            run in a fresh folder with a store of its own; blocks of one page follow one another
    ```console world      run against the queue and trace in memory of tests/unit/cli_world
    ```toml file=NAME     written to NAME first, for the commands after it

/etc/sealroute, /var/lib/sealroute and /var/backups/sealroute are folders of the example's own.  In what is expected, `…` stands
for anything within a line and a line `...` for any lines.  `sealroute` runs inside this process; anything else goes to the
shell.  Commands that need root or the network stand in blocks tagged `sh`, not run.

`rewrite` puts what commands really print in the place of what does not match (tools/print_docs.py), except where lines are
left out with `...`: there a person has to look.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run

CONFIG = "/etc/sealroute"
STATE = "/var/lib/sealroute"
BACKUPS = "/var/backups/sealroute"
_SHELL_SECONDS = 20
_FENCE = re.compile(r"^(`{3,})(\S*)(.*)$")


@dataclass(frozen=True)
class Fence:
    """One fenced block: its tag, the words after the tag, and its lines with the page's line number of the first."""

    tag: str
    words: tuple[str, ...]
    lines: tuple[str, ...]
    first: int

    @property
    def file(self) -> str | None:
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)


@dataclass(frozen=True)
class Step:
    """One command, what the page says that it prints, and where that stands: lines `first` to before `last`."""

    command: str
    expected: tuple[str, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Outcome:
    """What a command really printed."""

    step: Step
    printed: tuple[str, ...]

    @property
    def good(self) -> bool:
        return matches(self.step.expected, self.printed)


def fences(page: str) -> Iterator[Fence]:
    """The fenced blocks of a page."""
    opened: tuple[str, str, tuple[str, ...], int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.splitlines()):
        found = _FENCE.match(line.strip()) if opened is None else None
        if found:
            opened, lines = (found[1], found[2], tuple(found[3].split()), number + 1), []
        elif opened is not None and line.strip() == opened[0]:
            yield Fence(opened[1], opened[2], tuple(lines), opened[3])
            opened = None
        elif opened is not None:
            lines.append(line)


def steps(fence: Fence) -> list[Step]:
    """The commands of a `console` block; text before the first one is an error."""
    found: list[Step] = []
    at = 0
    lines = fence.lines
    while at < len(lines):
        if not lines[at].startswith("$ "):
            raise ValueError(f"line {fence.first + at + 1}: a console block begins with `$ `, not {lines[at]!r}")
        command = lines[at][2:]
        at += 1
        while at < len(lines) and lines[at].startswith("> "):
            command += "\n" + lines[at][2:]
            at += 1
        start = at
        while at < len(lines) and not lines[at].startswith("$ "):
            at += 1
        found.append(Step(command.replace("\\\n", " "), lines[start:at], fence.first + start, fence.first + at))
    return found


def matches(expected: tuple[str, ...], printed: tuple[str, ...]) -> bool:
    """Whether the output is as the page says."""
    parts = [r"(?:.*\n)*?" if line == "..." else re.escape(line).replace("…", ".*?") + r"\n" for line in expected]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in printed)) is not None


@dataclass
class Runner:
    """The folder, store and last exit code that the commands of one page share."""

    folder: Path
    status: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    _places: ClassVar = {CONFIG: "etc", STATE: "lib", BACKUPS: "backups"}

    def __post_init__(self) -> None:
        for name in ("home", *self._places.values()):
            (self.folder / name).mkdir()
        self.write(f"{CONFIG}/sealroute.toml", 'hostname = "gateway.contoso.com"\n')
        self.environment = {
            "SEALROUTE_CONFIG": str(self.folder / "etc/sealroute.toml"),
            "SEALROUTE_STORE__URL": f"sqlite:///{self.folder}/lib/sealroute.db",
            "COLUMNS": "100",
            "SUDO_USER": "admin",
            "NO_COLOR": "1",
        }

    def write(self, name: str, text: str) -> None:
        (self.folder / "home" / self._here(name)).write_text(text)

    def _here(self, text: str) -> str:
        for name, place in self._places.items():
            text = text.replace(name, f"{self.folder}/{place}")
        return text

    def _there(self, text: str) -> str:
        for name, place in self._places.items():
            text = text.replace(f"{self.folder}/{place}", name)
        return text

    def run(self, step: Step, *, world: bool) -> Outcome:
        """Run one command line: stages joined by ` | `."""
        data = b""
        with self._surroundings():
            for stage in re.split(r"\s\|\s", self._here(step.command)):
                data = self._stage(stage.strip(), data, world=world)
        return Outcome(step, tuple(line.rstrip() for line in self._there(data.decode()).splitlines()))

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        before, where = dict(os.environ), Path.cwd()
        os.environ.update(self.environment)
        os.chdir(self.folder / "home")
        try:
            yield
        finally:
            os.chdir(where)
            os.environ.clear()
            os.environ.update(before)

    def _stage(self, command: str, data: bytes, *, world: bool) -> bytes:
        if command == "echo $?":
            return f"{self.status}\n".encode()
        if command.startswith("sealroute "):
            self.status, printed = _sealroute(shlex.split(command)[1:], data, world=world)
            return printed
        done = subprocess.run(["sh", "-c", command], input=data, capture_output=True, timeout=_SHELL_SECONDS, check=False)
        self.status = done.returncode
        return done.stdout + done.stderr


def _sealroute(argv: list[str], data: bytes, *, world: bool) -> tuple[int, bytes]:
    """(exit code, everything printed) of a command inside this process."""
    printed = io.BytesIO()
    out = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    given = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = given, out, out
    try:
        status = run(argv, _world if world else Context)
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    return status, printed.getvalue()


def _world(_asked: str | None) -> Context:
    from tests.unit.cli_world import world

    return world(hostname="gateway.contoso.com")


def outcomes(page: str) -> Iterator[Outcome]:
    """Run every command of a page, in order."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(Path(folder).resolve())
        for fence in fences(page):
            if fence.file:
                runner.write(fence.file, "\n".join(fence.lines) + "\n")
            elif fence.tag == "console":
                for step in steps(fence):
                    yield runner.run(step, world="world" in fence.words)


def rewrite(page: str) -> str:
    """The page with what commands really print wherever it said something else."""
    lines = page.splitlines()
    for outcome in reversed([outcome for outcome in outcomes(page) if not outcome.good]):
        if "..." not in outcome.step.expected:
            lines[outcome.step.first : outcome.step.last] = _as_before(outcome)
    return "\n".join(lines) + "\n"


def _as_before(outcome: Outcome) -> list[str]:
    """What was printed, with the page's own line wherever that has `…` and still fits."""
    open_lines = [line for line in outcome.step.expected if "…" in line]
    return [next((line for line in open_lines if matches((line,), (printed,))), printed) for printed in outcome.printed]
