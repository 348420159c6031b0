"""What a message holds: the text a reader sees, and the names of what is attached.

Every bound is here: octets scanned, parts, depth, decoded text.  Whatever could not be looked at, because it is broken,
ambiguous, closed (S/MIME, PGP, TNEF) or beyond a bound, is named in `lost`; the parts that could be are there all the same.
Linear in the size of the message, and quick where it matters: attachments are skipped over, never decoded.

Text inside attached messages is no text of this one; their attachments are.
Sources: [RFC 2046 §5.1], [RFC 2045 §6], [RFC 2183], [RFC 8551 §3.2] S/MIME types, [RFC 3156] PGP.
"""

from __future__ import annotations

import binascii
import contextlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sealroute.base.unseen import Unseen
from sealroute.proto.mime import params
from sealroute.proto.mime.charsets import text_of
from sealroute.proto.mime.head import Value, end_of_head, values
from sealroute.proto.mime.params import Parameters

MAX_TEXT_OCTETS = 512 * 1024
"""Of decoded text, all parts together."""
MAX_SCANNED_OCTETS = 256 * 1024 * 1024
"""Looked through for boundaries, each level counted."""
MAX_PARTS = 1000
MAX_DEPTH = 12
MAX_DELIMITERS = 20_000
MAX_PART_HEAD_OCTETS = 65_536

_CLOSED_TYPES = {
    "application/pkcs7-mime", "application/x-pkcs7-mime", "application/ms-tnef", "application/vnd.ms-tnef",
    "application/pgp-encrypted", "application/x-microsoft-rpmsg-message", "multipart/encrypted", "message/partial",
    "message/external-body",
}  # fmt: skip
_CLOSED_NAMES = re.compile(r"(?i)(?:winmail\.dat|.*\.p7m|.*\.rpmsg|encrypted\.asc)\Z")
_IDENTITY = ("", "7bit", "8bit", "binary")
_TAG = re.compile(r"<[A-Za-z/!?][^<>]{0,2000}>")
"""`<` before anything else is a character like any other, and what follows it is shown."""
_UNSEEN_CHARACTERS = ("\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff")
_UUENCODED = re.compile(rb"(?m)^begin(?:-base64)? [0-7]{3,4} \S")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attached part."""

    name: str
    """As the sender calls it; empty: it has no name."""
    type: str


@dataclass(slots=True)
class Content:
    """What was found, and what could not be looked at."""

    text: str = ""
    """Of all parts that are shown, blanks and line ends as single blanks."""
    text_lost: set[Unseen] = field(default_factory=set)
    attachments: list[Attachment] = field(default_factory=list)
    attachments_lost: set[Unseen] = field(default_factory=set)


def read(content: bytes) -> Content:
    """Look through a message."""
    reader = _Reader(content)
    reader.read()
    return reader.found


@dataclass(frozen=True, slots=True)
class _Entity:
    start: int
    end: int
    depth: int
    shown: bool
    """Its text is this message's own, not that of an attached one."""
    default: str = "text/plain"


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.found = Content()
        self._texts: list[str] = []
        self._room = MAX_TEXT_OCTETS
        self._scan = MAX_SCANNED_OCTETS
        self._delimiters = MAX_DELIMITERS
        self._parts = 0

    def read(self) -> None:
        waiting = [_Entity(0, len(self._content), 0, shown=True)]
        while waiting:
            self._parts += 1
            if self._parts > MAX_PARTS:
                self._lose(Unseen.BOUND)
                break
            waiting += reversed(list(self._entity(waiting.pop())))
        self.found.text = _tidy(" ".join(self._texts))

    def _lose(self, why: Unseen) -> None:
        self.found.text_lost.add(why)
        self.found.attachments_lost.add(why)

    # ------------------------------------------------------------------------------------------------- one entity

    def _entity(self, entity: _Entity) -> Iterator[_Entity]:
        """Note what it holds; the entities inside it."""
        head_end, body = end_of_head(self._content, entity.start, entity.end)
        if entity.depth and head_end - entity.start > MAX_PART_HEAD_OCTETS:
            self._lose(Unseen.BOUND)
            return
        head = self._content[entity.start : head_end]
        types, encodings = values(head, "content-type"), values(head, "content-transfer-encoding")
        dispositions = values(head, "content-disposition")
        if max(map(len, (types, encodings, dispositions))) > 1:
            self._lose(Unseen.STRUCTURE)  # which of them counts differs from program to program
        kind, disposition = _parsed(types), _parsed(dispositions)
        name = self._name(kind, disposition)
        word = kind.word or entity.default
        if types and not re.fullmatch(r"[^\s/]+/[^\s/]+", word):
            self._lose(Unseen.STRUCTURE)
        encoding = encodings[0].text.partition("(")[0].strip().lower() if encodings else ""
        inside = _Entity(body, entity.end, entity.depth + 1, entity.shown)
        if word in _CLOSED_TYPES or _CLOSED_NAMES.match(name):
            self._lose(Unseen.CLOSED)
            self.found.attachments.append(Attachment(name, word))
        elif word.startswith("multipart/") or word in ("message/rfc822", "message/global"):
            yield from self._inside(inside, word, kind, name, encoding)
        elif word.startswith("text/") and disposition.word != "attachment":
            if name:
                self.found.attachments.append(Attachment(name, word))
            self._shown(inside, word, kind, encoding)
        else:
            self.found.attachments.append(Attachment(name, word))

    def _name(self, kind: Parameters, disposition: Parameters) -> str:
        """The file name; the other one, if they differ, counts as a second attachment."""
        if not (kind.sure and disposition.sure):
            self.found.attachments_lost.add(Unseen.ENCODING)
        names = [name for name in (disposition.values.get("filename", ""), kind.values.get("name", "")) if name]
        for other in names[1:]:
            if other != names[0]:
                self.found.attachments.append(Attachment(other, kind.word))
        return names[0] if names else ""

    def _inside(self, inside: _Entity, word: str, kind: Parameters, name: str, encoding: str) -> Iterator[_Entity]:
        if inside.depth > MAX_DEPTH:
            self._lose(Unseen.BOUND)
        elif encoding not in _IDENTITY:
            self._lose(Unseen.STRUCTURE)  # forbidden there [RFC 2045 §6.4], and decoded by some
        elif word.startswith("message/"):
            self.found.attachments.append(Attachment(name or "message.eml", word))
            yield _Entity(inside.start, inside.end, inside.depth, shown=False)
        else:
            yield from self._multipart(inside, kind, "message/rfc822" if word == "multipart/digest" else "text/plain")

    # ------------------------------------------------------------------------------------------------- multiparts

    def _multipart(self, inside: _Entity, kind: Parameters, default: str) -> Iterator[_Entity]:
        boundary = kind.values.get("boundary", "").encode("utf-8", "replace")
        if not kind.sure or not 1 <= len(boundary) <= 200:
            self._lose(Unseen.STRUCTURE)
            if not boundary:
                return
        begun, closed = -1, False
        for start, end, last in self._lines_of(b"--" + boundary, inside):
            if begun >= 0:
                yield _Entity(begun, max(begun, start), inside.depth, inside.shown, default)
            begun, closed = end, last
            if last:
                break
        if not closed:
            self._lose(Unseen.STRUCTURE)
            if begun >= 0:
                yield _Entity(begun, inside.end, inside.depth, inside.shown, default)

    def _lines_of(self, delimiter: bytes, inside: _Entity) -> Iterator[tuple[int, int, bool]]:
        """(end of what is before it, begin of what is after it, whether it is the last) of each delimiter line."""
        self._scan -= inside.end - inside.start
        if self._scan < 0:
            self._lose(Unseen.BOUND)
            return
        content, at = self._content, inside.start
        while (found := content.find(delimiter, at, inside.end)) >= 0:
            self._delimiters -= 1
            if self._delimiters < 0:
                self._lose(Unseen.BOUND)
                return
            at = found + len(delimiter)
            if found > inside.start and content[found - 1] not in b"\r\n":
                # The next line is the first place where it may stand: text full of the delimiter must not cost a step each.
                newline = content.find(b"\n", at, inside.end)
                at = newline if newline >= 0 else inside.end
                continue
            last = content[at : at + 2] == b"--"
            rest = at + 2 if last else at
            line = _REST.match(content, rest, inside.end)
            if line is None:
                continue  # a longer boundary that begins alike
            yield _before(content, found, inside.start), line.end(), last
            at = line.end()

    # ------------------------------------------------------------------------------------------------------- text

    def _shown(self, inside: _Entity, word: str, kind: Parameters, encoding: str) -> None:
        if not inside.shown:
            return
        raw = self._content[inside.start : min(inside.end, inside.start + self._room * 3 + 4)]
        octets, well = _decoded(raw, encoding)
        if len(octets) > self._room or inside.start + len(raw) < inside.end:
            self.found.text_lost.add(Unseen.BOUND)
            octets = octets[: self._room]
            well = True  # what was cut may well end in the middle
        self._room -= len(octets)
        if _UUENCODED.search(octets):
            self.found.attachments_lost.add(Unseen.STRUCTURE)
        if b"-----BEGIN PGP MESSAGE" in octets:
            self._lose(Unseen.CLOSED)
        text, known = text_of(octets, kind.values.get("charset", ""))
        if not known and Unseen.BOUND in self.found.text_lost:
            text, known = text_of(octets[:-4], kind.values.get("charset", ""))
        if not (well and known and kind.sure):
            self.found.text_lost.add(Unseen.ENCODING)
        self._texts += _html_texts(text) if word == "text/html" else [text]


