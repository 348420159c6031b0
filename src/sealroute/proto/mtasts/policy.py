"""The MTA-STS policy file [RFC 8461 §3.2].

`parse_policy` reads the body of `/.well-known/mta-sts.txt`.  Rules that hold: it never raises; it is as strict as the ABNF,
so that nobody can slip in a policy that another sender would read differently; each reason names the line.  The two
readings the RFC leaves open: a max_age above the maximum makes the policy invalid (it is not cut down), and the order of
the fields is free, `version` included.  Names are kept in compared form; the RFC wants A-labels, so U-labels are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from sealroute.base.errors import InputError
from sealroute.base.names import domain

MAX_POLICY_BYTES = 65_536
MAX_AGE_SECONDS = 31_557_600


class StsMode(Enum):
    """The policy's mode [RFC 8461 §5]."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """One valid policy."""

    mode: StsMode
    max_age_seconds: int
    mx: tuple[str, ...]
    """Patterns in compared form, `*.` first for a wildcard."""
    text: str = ""
    """The policy as fetched, for reports and the trace."""


@dataclass(frozen=True, slots=True)
class PolicyInvalid:
    """The body is no policy: treat it as sts-policy-invalid [RFC 8460 §4.3.2.1]; a cached policy stays in force."""

    reason: str
    """One sentence, with the line where there is one."""


# sts-policy-record    = sts-policy-field *WSP *(sts-policy-term sts-policy-field *WSP) [sts-policy-term]
# sts-policy-field     = sts-policy-version            ; required once
#                      / sts-policy-mode               ; required once
#                      / sts-policy-max-age            ; required once
#                      / sts-policy-mx                 ; required at least once, except when mode is "none"
#                      / sts-policy-extension          ; unknown: ignored
# sts-policy-version   = %s"version" delim %s"STSv1"
# sts-policy-mode      = %s"mode" delim (%s"testing" / %s"enforce" / %s"none")
# sts-policy-mx        = %s"mx" delim ["*."] Domain    ; Domain of [RFC 5321 §4.1.2]
# sts-policy-max-age   = %s"max_age" delim 1*10(DIGIT)
# sts-policy-extension = ext-name delim ext-value
# delim                = ":" *WSP
# ext-name             = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
# ext-value            = vchar [*(%x20 / vchar) vchar] ; vchar: %x21-7E and all of UTF-8 beyond ASCII
# sts-policy-term      = LF / CRLF
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,31}")
_NOT_IN_VALUE = re.compile(r"[\x00-\x1f\x7f]")
_MAX_AGE = re.compile(r"[0-9]{1,10}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?)*")


class _Fault(Exception):
    """A line breaks the grammar; never leaves this file."""


@dataclass(slots=True)
class _Fields:
    """What was read so far; None where the field has not occurred."""

    version: str | None = None
    mode: StsMode | None = None
    max_age: int | None = None
    mx: dict[str, None] = field(default_factory=dict)


def parse_policy(body: bytes | str) -> StsPolicy | PolicyInvalid:
    """Read a policy file; as bytes it must be UTF-8 of at most 64 KiB."""
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_POLICY_BYTES:
        return PolicyInvalid(f"The policy is larger than {MAX_POLICY_BYTES} octets.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        return PolicyInvalid(f"Line {number} is not UTF-8.")
    if not text:
        return PolicyInvalid("The policy is empty.")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    fields = _Fields()
    for number, line in enumerate(lines, 1):
        try:
            _read_line(fields, line.removesuffix("\r"))
        except _Fault as fault:
            return PolicyInvalid(f"Line {number}: {fault}.")
    return _complete(fields, text)


def _complete(fields: _Fields, text: str) -> StsPolicy | PolicyInvalid:
    if fields.version is None:
        return PolicyInvalid("The policy has no version field.")
    if fields.mode is None:
        return PolicyInvalid("The policy has no mode field.")
    if fields.max_age is None:
        return PolicyInvalid("The policy has no max_age field.")
    if not fields.mx and fields.mode is not StsMode.NONE:
        return PolicyInvalid(f"The policy has no mx field; mode {fields.mode.value} needs at least one.")
    return StsPolicy(fields.mode, fields.max_age, tuple(fields.mx), text)


def _read_line(fields: _Fields, line: str) -> None:
    if not line.strip(" \t"):
        raise _Fault("the line is empty")
    name, colon, rest = line.partition(":")
    if not colon:
        raise _Fault(f"{_shown(line)} is not a field; fields are written name: value")
    if name.startswith("\ufeff"):
        raise _Fault("the file begins with a byte order mark")
    if not _NAME.fullmatch(name):
        raise _Fault(f"the field name {_shown(name)} is not 1 to 32 letters, digits, '_', '-' and '.'")
    value = rest.strip(" \t")
    if not value:
        raise _Fault(f"the field {name} has no value")
    if _NOT_IN_VALUE.search(value):
        raise _Fault(f"the field {name} has a control character in its value")
    # [RFC 8461 §3.2]: of version, mode and max_age the first entry counts; later ones are ignored whatever they say.
    if name == "version" and fields.version is None:
        fields.version = _version(value)
    elif name == "mode" and fields.mode is None:
        fields.mode = _mode(value)
    elif name == "max_age" and fields.max_age is None:
        fields.max_age = _max_age(value)
    elif name == "mx":
        fields.mx[_mx(value)] = None


def _version(value: str) -> str:
    if value != "STSv1":
        raise _Fault(f"the version {_shown(value)} is not STSv1")
    return value


def _mode(value: str) -> StsMode:
    try:
        return StsMode(value)
    except ValueError:
        raise _Fault(f"the mode {_shown(value)} is none of enforce, testing and none") from None


def _max_age(value: str) -> int:
    if not _MAX_AGE.fullmatch(value):
        raise _Fault(f"max_age {_shown(value)} is not a number of 1 to 10 digits")
    seconds = int(value)
    if seconds > MAX_AGE_SECONDS:
        raise _Fault(f"max_age {seconds} is above the maximum of {MAX_AGE_SECONDS} seconds")
    return seconds


def _mx(value: str) -> str:
    wildcard = "*." if value.startswith("*.") else ""
    name = value.removeprefix("*.")
    if not name.isascii():
        raise _Fault(f"the mx {_shown(value)} is not in ASCII; international names are written as A-labels (xn--...)")
    if not _HOST.fullmatch(name):
        raise _Fault(f"the mx {_shown(value)} is neither a host name nor '*.' and a domain")
    try:
        return wildcard + domain(name)
    except InputError:
        raise _Fault(f"the mx {_shown(value)} is longer than a domain name or one of its labels may be") from None


def _shown(text: str) -> str:
    """Foreign text, quoted, printable and short, for a reason."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
