"""docs/reference/cli.md, printed from the commands themselves: every command, argument, option and cmdlet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from typing import Any, get_args, get_origin, get_type_hints

from typer import Typer
from typer.models import ArgumentInfo, OptionInfo

from sealroute.faces.cli.cmdlets import Cmdlet, all_cmdlets, parameters_of
from sealroute.faces.cli.main import CMDLET_MODULES, COMMANDS, help_text

HEAD = """\
# Commands

This page is printed from the code: `sealroute config reference cli`.

Exit codes: 0 done, or a positive answer; 1 a negative answer; 2 input that cannot be used, told on stderr.

```
{help}```
"""


def cli_markdown() -> str:
    """The whole page."""
    return "\n".join([HEAD.format(help=help_text()), *_commands(), *_cmdlets()])


def _commands() -> Iterator[str]:
    for name, command in COMMANDS.items():
        app: Typer = import_module(f"sealroute.faces.cli.{command.module}").app
        yield f"## `sealroute {name}`\n\n{command.help}\n"
        for info in app.registered_commands:
            if info.hidden or info.callback is None:
                continue
            sub = info.name or info.callback.__name__.replace("_", "-")
            path = f"sealroute {name}" if command.single else f"sealroute {name} {sub}"
            yield from _command(path, info.callback, info.help)


def _command(path: str, function: Callable[..., Any], help_: str | None) -> Iterator[str]:
    parameters = list(_parameters(function))
    words = [shown for shown, _, is_option in parameters if not is_option]
    has_options = any(is_option for _, _, is_option in parameters)
    yield f"### `{' '.join([path, *words, *(['[OPTION ...]'] if has_options else [])])}`\n"
    yield f"{inspect.cleandoc(help_ or function.__doc__ or '')}\n"
    if parameters:
        yield "| | |\n|---|---|"
        yield from (f"| `{_cell(shown)}` | {_cell(text)} |" for shown, text, _ in parameters)
        yield ""


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, str, bool]]:
    """(how it is written, what it means, whether it is an option) for each, as the signature declares it to Typer."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, extras = hints[name], getattr(hints[name], "__metadata__", ())
        infos = [item for item in (*extras, parameter.default) if isinstance(item, (OptionInfo, ArgumentInfo))]
        if not infos:
            continue
        info = infos[0]
        kind = get_args(kind)[0] if extras else kind
        default = info.default if info is parameter.default else parameter.default
        required = default in (inspect.Parameter.empty, ...)
        if isinstance(info, ArgumentInfo):
            word = (info.metavar or name.upper()).strip("[]") + (" ..." if _is_list(kind) else "")
            yield (word if required else f"[{word}]"), info.help or "", False
            continue
        # Inside Annotated, the first name stands where Typer otherwise has the default.
        first = [info.default] if info is not parameter.default and isinstance(info.default, str) else []
        names = [word for word in (*first, *(info.param_decls or ())) if word.startswith("-")] or [
            f"--{name.replace('_', '-')}"
        ]
        notes = [info.help or ""]
        if required:
            notes.append("Required.")
        elif not isinstance(default, bool) and isinstance(default, (str, int, float)) and default != "":
            notes.append(f"Default: `{default}`.")
        yield ", ".join(names) + _value(kind, info), " ".join(notes), True


def _value(kind: Any, info: OptionInfo) -> str:
    """What follows an option's name; nothing for a flag."""
    inner = next((part for part in get_args(kind) if part is not type(None)), kind)
    inner = get_args(inner)[0] if get_args(inner) else inner
    if inner is bool:
        return ""
    if isinstance(inner, type) and issubclass(inner, Enum):
        return " " + "|".join(str(member.value) for member in inner)
    return f" {info.metavar or getattr(inner, '__name__', 'text').upper()}"


def _is_list(kind: Any) -> bool:
    return any(get_origin(part) in (list, tuple) for part in (kind, *get_args(kind)))


def _cmdlets() -> Iterator[str]:
    for module in CMDLET_MODULES:
        import_module(module).register_all()
    yield "## Exchange's cmdlets\n"
    yield (
        "Names of cmdlets and parameters in any case; a parameter may be cut short while it stays unambiguous. Every cmdlet\n"
        "has `-Output list|table|json`, `-Json` and `-?`; those that change something also `-WhatIf` and `-Confirm`.\n"
    )
    for cmdlet in all_cmdlets():
        yield from _cmdlet(cmdlet)


def _cmdlet(cmdlet: Cmdlet) -> Iterator[str]:
    own = {parameter.name for parameter in cmdlet.parameters}
    yield f"### `sealroute {cmdlet.name}`\n\n{cmdlet.synopsis}\n"
    yield "| | |\n|---|---|"
    for parameter in parameters_of(cmdlet):
        if parameter.name in own:
            allowed = f" Allowed: {parameter.allowed}." if parameter.allowed else ""
            required = " (required)" if parameter.required else ""
            yield f"| `-{parameter.name}`{required} | {_cell(parameter.help + allowed)} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
