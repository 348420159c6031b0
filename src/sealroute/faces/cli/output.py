"""How every command shows records: a list like PowerShell's Format-List, a table, or JSON.

A record is a mapping of plain JSON values.  JSON keeps their types; list and table spell them as Exchange does (`True`,
`{a, b}`, nothing for null); a table cuts long lists short, as PowerShell does.  Text that came from outside may hold control
characters: a terminal never sees them raw.  Answers go to stdout, what went wrong to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, TextIO, assert_never

import typer

from sealroute.base.errors import OperatorError

TABLE_ITEMS = 4
"""Items of a list that a table shows, when there are more than one more."""


class Format(Enum):
    """The value of `--output`."""

    LIST = "list"
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Format | None, typer.Option("--output", "-o", help="How to show the answer.", case_sensitive=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --output json.")]


def choose_format(output: Format | None, as_json: bool, default: Format) -> Format:
    """What `--output` and `--json` together ask for; raises OperatorError when they contradict each other."""
    if as_json and output not in (None, Format.JSON):
        raise OperatorError.one("--json", "it contradicts --output.", "Give one of the two.")
    return Format.JSON if as_json else output or default


def emit(
    records: Sequence[Mapping[str, Any]],
    fmt: Format,
    *,
    columns: Sequence[str] = (),
    single: bool = False,
    file: TextIO | None = None,
) -> None:
    """Show the records.

    `columns` are the keys a table shows (all when empty); list and JSON always show everything.  `single`: JSON is the one
    record itself, not an array of it.
    """
    out = file or sys.stdout
    match fmt:
        case Format.JSON:
            emit_json(records[0] if single else list(records), file=out)
        case Format.LIST:
            out.write("\n".join(_list_lines(records)))
        case Format.TABLE:
            _write_table(records, columns or _keys(records), out)
        case _:
            assert_never(fmt)


def emit_json(value: Any, *, file: TextIO | None = None) -> None:
    """The value as indented JSON."""
    out = file or sys.stdout
    out.write(json.dumps(value, indent=2, ensure_ascii=not _writes_unicode(out)) + "\n")


def report(error: OperatorError, command: str = "", *, file: TextIO | None = None) -> None:
    """Every problem of the error on a line of its own, on stderr."""
    out = file or sys.stderr
    for problem in error.problems:
        out.write(printable(f"{command}: {problem}" if command else str(problem)) + "\n")


def warn(sentences: Iterable[object], *, file: TextIO | None = None) -> None:
    """Warnings, on stderr, as PowerShell marks them."""
    out = file or sys.stderr
    for sentence in sentences:
        out.write(printable(f"WARNING: {sentence}") + "\n")


def text_of(value: Any) -> str:
    """A plain JSON value as list and table spell it."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(map(text_of, value)) + "}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {text_of(item)}" for key, item in value.items()) + "}"
    return printable(str(value))


def _cut(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) > TABLE_ITEMS + 1:
        return [*value[:TABLE_ITEMS], f"... {len(value) - TABLE_ITEMS} more"]
    return value


def printable(text: str) -> str:
    """The text with control characters other than line ends spelled as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _keys(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in record))


def _list_lines(records: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """`Name : value` lines, the colons below each other, an empty line after each record."""
    for record in records:
        width = max(map(len, record), default=0)
        for key, value in record.items():
            indented = text_of(value).replace("\n", "\n" + " " * (width + 3))
            yield f"{key:<{width}} : {indented}".rstrip()
        yield ""
    if records:
        yield ""


def _write_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not records:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(*(Text(text_of(_cut(record.get(column)))) for column in columns))
    # A pipe gets every row on one line, and no padding at its end; only a terminal folds.
    console = Console(file=out, width=None if out.isatty() else 100_000, highlight=False, emoji=False)
    if out.isatty():
        if _least_width(records, columns) > console.width:
            # Columns narrower than their words would be read by nobody.
            out.write("\n".join(_list_lines([{column: record.get(column) for column in columns} for record in records])))
        else:
            console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    out.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


def _least_width(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """The columns a terminal needs so that no word of the table is broken."""
    words = ((column, *" ".join(text_of(_cut(record.get(column))) for record in records).split()) for column in columns)
    return sum(max(map(len, column_words)) + 2 for column_words in words) - 2


def _writes_unicode(out: TextIO) -> bool:
    return (getattr(out, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
