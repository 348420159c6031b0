"""What a notification tells a person, in the five blocks of [Exchange Online].

What happened · who has to fix it · how to fix it · details for mail administrators · the message's hops.  The wording of
each reason is the catalogue's own (policy/reasons), so NDR, trace and analyzer say the same; this file only lays it out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sealroute.proto.dsn.fields import one_line

MAX_HOPS_SHOWN = 25
WIDTH = 72


@dataclass(frozen=True, slots=True)
class Story:
    """One recipient's part of a notification, in words."""

    address: str
    what: str
    """What happened, a whole sentence."""
    who: str
    """Who has to fix it; empty when nobody has to."""
    how: str
    """How to fix it; empty when there is nothing to do."""
    details: tuple[tuple[str, str], ...]
    """(label, value) for mail administrators."""


def text(opening: str, subject: str, stories: Sequence[Story], hops: Sequence[str]) -> str:
    """The whole human part; recipients with the same story share it."""
    lines = [_wrapped(opening), ""]
    if subject:
        lines += [_wrapped(f"Subject of your message: {one_line(subject)}"), ""]
    told: dict[Story, list[str]] = {}
    for story in stories:
        told.setdefault(replace(story, address=""), []).append(story.address)
    for story, addresses in told.items():
        lines += [f"To: {one_line(address)}" for address in addresses]
        lines += ["", "What happened", _paragraph(story.what), ""]
        if story.who:
            lines += ["Who has to fix it", _paragraph(story.who), ""]
        if story.how:
            lines += ["How to fix it", _paragraph(story.how), ""]
        lines += ["Details for mail administrators"]
        lines += [_indented(f"{label}: {value}") for label, value in story.details if value]
        lines.append("")
    if hops:
        lines.append("Message hops, the newest first")
        lines += [_indented(f"{number}. {hop}") for number, hop in enumerate(hops[:MAX_HOPS_SHOWN], 1)]
        lines.append("")
    return "\n".join(lines)


def hops(content: bytes) -> list[str]:
    """The Received headers of a message, unfolded, newest first, bounded."""
    end = content.find(b"\r\n\r\n")
    head = content[: end if end >= 0 else 65_536][:65_536].decode("utf-8", "replace")
    fields: list[str] = []
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t") and fields:
            fields[-1] += " " + line.strip()
        else:
            fields.append(line)
    return [field[9:].strip() for field in fields if field[:9].lower() == "received:"][:MAX_HOPS_SHOWN]


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        one_line(text), WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _paragraph(text: str) -> str:
    return _wrapped(text, "  ", "  ")


def _indented(text: str) -> str:
    return _wrapped(text, "  ", "    ")
