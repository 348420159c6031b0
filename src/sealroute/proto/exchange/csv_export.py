"""`Get-OutboundConnector | Export-Csv`: every value is text, and lists are whatever PowerShell made of them.

The first line may be `#TYPE ...`.  The separator is a comma, a semicolon or a tab, as the header has it (`-UseCulture`).
"""

from __future__ import annotations

import csv
import io

from sealroute.base.errors import InputError
from sealroute.proto.exchange.export import Exported, bounded, text_of


def read_csv(raw: bytes) -> tuple[Exported, ...]:
    """A record for each row; raises InputError."""
    text = text_of(raw)
    head, _, rest = text.partition("\n")
    if head.startswith("#TYPE"):
        text = rest
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"the CSV cannot be read: {error}") from None
    if not rows:
        raise InputError("the file is empty")
    names = [name.strip() for name in rows[0]]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"the column {repeated[0]!r} is there twice")
    if "name" not in (name.lower() for name in names):
        raise InputError("the first line names no column Name")
    records = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise InputError(f"row {number} has {len(row)} values, the first line names {len(names)} columns")
        records.append(Exported(f"row {number}", dict(zip(names, row, strict=True)), flattened=True))
    return bounded(records)
