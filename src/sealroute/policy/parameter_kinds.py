"""The kinds of value a connector parameter takes: how one is read from text, and how it is shown and written as JSON.

Only grammar is here, so that what was stored once can always be read again.  How much and how many is allowed is a rule at
save time (policy/connector_rules); which parameter has which kind is the table (policy/parameters).  Splitting a list and
reading `$null` belong to the command line (policy/parameters), because a stored comment may well read `$null`.

    whole       = 1*9DIGIT
    boolean     = "$true" / "$false" / "true" / "false" / "1" / "0"            ; any case, as every word here
    pattern     = "*" / ["*."] domain
    smart-host  = fqdn / "[" fqdn "]" / ip / "[" ip "]" / ip "/" prefix
    duration    = timespan / iso / units
    timespan    = [days "."] hours ":" minutes ":" seconds ["." 1*7DIGIT]      ; .NET, as Exchange prints it
    iso         = "P" [n "D"] ["T" [n "H"] [n "M"] [n "S"]]                    ; ISO 8601, without years and months
    units       = 1*( n ("d" / "h" / "m" / "s") )                              ; 15m, 1h30m: each unit at most once
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sealroute.base import names
from sealroute.base.errors import InputError
from sealroute.base.times import parse_rfc3339, rfc3339
from sealroute.policy.modes import ConnectorType, MtaStsMode, SmtpDaneMode, TlsSettings


class NotClearable(Enum):
    """The type of NOT_CLEARABLE."""

    TOKEN = "not clearable"


NOT_CLEARABLE = NotClearable.TOKEN
"""Stands where a kind has no empty value, so that `$null` is refused."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value."""

    name: str
    allowed: str
    """What may be written, completing "Allowed: "."""
    parse: Callable[[str], Any]
    """One item from text; raises InputError saying what is wrong with it."""
    plain: Callable[[Any], Any]
    """One item as JSON knows it."""
    many: bool = False
    """The parameter holds a tuple of items."""
    cleared: Any = NOT_CLEARABLE
    """What `$null` and the empty text stand for."""

    def to_json(self, value: Any) -> Any:
        if self.many:
            return [self.plain(item) for item in value]
        return None if value is None else self.plain(value)

    def from_json(self, value: Any) -> Any:
        """The value that to_json wrote; raises InputError for anything else."""
        if value is None:
            if self.cleared is NOT_CLEARABLE:
                raise InputError("null is not a value here")
            return self.cleared
        if not self.many:
            return self._item(value)
        items = value if isinstance(value, list) else [value]
        return tuple(self._item(item) for item in items)

    def _item(self, value: Any) -> Any:
        if isinstance(value, bool) and self.parse is parse_boolean:
            return value
        if isinstance(value, int) and not isinstance(value, bool) and self.parse is parse_whole:
            return self.parse(str(value))
        if isinstance(value, str):
            return self.parse(value)
        raise InputError(f"{value!r} is of the wrong type")

    def show(self, value: Any) -> str:
        """The value as a list or table shows it: `{a, b}` for a list, nothing for null."""
        plain = self.to_json(value)
        return "{" + ", ".join(map(str, plain)) + "}" if self.many else "" if plain is None else str(plain)


def parse_boolean(text: str) -> bool:
    word = text.strip().lower().removeprefix("$")
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise InputError(f"{text!r} is neither true nor false")


def parse_pattern(text: str) -> str:
    """A domain, `*.domain`, or `*`, in compared form."""
    bare = text.strip()
    if bare == "*":
        return bare
    wildcard = bare.startswith("*.")
    rest = bare[2:] if wildcard else bare
    if "*" in rest:
        raise InputError(f"{text!r} has a * where none may stand: a wildcard is the whole first label, as in *.contoso.com")
    return ("*." if wildcard else "") + names.domain(rest)


def parse_tls_domain(text: str) -> str:
    """The name a certificate must carry: a domain or `*.domain`."""
    name = parse_pattern(text)
    if name == "*":
        raise InputError("'*' would accept the certificate of any server")
    return name


def parse_smart_host(text: str) -> str:
    """A smart host in the form Connector.smart_hosts has it."""
    bare = text.strip()
    if "/" in bare:
        return _parse_block(bare)
    if ip := names.parse_ip(bare):
        return str(ip)
    bracketed = bare.startswith("[") and bare.endswith("]")
    name = names.domain(bare[1:-1] if bracketed else bare)
    last = name.rpartition(".")[2]
    if last.isdigit():
        raise InputError(f"{text!r} looks like an IP address and is none")
    if last == name:
        raise InputError(f"{text!r} is not a full name")
    return f"[{name}]" if bracketed else name


