"""Commands the way Exchange's administrators type them: `Set-OutboundConnector "Contoso Bank" -SmtpDaneMode Mandatory`.

What a cmdlet is, the register of them, running one, and its help.  Names are taken in any case; how arguments are read is
in cmdlet_binding.  Every cmdlet has `-Output list|table|json`, `-Json` and `-?`; those that change something also `-WhatIf`
and `-Confirm`.  Exit codes: the handler's; 2 for unusable input.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.cmdlet_binding import Bound, CmdletParameter, Takes, allowed_of, position_of, read_arguments
from sealroute.faces.cli.output import report
from sealroute.policy.connector import Connector
from sealroute.ports import ConnectorStore, ExceptionStore, RuleStore

__all__ = [
    "UNUSABLE_INPUT",
    "Bound",
    "CliContext",
    "Cmdlet",
    "CmdletParameter",
    "Handler",
    "Takes",
    "all_cmdlets",
    "bind",
    "confirmed",
    "find_cmdlet",
    "help_text",
    "is_cmdlet_name",
    "parameters_of",
    "register",
    "run_cmdlet",
]
UNUSABLE_INPUT = 2
"""Exit code."""


class CliContext(Protocol):
    """What commands work on; the command line's entry point makes it from the settings."""

    @property
    def connectors(self) -> ConnectorStore: ...
    @property
    def exceptions(self) -> ExceptionStore: ...
    @property
    def rules(self) -> RuleStore: ...
    @property
    def organization(self) -> str: ...
    @property
    def actor(self) -> str:
        """Who is at the keyboard, for the record of changes."""
        ...

    @property
    def default_connector(self) -> Connector:
        """What applies where no connector matches; new connectors take RetrySchedule and MessageExpiration from it."""
        ...

    @property
    def accepted_domains(self) -> Sequence[str]:
        """The organisation's own domains, for connectors with AllAcceptedDomains."""
        ...

    def now(self) -> datetime: ...


Handler = Callable[[Bound, CliContext], int]
"""Does the work and returns the exit code; raises OperatorError for unusable input."""


@dataclass(frozen=True, slots=True)
class Cmdlet:
    """One command in Verb-Noun form."""

    name: str
    synopsis: str
    parameters: tuple[CmdletParameter, ...]
    handler: Handler = field(repr=False)
    changes: bool = False
    """It changes something, so it has -WhatIf and -Confirm."""


_COMMON = (
    CmdletParameter("Output", "How to show the answer.", allowed="list, table, json"),
    CmdletParameter("Json", "The same as -Output json.", Takes.SWITCH),
    CmdletParameter("Help", "Show this help; also -?.", Takes.SWITCH),
)
_CHANGING = (
    CmdletParameter("WhatIf", "Show what would change, and change nothing.", Takes.SWITCH),
    CmdletParameter("Confirm", "Ask before changing anything; -Confirm:$false never asks.", Takes.SWITCH),
)
_REGISTRY: dict[str, Cmdlet] = {}


def register(*cmdlets: Cmdlet) -> None:
    """Make the cmdlets known; the same name again replaces the earlier one."""
    for cmdlet in cmdlets:
        _REGISTRY[cmdlet.name.lower()] = cmdlet


def find_cmdlet(name: str) -> Cmdlet | None:
    return _REGISTRY.get(name.lower())


def all_cmdlets() -> list[Cmdlet]:
    """Every registered cmdlet, by name."""
    return sorted(_REGISTRY.values(), key=lambda cmdlet: cmdlet.name)


def is_cmdlet_name(word: str) -> bool:
    """Whether the word has a registered cmdlet's verb, as in `Get-Something`, whether or not it is one itself."""
    verb, hyphen, noun = word.lower().partition("-")
    return bool(hyphen and noun) and any(name.startswith(f"{verb}-") for name in _REGISTRY)


def run_cmdlet(argv: Sequence[str], context: CliContext) -> int:
    """Run `argv` (the cmdlet's name and its arguments); returns the exit code, with anything wrong told on stderr."""
    name, arguments = argv[0], argv[1:]
    cmdlet = find_cmdlet(name)
    if cmdlet is None:
        close = difflib.get_close_matches(name.lower(), _REGISTRY, n=1)
        hint = f"Did you mean {_REGISTRY[close[0]].name}?" if close else f"Known: {', '.join(c.name for c in all_cmdlets())}."
        report(OperatorError.one(name, "there is no such cmdlet.", hint))
        return UNUSABLE_INPUT
    try:
        bound = bind(cmdlet, arguments)
        if bound.on("Help"):
            sys.stdout.write(help_text(cmdlet))
            return 0
        return cmdlet.handler(bound, context)
    except OperatorError as error:
        report(error, cmdlet.name)
        return UNUSABLE_INPUT


def bind(cmdlet: Cmdlet, arguments: Sequence[str]) -> Bound:
    """Match arguments to the cmdlet's parameters; raises OperatorError."""
    return read_arguments(cmdlet.name, parameters_of(cmdlet), arguments)


def parameters_of(cmdlet: Cmdlet) -> tuple[CmdletParameter, ...]:
    """The cmdlet's own parameters and those that every cmdlet has."""
    return cmdlet.parameters + (_CHANGING if cmdlet.changes else ()) + _COMMON


def confirmed(bound: Bound, question: str, *, ask_unasked: bool = False) -> bool:
    """Whether to go ahead.

    Asks when -Confirm was given, or, with `ask_unasked`, at a terminal unless it was `-Confirm:$false`.  No answer is no.
    """
    ask = bound.confirm if bound.confirm is not None else ask_unasked and sys.stdin.isatty()
    if not ask:
        return True
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def help_text(cmdlet: Cmdlet) -> str:
    """What `-?` shows."""
    lines = [cmdlet.name, f"    {cmdlet.synopsis}", "", "Usage", f"    {cmdlet.name} {_usage(cmdlet)}", "", "Parameters"]
    for parameter in parameters_of(cmdlet):
        lines.append(f"    -{parameter.name}{' (required)' if parameter.required else ''}")
        lines.append(f"        {parameter.help}{' ' + allowed_of(parameter) if parameter.allowed else ''}")
    return "\n".join(lines) + "\n"


def _usage(cmdlet: Cmdlet) -> str:
    placed = sorted((p for p in cmdlet.parameters if p.position is not None), key=position_of)
    words = [f"<{p.name}>" if p.required else f"[<{p.name}>]" for p in placed]
    words += [f"-{p.name} <{p.takes.value}>" for p in cmdlet.parameters if p.required and p.position is None]
    return " ".join([*words, "[-Parameter value ...]"])
