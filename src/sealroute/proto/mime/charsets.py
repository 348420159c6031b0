"""Octets as text, in the charsets that mail is written in.

Only charsets on the list are tried: some of Python's codecs are no charsets, and a few take quadratic time.  Text that claims
ASCII, or nothing, is read as UTF-8, which it is when it is well.

Sources: [RFC 2045 §5.2], the IANA charset registry.
"""

from __future__ import annotations

_KNOWN = {
    "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "latin1", "latin-1",
    *(f"iso-8859-{number}" for number in range(1, 17) if number != 12),
    "iso-8859-8-i", "windows-874", *(f"{brand}{number}" for brand in ("windows-", "cp") for number in range(1250, 1259)),
    "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "shift-jis", "euc-jp", "iso-2022-jp", "euc-kr",
    "ks_c_5601-1987", "utf-16", "utf-16le", "utf-16be", "utf-7",
}  # fmt: skip
_PYTHON = {
    "iso-8859-8-i": "iso-8859-8",
    "ks_c_5601-1987": "cp949",
    "windows-874": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_ASCII = ("", "us-ascii", "ascii", "ansi_x3.4-1968")


def text_of(octets: bytes, charset: str) -> tuple[str, bool]:
    """The text, and whether all of it could be read."""
    name = charset.strip().lower()
    if name in _ASCII:
        name = "utf-8"
    if name in _KNOWN:
        try:
            return octets.decode(_PYTHON.get(name, name)), True
        except (UnicodeDecodeError, LookupError):
            pass
    return octets.decode("latin-1"), False
