"""Reading a cmdlet's arguments: PowerShell's command syntax as it arrives from any shell, already split and unquoted.

* Names of parameters are compared without regard to case, and may be cut short while they stay unambiguous.
* `-Name value`, `-Name:value`; a switch stands alone or has `:$true` / `:$false`; a flag does, or has its boolean after
  a space.  `--name` is read as `-Name`.
* Values without a name fill the positional parameters in their order.
* A list goes on after a comma: `-RecipientDomains contoso.com, fabrikam.com` is one value.
* What begins with `-` and a letter is a parameter; such a value is written `-Comment:-text`.  After `--` all are values.

Values stay text here: what a parameter accepts is known to the cmdlet's handler.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from sealroute.base.errors import InputError, OperatorError
from sealroute.faces.cli.output import Format, choose_format
from sealroute.policy.parameter_kinds import parse_boolean
from sealroute.policy.parameters import Parameter, Verb, split_list

_QUOTE = "In a POSIX shell put what begins with $ in single quotes: '$false'."
"""An unquoted `$false` is an unset shell variable: the value vanishes before we see it."""


class Takes(Enum):
    """What follows a parameter's name."""

    VALUE = "value"
    LIST = "list"
    SWITCH = "switch"
    FLAG = "boolean"
    """A Boolean of Exchange's that also may stand alone, like a switch."""


@dataclass(frozen=True, slots=True)
class CmdletParameter:
    """One parameter of a cmdlet."""

    name: str
    help: str
    takes: Takes = Takes.VALUE
    allowed: str = ""
    """What may be written, for the help."""
    position: int | None = None
    """Order among the values without a name."""
    required: bool = False


def of_table(parameters: Sequence[Parameter], verb: Verb) -> tuple[CmdletParameter, ...]:
    """A table's parameters as the New or Set cmdlet has them; New takes Name first."""
    return tuple(
        CmdletParameter(
            parameter.name,
            parameter.help,
            Takes.LIST if parameter.kind.many else Takes.VALUE,
            parameter.kind.allowed,
            position=0 if parameter.field == "name" and verb is Verb.NEW else None,
            required=parameter.field == "name" and verb is Verb.NEW,
        )
        for parameter in parameters
    )


@dataclass(frozen=True, slots=True)
class Bound:
    """A cmdlet's arguments after reading."""

    values: Mapping[str, str]
    """By the parameter's full name; a list is still one text (see `items`)."""
    switches: frozenset[str] = frozenset()
    """The names of the switches that are on."""
    output: Format | None = None
    confirm: bool | None = None
    """What -Confirm said; None when it was not given."""

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)

    def items(self, name: str) -> tuple[str, ...]:
        """The items of a list; empty when it was not given; raises OperatorError when one is empty."""
        if name not in self.values:
            return ()
        try:
            return split_list(self.values[name])
        except InputError as error:
            raise OperatorError.one(f"-{name}", f"{error}.") from None

    def on(self, name: str) -> bool:
        return name in self.switches

    @property
    def what_if(self) -> bool:
        return "WhatIf" in self.switches

    def format(self, default: Format) -> Format:
        return self.output or default


def read_arguments(name: str, parameters: Sequence[CmdletParameter], arguments: Sequence[str]) -> Bound:
    """Match arguments to the parameters of the cmdlet of that name; raises OperatorError."""
    reader = _Reader(name, parameters, arguments)
    reader.read()
    missing = [p.name for p in parameters if p.required and p.name not in reader.values]
    if missing and not reader.switches.get("Help"):
        raise OperatorError.one(f"-{missing[0]}", "it is required.", f"See {name} -? for all parameters.")
    on = frozenset(switch for switch, value in reader.switches.items() if value and switch not in ("Json", "Confirm"))
    return Bound(reader.values, on, reader.output(), reader.switches.get("Confirm"))


