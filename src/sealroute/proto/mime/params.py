"""A Content-Type or Content-Disposition value: its word, its parameters, and whether all of it could be read.

    value     = token *( ";" parameter )
    parameter = name ["*" section] ["*"] "=" ( token / quoted-string )

Two parameters of one name, or anything that this grammar does not know, make the whole uncertain: mail programs differ there.
[RFC 2045 §5.1], [RFC 2183 §2], [RFC 2231 §3-4]; encoded words in parameters are against the rules, and everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from sealroute.proto.mime.charsets import text_of
from sealroute.proto.mime.head import Value, decode_words

MAX_VALUE_CHARACTERS = 8192
_PARAMETER = re.compile(
    r';[ \t]*([^\s=;"*()]{1,100})(?:\*(\d{1,3}))?(\*)?[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))[ \t]*', re.DOTALL
)
_COMMENT = re.compile(r"[ \t]*\([^()]{0,200}\)[ \t]*\Z")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What one value says."""

    word: str = ""
    """`text/plain` or `attachment`, in lower case."""
    values: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""
    sure: bool = True


def parse(value: Value) -> Parameters:
    """Read a value."""
    # The fold's own blanks stay: a quoted file name may have been folded at one of its blanks.
    text, sure = value.text, value.whole and len(value.text) <= MAX_VALUE_CHARACTERS
    text = text[:MAX_VALUE_CHARACTERS]
    word, semicolon, rest = text.partition(";")
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    rest, at = semicolon + rest, 0
    while match := _PARAMETER.match(rest, at):
        name, section, extended, quoted, token = match.groups()
        said = _ESCAPED.sub(r"\1", quoted) if quoted is not None else (token or "").strip()
        if quoted is None and re.search(r"[\s()]", said):
            sure = False  # a name that should have been quoted, or a comment: programs differ
        pieces.setdefault(name.lower(), []).append((-1 if section is None else int(section), extended is not None, said))
        at = match.end()
    left = rest[at:].strip(" \t;")
    if left and not _COMMENT.fullmatch(left):
        sure = False
    values: dict[str, str] = {}
    for name, parts in pieces.items():
        values[name], well = _joined(parts)
        sure = sure and well
    return Parameters(_COMMENT.sub("", word).strip().lower(), values, sure)


def _joined(parts: list[tuple[int, bool, str]]) -> tuple[str, bool]:
    """One parameter's text; a plain form beside the extended one says the same in ASCII, and the extended one counts."""
    extended = [part for part in parts if part[0] >= 0 or part[1]]
    plain = [part for part in parts if part not in extended]
    if not extended:
        text, well = decode_words(plain[0][2]) if "=?" in plain[0][2] else (plain[0][2], True)
        return text, well and len(plain) == 1
    extended.sort(key=lambda part: part[0])
    numbers = [number for number, _, _ in extended]
    well = numbers in ([-1], list(range(len(numbers)))) and len(plain) <= 1
    charset, octets = "", b""
    for position, (_, encoded, said) in enumerate(extended):
        if encoded and position == 0 and said.count("'") >= 2:
            charset, _, said = said.split("'", 2)
        octets += unquote_to_bytes(said) if encoded else said.encode("utf-8", "replace")
    text, known = text_of(octets, charset)
    return text, well and known
