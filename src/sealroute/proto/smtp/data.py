"""Message content on its way out: the octets that follow a 354 reply [RFC 5321 §4.1.1.4, §4.5.2].

Rules: the result ends in CRLF "." CRLF and holds that sequence nowhere else; every line that begins with "." gets one more;
content without a final CRLF gets one (also empty content: one empty line, which every server understands).

A CR or LF on its own never goes out, because servers disagree on whether it ends a line and that is what SMTP smuggling
lives on.  It becomes CRLF *before* dots are stuffed: queued messages hold none (accepting refuses them), so in the
gateway this is a safety net, while files written on Unix become what their author meant.  Content that accepting has just
looked through and handed on in memory is not looked through twice (`crlf_only`); all that was read from the store is.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder

_LONE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


def has_lone_cr_or_lf(content: bytes) -> bool:
    """True when some CR or LF is not part of a CRLF pair.

    The standard library's newline decoder notes which kinds of line end it saw, four times as fast as they can be counted.
    """
    lines = IncrementalNewlineDecoder(None, translate=False)
    lines.decode(content.decode("latin-1"), final=True)
    return lines.newlines not in (None, "\r\n")


def canonical(content: bytes) -> bytes:
    """The content with CRLF line ends only; itself when it already is so."""
    return _LONE.sub(b"\r\n", content) if has_lone_cr_or_lf(content) else content


def encode_data(content: bytes, *, crlf_only: bool = False) -> bytes:
    """The octets that go out after 354: canonical (already so when `crlf_only`), dot-stuffed, ended by CRLF "." CRLF."""
    if not crlf_only:
        content = canonical(content)
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    first = b"." if content.startswith(b".") else b""
    return first + content + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")
