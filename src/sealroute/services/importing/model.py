"""What an import comes to before anything is saved: connectors-to-be, and what there is to say about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sealroute.policy.connector import Connector


class Kept(Enum):
    """What became of something in the file."""

    EXACT = "kept"
    """Kept, in a form that reads differently."""
    INERT = "kept without effect"
    """Kept; Sealroute does not act on it."""
    LOST = "cannot be expressed"
    """Left out; the note says what to do."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing an administrator should know."""

    kept: Kept
    where: str
    """Place in the file, then connector or parameter."""
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.fix}".rstrip()


@dataclass(frozen=True, slots=True)
class Draft:
    """One connector-to-be."""

    connector: Connector
    where: str


@dataclass(frozen=True, slots=True)
class Imported:
    """All of one import."""

    drafts: tuple[Draft, ...]
    notes: tuple[Note, ...] = ()
