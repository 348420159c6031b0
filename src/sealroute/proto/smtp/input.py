"""Bytes from an SMTP client, cut into command lines, dotted content and counted chunks.

Rules that hold here:
- A command line ends in CRLF; a bare LF or CR makes it `BadLine.BARE`.
- Content after DATA ends at CRLF.CRLF and at nothing else [RFC 5321 §4.1.1.4]; `LF.LF` and its like are content, which
  data.py's `has_lone_cr_or_lf` then betrays.  A receiver and a sender that disagree on this are what SMTP smuggling lives on.
- No work per line inside content: one search for its end, one for stuffed dots, one look at its line ends.
- Every byte is looked at once: a search resumes where the last one stopped.

How much may be held, and what to answer, is server.py's.
"""

from __future__ import annotations

from enum import Enum

END_OF_DATA = b"\r\n.\r\n"


class BadLine(Enum):
    """A command line that cannot be read; the caller must close, as nothing after it can be trusted."""

    TOO_LONG = "command line too long"
    BARE = "bare CR or LF in a command line"


class InputBuffer:
    """What was received and not yet consumed."""

    __slots__ = ("_bytes", "_pos", "_scanned")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._pos = 0
        self._scanned = 0

    def __repr__(self) -> str:
        return f"<InputBuffer {len(self)} bytes unread>"

    def __len__(self) -> int:
        return len(self._bytes) - self._pos

    def add(self, data: bytes) -> None:
        self._bytes += data

    def clear(self) -> None:
        self._bytes.clear()
        self._pos = self._scanned = 0

    def compact(self) -> None:
        """Free what was consumed; done once per portion of input, not once per command."""
        if self._pos:
            del self._bytes[: self._pos]
            self._scanned = max(0, self._scanned - self._pos)
            self._pos = 0

    def read_line(self, limit_bytes: int) -> bytes | BadLine | None:
        """One line without its CRLF; None when it is not complete yet.  The limit includes the CRLF."""
        start = self._pos
        end = self._bytes.find(b"\n", start, start + limit_bytes)
        if end < 0:
            return BadLine.TOO_LONG if len(self._bytes) - start >= limit_bytes else None
        line = bytes(self._bytes[start : end + 1])
        if line.find(b"\r") != len(line) - 2:
            return BadLine.BARE
        self._pos = end + 1
        return line[:-2]

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer when fewer are there."""
        return bytes(self._bytes[self._pos : self._pos + count])

    def begin_data(self) -> None:
        """Content begins; to be called right after the DATA line was read.

        The CRLF of that line is taken back: it may be the first half of CRLF.CRLF when the content is empty.
        """
        self._pos -= 2
        self._scanned = self._pos

    def read_data(self) -> bytes | None:
        """The content, still dot-stuffed, once its end is there; None until then."""
        end = self._bytes.find(END_OF_DATA, self._scanned)
        if end < 0:
            self._scanned = max(self._pos, len(self._bytes) - len(END_OF_DATA) + 1)
            return None
        with memoryview(self._bytes) as view:
            content = bytes(view[self._pos + 2 : end + 2])
        self._pos = end + len(END_OF_DATA)
        return content

    def skip_data(self) -> bool:
        """Drop content as it comes; True once its end is consumed."""
        end = self._bytes.find(END_OF_DATA, self._pos)
        if end < 0:
            self._pos = max(self._pos, len(self._bytes) - len(END_OF_DATA) + 1)
            return False
        self._pos = end + len(END_OF_DATA)
        return True

    def read_chunk(self, count: int, into: bytearray | None) -> int:
        """Move up to `count` bytes to the end of `into`, or drop them; returns how many."""
        taken = min(count, len(self))
        if into is not None and taken:
            with memoryview(self._bytes) as view:
                into += view[self._pos : self._pos + taken]
        self._pos += taken
        return taken


def unstuff(content: bytes) -> bytes:
    """Content without the dots that DATA's transparency put in front of lines [RFC 5321 §4.5.2]."""
    if content.startswith(b"."):
        content = content[1:]
    return content.replace(b"\r\n.", b"\r\n") if b"\r\n." in content else content
