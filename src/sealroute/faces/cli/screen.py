"""Words and layout that the commands for people share: spans, sizes, moments, and a console that a pipe can read.

Text that came from outside goes through `printable` first, so that a terminal never sees its control characters.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sealroute.base.errors import OperatorError
from sealroute.base.times import span as span
from sealroute.faces.cli.output import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")]


def console() -> Console:
    """A console on stdout; when that is a pipe, a line is never folded."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100_000, highlight=False, emoji=False, markup=False, soft_wrap=False)


def show_trimmed(draw: Callable[[Console], None]) -> None:
    """Draw on the console and leave out the blanks that fill lines up."""
    out = console()
    with out.capture() as captured:
        draw(out)
    sys.stdout.writelines(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines())


def until(moment: datetime, now: datetime) -> str:
    """When something is due, seen from now."""
    return "now" if moment <= now else f"in {span(moment - now)}"


def size(count: int, *, short: bool = False) -> str:
    """Bytes for people: `812 B`, `12.3 KiB`, `5.0 MiB`; short: `812`, `12.3K`, `5.0M`."""
    if count < 1024:
        return f"{count}" if short else f"{count} B"
    value, unit = count / 1024, "K"
    for larger in "MGT":
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}{unit}" if short else f"{value:.1f} {unit}iB"


def moment(at: datetime) -> str:
    """A moment in UTC to the second: `2026-11-22 01:39:36Z`."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def mailbox(address: str) -> str:
    """An address, the null reverse-path as `<>`."""
    return printable(address) if address else "<>"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def text(*parts: str | tuple[str, str] | Text) -> Text:
    """Pieces, each plain, with a style, or a text already, as one text; control characters spelled out."""
    from rich.text import Text

    whole = Text()
    for part in parts:
        if isinstance(part, Text):
            whole.append_text(part)
        elif isinstance(part, str):
            whole.append(printable(part))
        else:
            whole.append(printable(part[0]), part[1])
    return whole


def parse_moment(option: str, value: str, now: datetime) -> datetime:
    """A moment as options take it: RFC 3339, a date, or a span back from now such as `2d`; raises OperatorError."""
    from sealroute.base.times import parse_rfc3339
    from sealroute.settings.durations import parse_duration

    try:
        return now - parse_duration(value)
    except (ValueError, OverflowError):
        pass
    try:
        return parse_rfc3339(f"{value}T00:00:00Z" if len(value) == 10 else value.replace(" ", "T"))
    except ValueError:
        fix = "Write 2026-01-31, 2026-01-31T12:00:00Z, or a span back from now such as 2d."
        raise OperatorError.one(option, f"{value!r} is not a moment.", fix) from None
