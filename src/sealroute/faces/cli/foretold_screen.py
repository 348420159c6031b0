"""The transport rules that apply to mail for a domain, or may, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealroute.faces.cli import screen
from sealroute.faces.rule_words import foretold_words
from sealroute.policy.transport.foresee import Foretold

if TYPE_CHECKING:
    from rich.console import Console

NOTE = (
    "Of rules that depend on the message, each is shown as if no other of them were met. sealroute rule test tries a message."
)


def show_foretold(rules: Sequence[Foretold], out: Console) -> None:
    """In order, each in a few lines."""
    from rich.padding import Padding

    out.print(screen.text(("Transport rules", "bold")))
    for told in rules:
        first, *further = foretold_words(told)
        out.print(Padding(screen.text(first), (0, 0, 0, 2), expand=False))
        for words in further:
            out.print(Padding(screen.text((words, "dim")), (0, 0, 0, 4), expand=False))
    if not all(told.certain for told in rules):
        out.print(Padding(screen.text((NOTE, "dim")), (0, 0, 0, 2), expand=False))
