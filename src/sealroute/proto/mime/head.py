"""The head of a message or of a part of one: its fields, unfolded and decoded, and whether all of a field could be read.

Tolerant where mail programs differ: a line may end in a bare CR or LF, blanks may stand before the colon.  Everything is
linear in the size of the head, and what a value may hold is bounded.

    encoded-word = "=?" charset "?" ("B" / "Q") "?" encoded "?="

Sources: [RFC 5322 §2.2, §4.5], [RFC 2047 §2, §6.2].
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from functools import cache

from sealroute.proto.mime.charsets import text_of

MAX_VALUE_OCTETS = 65_536
MAX_FIELDS = 50
"""Of one name."""

_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\r\r(?!\n)")
_FOLD = re.compile(rb"(?:\r\n|\r|\n)[ \t]*")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?\r\n]{0,2000})\?=")
_BETWEEN = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Value:
    """One field's value."""

    text: str
    """Unfolded as the standard says, encoded words decoded."""
    joined: str
    """The same without the blanks that began folded lines: software that folds long values anywhere splits words there."""
    whole: bool = True
    """False: something of it could not be read."""


def end_of_head(content: bytes, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """(where the head ends, where the body begins), within the bounds; both `end` when there is no body."""
    stop = len(content) if end is None else end
    if first := _LINE_END.match(content, start, stop):
        return start, first.end()  # no field at all
    found = _BLANK_LINE.search(content, start, stop)
    return (stop, stop) if found is None else (found.start(), found.end())


def values(head: bytes, name: str) -> tuple[Value, ...]:
    """The values of all fields of that name, in order."""
    found: list[Value] = []
    for match in _field(name.lower()).finditer(head):
        if len(found) == MAX_FIELDS:
            found.append(Value("", "", whole=False))
            break
        found.append(_value(_folded(head, match.end())))
    return tuple(found)


@cache
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|[\r\n])" + re.escape(name.encode("utf-8", "replace")) + rb"[ \t]*:", re.IGNORECASE)


def _folded(head: bytes, start: int) -> bytes:
    """The value from there to the line end that no blank follows; one octet more than the bound when it is longer."""
    at, stop = start, min(len(head), start + MAX_VALUE_OCTETS + 1)
    while (line := _LINE_END.search(head, at, stop)) is not None:
        if head[line.end() : line.end() + 1] not in (b" ", b"\t"):
            return head[start : line.start()]
        at = line.end()
    return head[start:stop]


def _value(raw: bytes) -> Value:
    whole = len(raw) <= MAX_VALUE_OCTETS
    raw = raw[:MAX_VALUE_OCTETS]
    text, well = _decoded(_LINE_END.sub(b"", raw))
    joined = text
    if _LINE_END.search(raw):
        joined, joined_well = _decoded(_FOLD.sub(b"", raw))
        well = well and joined_well
    return Value(text.strip(), joined.strip(), whole and well)


def _decoded(raw: bytes) -> tuple[str, bool]:
    try:
        text, whole = raw.decode(), True
    except UnicodeDecodeError:
        text, whole = raw.decode("latin-1"), False
    if "=?" not in text:
        return text, whole
    decoded, well = decode_words(text)
    return decoded, whole and well


def decode_words(text: str) -> tuple[str, bool]:
    """The text with its encoded words decoded; False when something that looks like one could not be."""
    out: list[str] = []
    at, whole = 0, True
    run: tuple[str, bytes] | None = None
    """Octets of neighbouring words in one charset: a character may be split between two."""
    for match in _WORD.finditer(text):
        between = text[at : match.start()]
        octets = _word(match[2], match[3])
        if octets is None:
            continue
        charset = match[1].partition("*")[0].lower()
        if run is not None and run[0] == charset and _BETWEEN.fullmatch(between):
            run = (charset, run[1] + octets)
        else:
            if run is not None:
                whole = _flush(out, run) and whole
                between = "" if _BETWEEN.fullmatch(between) else between
            out.append(between)
            run = (charset, octets)
        at = match.end()
    if run is not None:
        whole = _flush(out, run) and whole
    out.append(text[at:])
    return "".join(out), whole and "=?" not in "".join(out[::2])


def _flush(out: list[str], run: tuple[str, bytes]) -> bool:
    text, whole = text_of(run[1], run[0])
    out.append(text)
    return whole


def _word(encoding: str, encoded: str) -> bytes | None:
    try:
        octets = encoded.encode("ascii")
        if encoding in "bB":
            return binascii.a2b_base64(octets + b"=" * (-len(octets) % 4), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        return None
    return binascii.a2b_qp(octets, header=True)
