"""SMTP replies off the wire: an incremental parser, strict about framing and bounded in everything a peer controls.

    Reply       = *( Code "-" [ Text ] CRLF ) Code [ SP [ Text ] ] CRLF
    Code        = %x32-35 2DIGIT        ; RFC 5321 allows 0-5 in the middle; 550-like codes such as 571 occur in the wild
    Text        = [ Enhanced ( SP / end ) ] *octet

Rules: all lines of a reply carry one code [RFC 5321 §4.2.1]; an enhanced code counts only where its class is that of the
reply code [RFC 2034 §4], otherwise it stays text; the first one that counts is the reply's.

Tolerated, and nothing else: a line that ends in a bare LF; a code without a space or text after it; 8-bit text (UTF-8,
else Latin-1); a middle digit of 6-9.  Control characters in text become U+FFFD, so that no reply can write to an
administrator's terminal or break a header of an NDR.

Elsewhere: what a reply means to the dialogue is in client.py.
"""

from __future__ import annotations

from functools import lru_cache

from sealroute.base.errors import PeerError
from sealroute.base.status import Enhanced, Reply

MAX_LINE_OCTETS = 4096
"""RFC 5321 §4.5.3.1.5 allows 512; longer lines are seen with long texts and addresses in them."""
MAX_LINES = 128
MAX_REPLY_OCTETS = 65536

_REPLACED = dict.fromkeys((*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0xA0)), "\ufffd")


class ReplyParser:
    """Cuts replies out of what the peer sends.  After a PeerError the connection must not be used again."""

    __slots__ = ("_buffer", "_code", "_count", "_enhanced", "_lines", "_octets", "_pos")

    def __init__(self) -> None:
        self._buffer = b""
        self._pos = 0
        self._begin()

    def __repr__(self) -> str:
        return f"<ReplyParser {len(self._lines)} lines of {self._code!r}, {len(self._buffer) - self._pos} octets>"

    def _begin(self) -> None:
        self._lines: list[str] = []
        self._code = b""
        self._enhanced: Enhanced | None = None
        self._octets = 0

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer = data if self._pos == len(self._buffer) else self._buffer[self._pos :] + data
        self._pos = 0

    @property
    def pending(self) -> bool:
        """True when octets have come in that no returned reply accounts for."""
        return self._pos < len(self._buffer) or bool(self._lines)

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None until more is fed; PeerError says which line breaks the grammar, and how."""
        while True:
            start = self._pos
            end = self._buffer.find(b"\n", start)
            if (len(self._buffer) if end < 0 else end) - start > MAX_LINE_OCTETS:
                raise self._broken(f"is longer than {MAX_LINE_OCTETS} octets")
            if end < 0:
                return None
            line = self._buffer[start : end - 1 if self._buffer[end - 1 : end] == b"\r" and end > start else end]
            self._pos = end + 1
            if self._take(line, end + 1 - start):
                reply = Reply(int(self._code), tuple(self._lines), self._enhanced)
                self._begin()
                return reply

    def _take(self, line: bytes, octets: int) -> bool:
        """Take one line in; True when it is a reply's last."""
        code, separator = line[:3], line[3:4]
        if not (len(code) == 3 and code.isdigit() and code[0] in b"2345"):
            raise self._broken(f"does not begin with a reply code of 200 to 599: {_shown(line)}")
        if separator not in (b" ", b"-", b""):
            raise self._broken(f"has neither a space nor '-' after the code: {_shown(line)}")
        if self._code and code != self._code:
            raise self._broken(f"has the code {code.decode()} in a reply that began with {self._code.decode()}")
        self._octets += octets
        if self._octets > MAX_REPLY_OCTETS:
            raise self._broken(f"makes the reply longer than {MAX_REPLY_OCTETS} octets")
        if len(self._lines) == MAX_LINES:
            raise self._broken(f"is one more than the {MAX_LINES} lines a reply may have")
        self._code = code
        enhanced, text = _split(line)
        self._enhanced = self._enhanced or enhanced
        self._lines.append(text)
        return separator != b"-"

    def _broken(self, how: str) -> PeerError:
        return PeerError(f"line {len(self._lines) + 1} of the reply {how}")


@lru_cache(maxsize=256)  # a server says the same few lines all day
def _split(line: bytes) -> tuple[Enhanced | None, str]:
    """The enhanced code, if the line has one that agrees with its reply code, and the text without either."""
    if line[5:6] == b"." and line[4:5] == line[:1]:
        word, _, rest = line[4:].partition(b" ")
        enhanced = Enhanced.parse(word.decode("latin-1"))
        if enhanced is not None:
            return enhanced, _decode(rest)
    return None, _decode(line[4:])


def _decode(text: bytes) -> str:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    return decoded if decoded.isprintable() else decoded.translate(_REPLACED)


def _shown(line: bytes) -> str:
    """The beginning of an offending line, fit for a trace."""
    return ascii(line[:60].decode("latin-1")) + ("..." if len(line) > 60 else "")


def parse_reply(data: bytes) -> Reply:
    """The one whole reply that the data is; PeerError when it breaks the grammar, ends early or has something after it."""
    parser = ReplyParser()
    parser.feed(data)
    reply = parser.next_reply()
    if reply is None:
        raise PeerError(
            "the reply is not complete: its last line is missing, or has no line end" if data else "there is no reply"
        )
    if parser.pending:
        raise PeerError("there are octets after the end of the reply")
    return reply
