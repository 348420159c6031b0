"""In which line of a TOML text a key stands: tomllib tells lines for syntax errors only.

A plain search, good enough to point an operator at the place: it follows `[table]` and `[[table]]` headers and dotted
keys; for a key inside an inline table or a list it gives the line where that begins.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\- \"']+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")
Location = tuple[int | str, ...]


def find_line(text: str, location: Location) -> int | None:
    """The 1-based line of the key, else of the innermost part of it that is found, else None."""
    best, best_depth = None, 0
    table: Location = ()
    counts: dict[Location, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            table = _enter(_parts(header[2]), counts, is_list=header[1] == "[[")
            found = table
        elif key := _KEY.match(line):
            found = (*table, *_parts(key[1]))
        else:
            continue
        depth = len(found)
        if depth > best_depth and location[:depth] == found:
            best, best_depth = number, depth
    return best


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _enter(names: tuple[str, ...], counts: dict[Location, int], *, is_list: bool) -> Location:
    """The location of a table header; `[[x]]` counts up, and tables below it belong to the entry counted last."""
    location: Location = ()
    for position, name in enumerate(names):
        location = (*location, name)
        if is_list and position == len(names) - 1:
            counts[location] = counts.get(location, -1) + 1
        if location in counts:
            location = (*location, counts[location])
    return location