def _parse_block(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        block = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InputError(f"{text!r} is not a CIDR block") from None
    raise InputError(f"{text!r} has bits set beyond its prefix; the block is {block}")


def parse_mailbox(text: str) -> str:
    """A mail address; its domain is checked, its text kept.  No spaces or controls: it will stand in a header."""
    bare = text.strip()
    if not bare.isprintable() or " " in bare:
        raise InputError(f"{text!r} has a space or a control character")
    names.address_domain(bare)
    return bare


def parse_whole(text: str) -> int:
    """A whole number, without sign."""
    bare = text.strip()
    if not (bare.isascii() and bare.isdigit() and len(bare) <= 9):
        raise InputError(f"{text!r} is not a whole number")
    return int(bare)


_TIMESPAN = re.compile(r"(?:(\d{1,6})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,7}))?", re.ASCII)
_ISO = re.compile(
    r"P(?=[\dT])(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})S)?)?", re.ASCII | re.IGNORECASE
)
_UNITS = re.compile(r"(?=\d)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII | re.IGNORECASE)


def parse_duration(text: str) -> timedelta:
    """A length of time; a bare number is refused, since nobody can see its unit."""
    bare = text.strip()
    if match := _TIMESPAN.fullmatch(bare):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
        if hours > 23 or minutes > 59 or seconds > 59:
            raise InputError(f"{text!r} is not a time span: hours go to 23, minutes and seconds to 59")
        microseconds = int((match[5] or "0").ljust(7, "0")) // 10
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=microseconds)
    if match := _ISO.fullmatch(bare) or _UNITS.fullmatch(bare):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    raise InputError(f"{text!r} is not a length of time")


def show_duration(value: timedelta) -> str:
    """The duration as .NET and Exchange print it: `00:15:00`, `1.00:00:00`."""
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    days = f"{value.days}." if value.days else ""
    fraction = f".{value.microseconds:06d}0" if value.microseconds else ""
    return f"{days}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"


def parse_moment(text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise InputError(str(error)) from None


def choice(members: type[Enum], *, cleared: Any = NOT_CLEARABLE) -> Kind:
    spellings = {member.value.lower(): member for member in members}
    listed = ", ".join(member.value for member in members)

    def parse(text: str) -> Enum:
        try:
            # Kebab case too, as everywhere on our own command line: `report-only`.
            return spellings[text.strip().lower().replace("-", "")]
        except KeyError:
            raise InputError(f"{text!r} is not one of its values") from None

    allowed = listed if cleared is NOT_CLEARABLE else f"{listed}, '$null'"
    return Kind(members.__name__, allowed, parse, lambda member: member.value, cleared=cleared)


def _same(value: Any) -> Any:
    return value


_DURATIONS = "15m, 1h30m, 2d, 00:15:00, 1.00:00:00 or PT15M"

BOOLEAN = Kind("Boolean", "true, false, '$true', '$false'", parse_boolean, _same)
TEXT = Kind("String", "any text", _same, _same, cleared="")
NAME = Kind("String", "any text", str.strip, _same)
PATTERNS = Kind("Domain list", "contoso.com, *.contoso.com, or * for all domains", parse_pattern, _same, many=True, cleared=())
SMART_HOSTS = Kind(
    "Host list", "mx.contoso.com (in square brackets: its addresses, not its MX), 192.0.2.1, 2001:db8::1, 192.0.2.0/28",
    parse_smart_host, _same, many=True, cleared=(),
)  # fmt: skip
TLS_DOMAIN = Kind("Domain", "contoso.com, *.contoso.com, '$null'", parse_tls_domain, _same, cleared=None)
MAILBOXES = Kind("Address list", "user@contoso.com", parse_mailbox, _same, many=True, cleared=())
DURATION = Kind("Duration", _DURATIONS, parse_duration, show_duration)
DURATIONS = Kind("Duration list", f"{_DURATIONS}, separated by commas", parse_duration, show_duration, many=True)
WHOLE = Kind("Whole number", "a whole number, '$null'", parse_whole, _same, cleared=None)
MOMENT = Kind("Date and time", "2026-01-31T12:00:00Z, '$null'", parse_moment, rfc3339, cleared=None)
CONNECTOR_TYPE = choice(ConnectorType)
TLS_SETTINGS = choice(TlsSettings, cleared=None)
DANE_MODE = choice(SmtpDaneMode)
STS_MODE = choice(MtaStsMode)
