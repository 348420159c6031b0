"""The words inside SMTP commands: paths, ESMTP parameters, xtext.

Pure functions over the text of one command line; they raise InputError with a sentence fit for the reply.  What a
parameter *means* is in commands.py, the order of commands in server.py, the compared form of domains in base/names.

Strict where a mistake could change who gets the mail; tolerant in three named places: blanks between `FROM:` or `TO:`
and the path, source routes (read and dropped, as [RFC 5321 §4.1.1.3] allows), lower-case hexadecimal digits in xtext.

Sources: [RFC 5321 §4.1.2], [RFC 6531 §3.3] (UTF-8 in local parts and domains), [RFC 3461 §4] (xtext).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sealroute.base import names
from sealroute.base.errors import InputError

MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 255
MAX_PATH_OCTETS = 256
"""Limits of [RFC 5321 §4.5.3.1]; a path counts with its angle brackets, without a source route."""
MAX_PARAMETERS = 32

# Reverse-path   = Path / "<>"
# Forward-path   = Path / "<postmaster>"            ; any case
# Path           = "<" [ A-d-l ":" ] Mailbox ">"
# A-d-l          = At-domain *( "," At-domain )
# Mailbox        = Local-part "@" ( Domain / address-literal )
# Local-part     = Dot-string / Quoted-string
# Dot-string     = Atom *("." Atom)
# Quoted-string  = DQUOTE *( qtextSMTP / quoted-pairSMTP ) DQUOTE
# atext and qtextSMTP include UTF8-non-ascii under SMTPUTF8; the caller has refused non-ASCII lines otherwise.
# Domain is read loosely here and judged by base/names.
_WIDE = "\u00a0-\U0010ffff"
_ATOM = rf"[A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_WIDE}]+"
_QUOTED = rf'"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*"'
_LOOSE_DOMAIN = rf"[A-Za-z0-9._\-{_WIDE}]+"
_LITERAL = r"\[[A-Za-z0-9:.\-]+\]"
_PATH = re.compile(
    rf"<(?:@{_LOOSE_DOMAIN}(?:,@{_LOOSE_DOMAIN})*:)?"
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?P<domain>{_LOOSE_DOMAIN}|{_LITERAL})>"
)
_POSTMASTER = re.compile(r"<postmaster>", re.IGNORECASE)

# Mail-parameters = esmtp-param *(SP esmtp-param)
# esmtp-param     = esmtp-keyword ["=" esmtp-value]
# esmtp-keyword   = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
# esmtp-value     = 1*(%d33-60 / %d62-126)           ; RFC 6531 adds UTF8-non-ascii
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9\-]*)(?:=([!-<>-~{_WIDE}]+))?")

# xtext   = *( xchar / hexchar )
# xchar   = %d33-42 / %d44-60 / %d62-126
# hexchar = "+" 2HEXDIG
_XTEXT = re.compile(rf"(?:[!-*,-<>-~{_WIDE}]|\+[0-9A-Fa-f]{{2}})*")
_HEXCHAR = re.compile(r"\+([0-9A-Fa-f]{2})")
_NOT_XCHAR = re.compile(r"[^!-*,-<>-~]")


@dataclass(frozen=True, slots=True)
class Path:
    """A path as the client wrote it, without source route.  Null path: both parts empty; bare postmaster: no domain."""

    local: str
    """With its quotes, if any."""
    domain: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


NULL_PATH = Path("", "")


def parse_path(text: str, start: int = 0) -> tuple[Path, int]:
    """The path that begins at `start`, and where it ends; `<>` and `<postmaster>` included.

    Raises InputError when there is no well-formed path, or a part of it is too long.
    """
    match = _PATH.match(text, start)
    if match is None:
        if text.startswith("<>", start):
            return NULL_PATH, start + 2
        bare = _POSTMASTER.match(text, start)
        if bare is not None:
            return Path(bare.group()[1:-1], ""), bare.end()
        raise InputError(_what_is_wrong(text[start:]))
    path = Path(match["local"], match["domain"])
    _check_lengths(path)
    return path, match.end()


def _check_lengths(path: Path) -> None:
    ascii_only = path.local.isascii() and path.domain.isascii()
    local = len(path.local) if ascii_only else len(path.local.encode())
    domain = len(path.domain) if ascii_only else len(path.domain.encode())
    if local > MAX_LOCAL_OCTETS:
        raise InputError(f"the local part has {local} octets, more than {MAX_LOCAL_OCTETS}")
    if domain > MAX_DOMAIN_OCTETS:
        raise InputError(f"the domain has {domain} octets, more than {MAX_DOMAIN_OCTETS}")
    if local + domain + 3 > MAX_PATH_OCTETS:
        raise InputError(f"the path has {local + domain + 3} octets, more than {MAX_PATH_OCTETS}")


def _what_is_wrong(text: str) -> str:
    """Why text does not begin with a path; only read for the reply, never for a decision."""
    if not text.startswith("<"):
        return "the address must stand in angle brackets"
    if ">" not in text:
        return "the address has no closing angle bracket"
    inner = text[1 : text.rindex(">")]
    local, at, domain = inner.rpartition("@")
    if not at:
        return "the address has no domain"
    if not domain:
        return "the address has an empty domain"
    if not local:
        return "the address has an empty local part"
    return "the address is not of the form <local-part@domain>"


@lru_cache(maxsize=4096)
def destination(domain: str) -> str:
    """The compared form of a path's domain, `[192.0.2.1]` for an address literal; raises InputError when it is neither."""
    if domain.startswith("["):
        if names.parse_ip(domain) is None:
            raise InputError(f"{domain} is not an IP address literal")
        return domain.lower()
    return names.domain(domain)


def parse_parameters(text: str) -> dict[str, str | None]:
    """ESMTP parameters by upper-case keyword; a keyword without `=` has None.  Raises InputError for bad or repeated ones."""
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise InputError("a parameter is not of the form KEYWORD or KEYWORD=value")
        keyword = match[1].upper()
        if keyword in found:
            raise InputError(f"the parameter {keyword[:32]} was given twice")
        if len(found) == MAX_PARAMETERS:
            raise InputError(f"there are more than {MAX_PARAMETERS} parameters")
        found[keyword] = match[2]
    return found


def decode_xtext(text: str) -> str:
    """What the xtext stands for; raises InputError unless both sides are well-formed and the result is printable.

    Line ends and other controls are refused: the value is printed into notification headers later.
    """
    if _XTEXT.fullmatch(text) is None:
        raise InputError("the value is not xtext")
    if "+" not in text:
        return text
    return _HEXCHAR.sub(_decode_hexchar, text)


def _decode_hexchar(match: re.Match[str]) -> str:
    value = int(match[1], 16)
    if not 0x20 <= value <= 0x7E:
        raise InputError("the value encodes a character that is not printable US-ASCII")
    return chr(value)


def encode_xtext(text: str) -> str:
    """Printable US-ASCII text as xtext."""
    return _NOT_XCHAR.sub(lambda match: f"+{ord(match[0]):02X}", text)