_REST = re.compile(rb"[ \t]*(?:\r\n|\r|\n|\Z)")


def _before(content: bytes, delimiter: int, start: int) -> int:
    """Where the part before a delimiter line ends: its last line end belongs to the delimiter [RFC 2046 §5.1.1]."""
    end = delimiter
    if end > start and content[end - 1] == 0x0A:
        end -= 1
    if end > start and content[end - 1] == 0x0D:
        end -= 1
    return end


def _parsed(found: tuple[Value, ...]) -> Parameters:
    return params.parse(found[0]) if found else Parameters()


def _decoded(raw: bytes, encoding: str) -> tuple[bytes, bool]:
    if encoding in _IDENTITY:
        return raw, True
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw), True
    if encoding == "base64":
        bare = raw.translate(None, b"\r\n\t ")
        whole = bare[: len(bare) - len(bare) % 4]  # what was cut at the bound may end in the middle
        try:
            return binascii.a2b_base64(whole, strict_mode=True), whole == bare
        except ValueError:
            pass
        with contextlib.suppress(ValueError):
            return binascii.a2b_base64(whole), False
    return raw, False


def _html_texts(source: str) -> list[str]:
    """As a reader sees it, twice: a tag may stand within a word, or between two."""
    return [html.unescape(_TAG.sub(between, source)) for between in ("", " ")]


def _tidy(text: str) -> str:
    for character in _UNSEEN_CHARACTERS:
        text = text.replace(character, "")
    return " ".join(text.split())