class _Reader:
    """Reads one command line from left to right."""

    def __init__(self, name: str, parameters: Sequence[CmdletParameter], arguments: Sequence[str]) -> None:
        self._parameters = parameters
        self._cmdlet = name
        self._rest = list(arguments)
        self._at = 0
        self._names_over = False
        self.values: dict[str, str] = {}
        self.switches: dict[str, bool] = {}

    def read(self) -> None:
        unnamed: list[str] = []
        while self._at < len(self._rest):
            word = self._rest[self._at]
            if word == "--" and not self._names_over:
                self._names_over = True
                self._at += 1
            elif self._is_name(word):
                self._at += 1
                self._read_named(word)
            else:
                unnamed.append(self._value_with_commas())
        self._place(unnamed)

    def _is_name(self, word: str) -> bool:
        bare = word.lstrip("-")
        return not self._names_over and word != bare and len(word) - len(bare) <= 2 and (bare[:1].isalpha() or bare == "?")

    def _read_named(self, word: str) -> None:
        name, colon, value = word.lstrip("-").partition(":")
        parameter = self._find(name)
        if parameter.name in self.values or parameter.name in self.switches:
            raise OperatorError.one(f"-{parameter.name}", "it is given more than once.")
        if parameter.takes is Takes.FLAG and not colon and self._at < len(self._rest) and _is_boolean(self._rest[self._at]):
            self.switches[parameter.name] = parse_boolean(self._next())
        elif parameter.takes in (Takes.SWITCH, Takes.FLAG):
            self.switches[parameter.name] = self._switch(parameter, value) if colon else True
        elif value:
            self._at -= 1
            self._rest[self._at] = value
            self.values[parameter.name] = self._value_with_commas() if parameter.takes is Takes.LIST else self._next()
        else:
            self._need_value(parameter)
            self.values[parameter.name] = self._value_with_commas() if parameter.takes is Takes.LIST else self._next()

    def _next(self) -> str:
        self._at += 1
        return self._rest[self._at - 1]

    def _need_value(self, parameter: CmdletParameter) -> None:
        if self._at == len(self._rest):
            raise OperatorError.one(f"-{parameter.name}", "it needs a value.", f"{allowed_of(parameter)} {_QUOTE}".lstrip())
        word = self._rest[self._at]
        if self._is_name(word):
            fix = f"{_QUOTE} A value that begins with a hyphen is written -{parameter.name}:{word}."
            raise OperatorError.one(f"-{parameter.name}", f"it needs a value, and {word} is a parameter.", fix)

    def _value_with_commas(self) -> str:
        """The next word, and those that a comma at its end or at their beginning joins to it."""
        text = self._next()
        while self._at < len(self._rest) and (text.endswith(",") or self._rest[self._at].startswith(",")):
            if self._is_name(self._rest[self._at]):
                break
            text += self._next()
        return text

    def _find(self, name: str) -> CmdletParameter:
        lower = "help" if name == "?" else name.lower()
        found = [p for p in self._parameters if p.name.lower().startswith(lower)]
        exact = [p for p in found if p.name.lower() == lower]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            names = ", ".join(f"-{p.name}" for p in found)
            raise OperatorError.one(f"-{name}", "it is ambiguous.", f"It could be {names}.")
        close = difflib.get_close_matches(lower, [p.name.lower() for p in self._parameters], n=1)
        meant = next((f"Did you mean -{p.name}?" for p in self._parameters if p.name.lower() in close), "")
        raise OperatorError.one(
            f"-{name}", "there is no such parameter.", meant or f"See {self._cmdlet} -? for all parameters."
        )

    def _switch(self, parameter: CmdletParameter, value: str) -> bool:
        try:
            return parse_boolean(value)
        except InputError as error:
            raise OperatorError.one(f"-{parameter.name}", f"{error}.", f"Allowed: $true, $false. {_QUOTE}") from None

    def _place(self, unnamed: list[str]) -> None:
        """Give the values without a name to the positional parameters not named already."""
        free = sorted((p for p in self._parameters if p.position is not None and p.name not in self.values), key=position_of)
        for parameter, value in zip(free, unnamed, strict=False):
            self.values[parameter.name] = value
        if extra := unnamed[len(free) :]:
            raise OperatorError.one(extra[0], "no parameter takes this value.", "Write it after the parameter it belongs to.")

    def output(self) -> Format | None:
        given = self.values.pop("Output", None)
        try:
            chosen = None if given is None else Format(given.lower())
        except ValueError:
            raise OperatorError.one("-Output", f"{given!r} is not a format.", "Allowed: list, table, json.") from None
        as_json = self.switches.get("Json", False)
        return choose_format(chosen, as_json, Format.LIST) if chosen or as_json else None


def _is_boolean(text: str) -> bool:
    try:
        parse_boolean(text)
    except InputError:
        return False
    return True


def position_of(parameter: CmdletParameter) -> int:
    return parameter.position or 0


def allowed_of(parameter: CmdletParameter) -> str:
    return f"Allowed: {parameter.allowed}." if parameter.allowed else ""
