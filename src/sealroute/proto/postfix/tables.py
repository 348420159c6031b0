"""The text that `postmap` reads: a key and a value per logical line [postmap(1), transport(5)].

    logical-line = key 1*WSP value         ; a line that begins with WSP continues the one before; "#" begins a comment line

Tables of patterns (regexp:, pcre:, cidr:) look alike but mean something else; a key that begins with "/" is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealroute.base.errors import InputError

MAX_OCTETS = 16 * 1024 * 1024
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One logical line."""

    line: int
    key: str
    value: str


def read_entries(raw: bytes) -> tuple[Entry, ...]:
    """The table's lines; raises InputError naming the line."""
    if len(raw) > MAX_OCTETS:
        raise InputError(f"the file has more than {MAX_OCTETS} octets")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"octet {error.start + 1} of the file is not UTF-8") from None
    logical: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.rstrip()
        if not bare or bare.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            logical.append((number, bare))
        elif logical:
            start, before = logical[-1]
            logical[-1] = (start, f"{before} {bare.strip()}")
        else:
            raise InputError(f"line {number}: it continues a line, and there is none before it")
    if len(logical) > MAX_ENTRIES:
        raise InputError(f"the table has more than {MAX_ENTRIES} entries")
    return _entries(logical)


def _entries(logical: list[tuple[int, str]]) -> tuple[Entry, ...]:
    seen: dict[str, int] = {}
    entries = []
    for number, line in logical:
        key, _, value = line.partition(" ") if "\t" not in line else re.sub(r"\s", " ", line).partition(" ")
        key = key.lower()
        if key.startswith("/"):
            raise InputError(f"line {number}: {key[:60]!r} is a pattern; tables of patterns cannot be read")
        if not value.strip():
            raise InputError(f"line {number}: {key[:60]!r} has no value")
        if key in seen:
            raise InputError(f"line {number}: {key[:60]!r} is on line {seen[key]} already")
        seen[key] = number
        entries.append(Entry(number, key, value.strip()))
    if not entries:
        raise InputError("the table has no entries")
    return tuple(entries)
