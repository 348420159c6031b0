"""Filters in which `*` stands for any characters, as SQL conditions."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func

_ESCAPE = "!"


def like(pattern: str) -> str:
    """The pattern for LIKE: `*` is any characters, everything else itself."""
    for special in (_ESCAPE, "%", "_"):
        pattern = pattern.replace(special, _ESCAPE + special)
    return pattern.replace("*", "%")


def matches(column: ColumnElement[str], pattern: str, *, any_case: bool = False) -> ColumnElement[bool]:
    """The column is what the pattern says; without `*` an index can answer."""
    left: ColumnElement[str] = func.lower(column) if any_case else column
    right = pattern.lower() if any_case else pattern
    return left.like(like(right), escape=_ESCAPE) if "*" in pattern else left == right
