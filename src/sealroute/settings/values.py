"""The kinds of values that settings have: names, addresses, networks, files, spans of time, words of a closed set.

Each checks and normalizes what the operator wrote; its ValueError says how it should be written.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from sealroute.base.errors import InputError
from sealroute.base.names import address_domain, domain, parse_ip
from sealroute.settings.durations import parse_duration


def _domain(text: str) -> str:
    try:
        return domain(text)
    except InputError as error:
        raise ValueError(str(error)) from None


def _zone(text: str) -> str:
    return "." if text.strip() == "." else _domain(text)


def _address(text: str) -> str:
    try:
        address_domain(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _ip(text: str) -> str:
    address = parse_ip(text)
    if address is None:
        raise ValueError(f"{text!r} is not an IP address; write it as 192.0.2.1 or 2001:db8::1")
    return str(address)


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; write a network as 192.0.2.0/24 or 2001:db8::/32") from None


def _server(text: str) -> str:
    bare, at, port = text.rpartition("@")
    if not at:
        return _ip(text)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} has no valid port after the @; write it as 192.0.2.1@53")
    return f"{_ip(bare)}@{int(port)}"


def _path(value: Any, info: ValidationInfo) -> Any:
    base = (info.context or {}).get("folder")
    if not isinstance(value, (str, Path)) or not base:
        return value
    if isinstance(value, str) and not value.strip():
        raise ValueError("the file name is empty; leave the key out instead")
    return Path(base) / Path(value).expanduser()


def _span(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


DomainName = Annotated[str, AfterValidator(_domain)]
MailAddress = Annotated[str, Field(max_length=254), AfterValidator(_address)]
Zone = Annotated[str, AfterValidator(_zone)]
IpAddress = Annotated[str, AfterValidator(_ip)]
Network = Annotated[str, AfterValidator(_network)]
NameServer = Annotated[str, AfterValidator(_server)]
"""An IP address, with `@port` when it is not 53."""
Port = Annotated[int, Field(ge=1, le=65535)]
FilePath = Annotated[Path, BeforeValidator(_path)]
"""Relative to the folder of the configuration file."""
Duration = Annotated[timedelta, BeforeValidator(_span)]


class Section(BaseModel):
    """What all sections have in common: frozen, strict about unknown keys and about types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=False)


def choice(kind: type[Enum]) -> BeforeValidator:
    """Words of a closed set, in any case."""

    def pick(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        words = {str(member.value).lower(): member for member in kind}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValueError(f"{value!r} is not one of " + ", ".join(words))

    return BeforeValidator(pick)
