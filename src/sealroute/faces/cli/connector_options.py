"""The options of `sealroute connector new` and `set`, made from the one table (policy/parameters).

Typer reads a function's signature; here the signature is made, so that a row added to the table is an option at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from sealroute.base.errors import InputError, OperatorError
from sealroute.policy import parameter_kinds as kinds
from sealroute.policy.parameters import Given, ListEdit, Parameter, Verb, accepted_by, split_list
from sealroute.policy.transport.parameters import accepted_by as rules_accepted_by


class TableCommand(TyperCommand):
    """A command whose boolean options may stand alone or as `--no-...`; click knows only one of the two."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spell_out_booleans(args))


_BOTH_TABLES = (*accepted_by(Verb.NEW | Verb.SET), *rules_accepted_by(Verb.NEW | Verb.SET))
_BOOLEANS = frozenset(parameter.option for parameter in _BOTH_TABLES if parameter.kind.name == kinds.BOOLEAN.name)
Accepted = Callable[[Verb], Sequence[Parameter]]
"""What a verb takes: policy/parameters.accepted_by, or that of transport rules."""


def spell_out_booleans(args: list[str]) -> list[str]:
    """`--no-enabled` as `--enabled=false`, and `--enabled` without a boolean after it as `--enabled=true`."""
    spelled: list[str] = []
    for position, word in enumerate(args):
        if word == "--":
            return spelled + args[position:]
        name = word.removeprefix("--")
        if word.startswith("--no-") and name.removeprefix("no-") in _BOOLEANS:
            spelled.append(f"--{name.removeprefix('no-')}=false")
        elif word.startswith("--") and name in _BOOLEANS and not _boolean_next(args, position):
            spelled.append(f"{word}=true")
        else:
            spelled.append(word)
    return spelled


def _boolean_next(args: list[str], position: int) -> bool:
    try:
        kinds.parse_boolean(args[position + 1])
    except (IndexError, InputError):
        return False
    return True


def _options(verb: Verb, accepted: Accepted) -> list[inspect.Parameter]:
    """One option for each parameter that the verb takes, and two more for each list that Set may edit."""
    options: list[inspect.Parameter] = []
    for parameter in accepted(verb):
        if parameter.field == "name" and verb is Verb.NEW:
            continue
        text = f"{parameter.help} Allowed: {parameter.kind.allowed}."
        options.append(_option("", parameter, text))
        if parameter.kind.many and verb is Verb.SET:
            for word in ("add", "remove"):
                help_text = f"{word.capitalize()} {'to' if word == 'add' else 'from'} {parameter.name}, leaving the rest."
                options.append(_option(word, parameter, help_text))
    return options


def _option(word: str, parameter: Parameter, help_text: str) -> inspect.Parameter:
    name, option_name = parameter.field, parameter.option
    if word:
        name, option_name = f"{word}_{name}", f"{word}-{option_name}"
    metavar = parameter.kind.name.replace(" ", "-").lower()
    option = typer.Option(f"--{option_name}", help=help_text, show_default=False, metavar=metavar)
    annotation: Any = Annotated[(list[str] | None) if parameter.kind.many else (str | None), option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def from_table(verb: Verb, accepted: Accepted = accepted_by) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the table's options in place of its `**options`; read them with `given_options`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
        signature = inspect.Signature([*own, *_options(verb, accepted)])

        @wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            command(*args, **kwargs)

        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in signature.parameters.values()}
        return run

    return decorate


def given_options(verb: Verb, options: Mapping[str, Any], accepted: Accepted = accepted_by) -> dict[str, Given]:
    """The table's options that were given, by Exchange name; raises OperatorError when a list is set and edited at once."""
    given: dict[str, Given] = {}
    for parameter in accepted(verb):
        value = options.get(parameter.field)
        if isinstance(value, list):
            value = ",".join(value)
        if value is not None:
            given[parameter.name] = value
        edit = ListEdit(_items(parameter, "add", options), _items(parameter, "remove", options))
        if edit.add or edit.remove:
            if value is not None:
                raise OperatorError.one(
                    parameter.name, "it is set and edited at once.", "Give the whole list, or what to add and remove."
                )
            given[parameter.name] = edit
    return given


def _items(parameter: Parameter, word: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    value = options.get(f"{word}_{parameter.field}")
    if not value:
        return ()
    try:
        return split_list(",".join(value))
    except InputError as error:
        raise OperatorError.one(parameter.name, f"{error}.") from None
