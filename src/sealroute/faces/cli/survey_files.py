"""The files of a bulk analysis: domains in, rows kept while it runs, rows out.

The state file begins with what was asked; each line after that is one finished domain as a JSON object, not to be done again.
A line cut short by a crash is left out, and its domain done again.  In CSV a cell that a spreadsheet would take for a formula
gets an apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared_form
from sealroute.services.survey import Row, Standing

MAX_DOMAINS = 20_000
MAX_BYTES = 16 * 1024 * 1024
_HEADS = ("domain", "recipientdomain", "recipient domain", "name")
_FIELDS = tuple(item.name for item in fields(Row))


def read_domains(source: str) -> tuple[list[str], list[str]]:
    """(domains in compared form, each once; sentences about lines that hold none).  Raises OperatorError.

    One domain or mail address per line, or CSV: the column headed `domain`, else the first.  `#` begins a comment.
    """
    text = _read(source)
    domains: dict[str, None] = {}
    problems: list[str] = []
    column = 0
    for number, cells in enumerate(csv.reader(io.StringIO(text)), 1):
        heads = [cell.strip().lower() for cell in cells]
        if number == 1 and any(head in _HEADS for head in heads):
            column = next(index for index, head in enumerate(heads) if head in _HEADS)
            continue
        word = cells[column].strip() if column < len(cells) else ""
        if not word or word.startswith("#"):
            continue
        try:
            domains[compared_form(word.rpartition("@")[2])] = None
        except InputError as error:
            problems.append(f"line {number}: {error}")
        if len(domains) > MAX_DOMAINS:
            raise OperatorError.one("--input", f"there are more than {MAX_DOMAINS} domains.", "Split the list.")
    if not domains:
        raise OperatorError.one("--input", f"{source} holds no domain.", "Write one per line, or a CSV column `domain`.")
    return list(domains), problems


def _read(source: str) -> str:
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OperatorError.one("--input", f"{source} cannot be read: {error.strerror or error}.") from None
    if len(raw) > MAX_BYTES:
        raise OperatorError.one("--input", f"{source} has more than {MAX_BYTES} octets.", "Split the list.")
    return raw.decode("utf-8-sig", "replace")


class State:
    """Rows that are done, on the disk as they come."""

    def __init__(self, path: Path | None, question: Mapping[str, str]) -> None:
        """`question` is what the rows answer (connector, modes); raises OperatorError when the file cannot be used for it."""
        self.rows: dict[str, Row] = {}
        self._file: TextIO | None = None
        if path is None:
            return
        try:
            whole = path.read_text("utf-8") if path.exists() else ""
            lines = whole.splitlines()
            if lines and _json(lines[0]) != {"question": dict(question)}:
                fix = f"It begins with {lines[0][:200]}. Give another file, or ask the same as then."
                raise OperatorError.one("--state", f"{path} holds answers to another question.", fix)
            for line in lines[1:]:
                row = _row_of(line)
                if row is not None and row.standing is not Standing.UNKNOWN:
                    self.rows[row.domain] = row
            self._file = path.open("a", encoding="utf-8")
            if not lines:
                self._file.write(json.dumps({"question": dict(question)}) + "\n")
            elif not whole.endswith("\n"):
                self._file.write("\n")  # the cut-off line stays one of its own
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError.one("--state", f"{path} cannot be used: {error}.") from None

    def add(self, row: Row) -> None:
        """Keep a row; it is in the file when this returns."""
        self.rows[row.domain] = row
        if self._file is not None:
            self._file.write(json.dumps(row_record(row), ensure_ascii=True) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def row_record(row: Row) -> dict[str, Any]:
    """A row as plain JSON values, keys as in Row."""
    return {name: _plain(getattr(row, name)) for name in _FIELDS}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Standing) else value


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _row_of(line: str) -> Row | None:
    """The row of a line of the state file; None when it is none."""
    try:
        record = json.loads(line)
        values = {name: record[name] for name in _FIELDS}
        return Row(**(values | {"standing": Standing(values["standing"])}))
    except (ValueError, KeyError, TypeError):
        return None


def write_csv(target: str, rows: Sequence[Row]) -> None:
    """The rows as CSV, to a file or `-`; raises OperatorError when it cannot be written."""
    text = "".join(_csv_lines(rows))
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, "utf-8")
    except OSError as error:
        raise OperatorError.one("--csv", f"{target} cannot be written: {error.strerror or error}.") from None


def _csv_lines(rows: Sequence[Row]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_FIELDS)
    for row in rows:
        writer.writerow([_cell(_plain(getattr(row, name))) for name in _FIELDS])
    yield out.getvalue()


def _cell(value: Any) -> str:
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    text = "".join(c if c.isprintable() else " " for c in text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
