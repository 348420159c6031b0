"""Reading the settings: TOML text and environment in, Settings out, or every problem with file, line, key and remedy.

A key that does not exist is an error with the nearest key that does; so a misspelt security setting never passes for its
default.  Environment variables are `SEALROUTE_SECTION__KEY`, such as SEALROUTE_RETRY__JITTER_PERCENT=5, with the value as
in TOML (a bare word is taken as a string).  Variables without `__` are settings only when they name one of the top level.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sealroute.base.errors import OperatorError, Problem
from sealroute.settings.locate import find_line
from sealroute.settings.models import Settings

PREFIX = "SEALROUTE_"
MAX_FILE_BYTES = 1024 * 1024
Location = tuple[int | str, ...]


def load(path: Path | str | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in the file (None: no file, all defaults), with the environment's on top.

    Raises OperatorError with every problem found.  Relative file names are taken from the file's folder.
    """
    environment = os.environ if environment is None else environment
    if path is None:
        return parse("", Path(), environment)
    path = Path(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise OperatorError.one(str(path), f"cannot be read: {error.strerror}.", "Name a readable file.") from None
    if len(raw) > MAX_FILE_BYTES:
        raise OperatorError.one(str(path), "is larger than 1 MiB.", "This is not a configuration file.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise OperatorError.one(f"{path}:{line}", "is not UTF-8 text.", "Save the file as UTF-8.") from None
    return parse(text, path, environment)


def parse(text: str, path: Path = Path("sealroute.toml"), environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in TOML text; `path` names it in problems and gives the folder of relative file names."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OperatorError.one(str(path), f"is not valid TOML: {error}.", "Correct the syntax there.") from None
    problems, from_environment = _overlay(table, environment or {})
    folder = path.resolve().parent if text or path.name else Path.cwd()
    try:
        settings = Settings.model_validate(table, context={"folder": folder})
    except ValidationError as error:
        errors = error.errors(include_url=False)
        errors.sort(key=lambda item: find_line(text, tuple(item["loc"])) or 0)
        problems += [_problem(item, text, path, from_environment) for item in errors]
        raise OperatorError(*problems) from None
    if problems:
        raise OperatorError(*problems)
    return settings


# ------------------------------------------------------------------------------------------------------- environment


def _overlay(table: dict[str, Any], environment: Mapping[str, str]) -> tuple[list[Problem], dict[Location, str]]:
    """Put the environment's settings into the table; returns problems and which keys came from which variable."""
    problems: list[Problem] = []
    origins: dict[Location, str] = {}
    known = {".".join(location): location for location in all_keys() if 0 < len(location) <= 2}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX):
            continue
        dotted = variable[len(PREFIX) :].lower().replace("__", ".")
        location = known.get(dotted)
        if location is None:
            if "." in dotted:
                fix = _suggestion(dotted, list(known))
                problems.append(Problem(f"environment variable {variable}", f"there is no setting {dotted}.", fix))
            continue
        target = table
        for part in location[:-1]:
            target = target.setdefault(part, {})
        target[location[-1]] = _environment_value(environment[variable])
        origins[location] = variable
    return problems, origins


def _environment_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def all_keys(model: type[BaseModel] = Settings, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of the model and its sections, as paths; list sections appear under their own name."""
    found: list[tuple[str, ...]] = []
    for name, info in model.model_fields.items():
        key = (*above, info.alias or name)
        section = section_of(info.annotation)
        found += all_keys(section, key) if section else [key]
        if section and section_is_list(info.annotation):
            found.append(key)
    return found


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section type that a field holds, one or many; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := section_of(part))), None)


def section_is_list(annotation: Any) -> bool:
    """True for `[[section]]` fields."""
    return not isinstance(annotation, type)


# ---------------------------------------------------------------------------------------------------------- problems


def _problem(error: ErrorDetails, text: str, path: Path, origins: Mapping[Location, str]) -> Problem:
    location = tuple(error["loc"])
    key = dotted(location)
    variable = next((name for origin, name in origins.items() if location[: len(origin)] == origin), None)
    if variable:
        where = f"environment variable {variable}"
    else:
        line = find_line(text, location)
        where = f"{path}:{line}: {key}" if line else f"{path}: {key}"
    what, fix = _explain(error, location)
    return Problem(where.removesuffix(": "), what, fix)


def dotted(location: Location) -> str:
    """The key as written in docs: `listeners[1].port` (counted from 1)."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _explain(error: ErrorDetails, location: Location) -> tuple[str, str]:
    kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "extra_forbidden":
        return "there is no such setting.", _nearest(location)
    if kind == "missing":
        return "is missing.", "Add it."
    if kind == "value_error":
        return f"{context['error']}.", ""
    bounds = {"greater_than_equal": "ge", "less_than_equal": "le", "greater_than": "gt", "less_than": "lt"}
    if kind in bounds:
        word = "at least" if "greater" in kind else "at most"
        return f"{_shown(value)} is out of bounds.", f"Give {word} {_bound(context[bounds[kind]])}."
    if kind in ("too_short", "too_long"):
        return f"has {context['actual_length']} entries.", _length_fix(kind, context)
    if kind in ("string_too_short", "string_too_long"):
        return f"has {len(str(value))} characters.", _length_fix(kind, context)
    wanted = _WANTED.get(kind)
    if wanted:
        return f"must be {wanted}, not {_shown(value)}.", ""
    return f"{error['msg']}.", ""


_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list in [brackets]",
    "model_type": "a [section]",
    "model_attributes_type": "a [section]",
    "time_delta_type": 'a span of time in quotes, such as "15m"',
    "path_type": "a file name in quotes",
}


def _length_fix(kind: str, context: Mapping[str, Any]) -> str:
    return (
        f"At least {context['min_length']} needed." if kind.endswith("short") else f"At most {context['max_length']} allowed."
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "total_seconds"):
        return _bound(value)
    return repr(value)[:80]


def _bound(value: Any) -> str:
    if hasattr(value, "total_seconds"):
        from sealroute.settings.durations import format_duration

        return format_duration(value)
    return str(value)


def _nearest(location: Location) -> str:
    """What the operator may have meant: a near name in the same section, or the same name in another."""
    name = str(location[-1])
    section = tuple(part for part in location[:-1] if isinstance(part, str))
    keys = all_keys()
    siblings = {path[len(section)] for path in keys if path[: len(section)] == section and len(path) > len(section)}
    near = get_close_matches(name, sorted(siblings), n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    elsewhere = [path for path in keys if path[-1] == name]
    if elsewhere:
        return f"There is one in [{'.'.join(elsewhere[0][:-1]) or 'the top of the file'}]."
    return _suggestion(".".join((*section, name)), [".".join(path) for path in keys])


def _suggestion(name: str, candidates: list[str]) -> str:
    near = get_close_matches(name, candidates, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else "`sealroute config example` lists all settings."
