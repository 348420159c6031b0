"""The example file and the reference page, printed from the models so that they cannot say anything else than the code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sealroute.settings.durations import format_duration
from sealroute.settings.load import section_is_list, section_of
from sealroute.settings.models import Settings

EXAMPLE_HEAD = """\
# Sealroute's settings, every one of them, with its default.
# Take the # off a line to change it; `sealroute config check` tells whether the file can be used.
# File names are relative to this file's folder.  Environment variables win over the file: SEALROUTE_SECTION__KEY,
# such as SEALROUTE_RETRY__JITTER_PERCENT=5.
"""
REFERENCE_HEAD = """\
# Settings

One TOML file, named with `--config`, by `SEALROUTE_CONFIG`, or found as `./sealroute.toml` or
`/etc/sealroute/sealroute.toml`. Unknown keys are errors. `sealroute config check` names every problem with file, line and
key; `sealroute config show --json` shows what is in force. File names are relative to the file's folder. An environment
variable `SEALROUTE_SECTION__KEY` (such as `SEALROUTE_RETRY__JITTER_PERCENT=5`) wins over the file.

This page is printed from the code: `sealroute config reference settings`.
"""
_EXAMPLES = {
    "hostname": "gateway.contoso.com",
    "postmaster": "postmaster@contoso.com",
    "tls_certificate": "tls/gateway.pem",
    "tls_key": "tls/gateway.key",
    "zone": "corp.example",
    "addresses": ["192.0.2.53"],
    "root_hints": "root.hints",
    "trust_anchor_file": "trust-anchor.txt",
    "ca_file": "ca-bundle.pem",
    "source_ipv4": "192.0.2.25",
    "source_ipv6": "2001:db8::25",
    "canary_signed": "signed.example",
    "canary_unsigned": "unsigned.example",
    "canary_broken": "broken.example",
    "mail_to": "mail-team@contoso.com",
    "webhook_url": "https://hooks.contoso.com/sealroute",
    "webhook_secret_file": "webhook.secret",
    "webhook_ca_file": "ca-bundle.pem",
    "generating_server": "gateway.contoso.com",
    "kind": "relay",
    "port": 25,
}
"""Shown for settings that have no default."""


def example_toml() -> str:
    """Every setting with its description, its default commented out."""
    return EXAMPLE_HEAD + "\n".join(_example(Settings, "", is_list=False)).rstrip() + "\n"


def _example(model: type[BaseModel], heading: str, *, is_list: bool) -> Iterator[str]:
    yield ""
    if heading:
        yield from _comment(_summary(model))
        # An entry of a list is a thing of its own, so the example must not bring one into being.
        yield f"# [[{heading}]]" if is_list else f"[{heading}]"
    for name, info in model.model_fields.items():
        key = info.alias or name
        if section_of(info.annotation) is None:
            yield from _comment(info.description or "", indent="")
            extra = _example_only(info)
            yield f"# {key} = {toml_value(_EXAMPLES.get(key, '') if extra else info.default)}"
    for name, info in model.model_fields.items():
        section = section_of(info.annotation)
        if section:
            inner = f"{heading}.{info.alias or name}" if heading else info.alias or name
            yield from _example(section, inner, is_list=section_is_list(info.annotation))


def _comment(text: str, indent: str = "") -> Iterator[str]:
    yield from (f"#{indent} {line}" for line in wrap(text.replace("`", ""), 110))


def _example_only(info: FieldInfo) -> bool:
    return info.default is None or info.default is PydanticUndefined


def toml_value(value: Any) -> str:
    """A setting's value as it is written in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return f'"{format_duration(value)}"'
    if isinstance(value, Enum):
        return f'"{value.value}"'
    if isinstance(value, (str, Path)):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, int) and value >= 100_000:
        return f"{value:_}"
    return str(value)


def reference_markdown() -> str:
    """docs/reference/settings.md."""
    return REFERENCE_HEAD + "\n".join(_reference(Settings, "", is_list=False)) + "\n"


def _reference(model: type[BaseModel], heading: str, *, is_list: bool) -> Iterator[str]:
    title = f"[[{heading}]]" if is_list else f"[{heading}]" if heading else "top of the file"
    yield f"\n## `{title}`\n" if heading else "\n## At the top of the file\n"
    if heading:
        yield _summary(model) + "\n"
    yield "| key | default | allowed | meaning |\n|---|---|---|---|"
    sections = []
    for name, info in model.model_fields.items():
        key = info.alias or name
        section = section_of(info.annotation)
        if section:
            sections.append((section, f"{heading}.{key}" if heading else key, section_is_list(info.annotation)))
            continue
        default = "" if info.default is None else "required" if info.is_required() else f"`{toml_value(info.default)}`"
        description = (info.description or "").replace("|", "\\|")
        yield f"| `{key}` | {default} | {_allowed(info)} | {description} |"
    for section, inner, many in sections:
        yield from _reference(section, inner, is_list=many)


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _allowed(info: FieldInfo) -> str:
    """Bounds or words, for people."""
    words = _enum_words(info.annotation)
    if words:
        return ", ".join(f"`{word}`" for word in words)
    if info.annotation is bool:
        return "`true`, `false`"
    bounds: dict[str, Any] = {}
    for item in _constraints(info):
        for name in ("ge", "le", "min_length", "max_length"):
            if (value := getattr(item, name, None)) is not None:
                bounds[name] = value
    parts = []
    if "le" in bounds:
        parts.append(f"{_bound(bounds['ge'])} – {_bound(bounds['le'])}")
    if "max_length" in bounds:
        unit = "entries" if "tuple" in str(info.annotation) else "characters"
        least = bounds.get("min_length")
        parts.append(f"{least} – {bounds['max_length']} {unit}" if least else f"at most {bounds['max_length']} {unit}")
    return ", ".join(parts)


def _constraints(info: FieldInfo) -> list[Any]:
    inner = [item for part in get_args(info.annotation) for item in getattr(part, "__metadata__", ())]
    nested = [meta for item in inner if isinstance(item, FieldInfo) for meta in item.metadata]
    return [*info.metadata, *nested]


def _enum_words(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return next((words for part in get_args(annotation) if (words := _enum_words(part))), [])


def _bound(value: Any) -> str:
    return format_duration(value) if isinstance(value, timedelta) else f"{value:,}".replace(",", " ")
