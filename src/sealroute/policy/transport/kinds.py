"""The kinds of value that transport rules take, besides those of connectors (policy/parameter_kinds).

size = number ["B" / "KB" / "MB" / "GB"] ["(" digits-with-commas "bytes)"]        ; Exchange's own form of it, too
"""

from __future__ import annotations

import re
from typing import Any

from sealroute.base.errors import InputError
from sealroute.policy import parameter_kinds as kinds
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.parameter_kinds import Kind, choice, parse_boolean, parse_whole
from sealroute.policy.transport.patterns import (
    MAX_PATTERN_CHARACTERS,
    MAX_PATTERN_STEPS,
    MAX_WORD_CHARACTERS,
    pattern_cost,
)
from sealroute.policy.transport.rule import RuleMode, RuleState, SenderAddressLocation

MAX_SIZE = 1 << 40
_SIZE = re.compile(r"(\d{1,12})(?:\.(\d{1,3}))? ?(B|KB|MB|GB)?(?: \((\d[\d,]{0,19}) bytes\))?", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")


def parse_word(text: str) -> str:
    """A word or phrase."""
    bare = text.strip()
    if not bare or len(bare) > MAX_WORD_CHARACTERS:
        raise InputError(f"{bare[:60]!r} has {len(bare)} characters: from 1 to {MAX_WORD_CHARACTERS} are allowed")
    if not bare.isprintable():
        raise InputError(f"{bare!r} has control characters")
    return " ".join(bare.split())


def parse_regex(text: str) -> str:
    """A pattern of RE2."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise InputError(f"it has {len(text)} characters, more than {MAX_PATTERN_CHARACTERS}")
    if text.count("{") != text.count("}"):
        # Most likely a list was split at the comma of `{1,3}`.
        raise InputError(f"{text!r} has a brace without the other: a pattern with a comma in it stands in quotes")
    if (steps := pattern_cost(text)) > MAX_PATTERN_STEPS:  # or it is no pattern, which is said there
        raise InputError(f"{text!r} compiles to {steps} steps, more than {MAX_PATTERN_STEPS}")
    return text


def parse_field_name(text: str) -> str:
    name = text.strip().removesuffix(":")
    if not _FIELD_NAME.fullmatch(name):
        raise InputError(f"{text!r} is not the name of a header field")
    return name


def parse_extension(text: str) -> str:
    word = text.strip().lower().removeprefix("*").lstrip(".")
    if not re.fullmatch(r"[^\s.*?/\\]{1,32}", word):
        raise InputError(f"{text!r} is not a file name's extension")
    return word


def parse_size(text: str) -> int:
    """Octets; a bare number counts them."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a size")
    whole, part, unit, exact = match.groups()
    if exact is not None:
        octets = int(exact.replace(",", ""))
    else:
        octets = int((int(whole) + int(part or 0) / 10 ** len(part or "")) * _UNITS[(unit or "b").lower()])
    if octets > MAX_SIZE:
        raise InputError(f"{text!r} is larger than any message")
    return octets


def show_size(octets: int) -> str:
    """As Exchange prints it: `10 MB (10,485,760 bytes)`."""
    for unit in ("GB", "MB", "KB"):
        size = _UNITS[unit.lower()]
        if octets >= size and octets * 1000 % size == 0:
            return f"{octets / size:g} {unit} ({octets:,} bytes)"
    return f"{octets} B ({octets:,} bytes)"


def parse_mode(text: str) -> RuleMode:
    word = text.strip().lower()
    if word == "auditandnotify":
        return RuleMode.AUDIT  # we have nobody to notify: the trace tells
    for mode in RuleMode:
        if word == mode.value.lower():
            return mode
    raise InputError(f"{text!r} is not one of its values")


def _parse_enabled(text: str) -> RuleState:
    return RuleState.ENABLED if parse_boolean(text) else RuleState.DISABLED


def _same(value: Any) -> Any:
    return value


def _value(member: Any) -> Any:
    return member.value


DOMAINS = kinds.PATTERNS
ADDRESSES = kinds.MAILBOXES
WORDS = Kind("Text list", "words or phrases; one with a comma in quotes", parse_word, _same, many=True, cleared=())
REGEXES = Kind(
    "Pattern list", "patterns such as ^secret or \\d{4}; one with a comma in quotes", parse_regex, _same, many=True, cleared=()
)
EXTENSIONS = Kind("Text list", "pdf, docx", parse_extension, _same, many=True, cleared=())
FIELD_NAME = Kind("Header field", "msip_labels, '$null'", parse_field_name, _same, cleared=None)
SIZE = Kind("Size", "10MB, 500 KB, a number of bytes, '$null'", parse_size, show_size, cleared=None)
NUMBER = Kind("Whole number", "a whole number", parse_whole, _same)
RULE_MODE = Kind("RuleMode", "Enforce, Audit", parse_mode, _value)
STATE = choice(RuleState)
ENABLED = Kind("Boolean", kinds.BOOLEAN.allowed, _parse_enabled, lambda state: state is RuleState.ENABLED)
LOCATION = choice(SenderAddressLocation)
CONNECTOR = Kind("Connector", "a connector's name or GUID, '$null'", str.strip, _same, cleared=None)
DANE_MODE = choice(SmtpDaneMode, cleared=None)
STS_MODE = choice(MtaStsMode, cleared=None)
TLS_SETTINGS = kinds.TLS_SETTINGS
