"""Validate-OutboundConnector and `sealroute connector validate`: send the test mail, show each task, keep the result.

What is kept stands in the connector's audit, and `Get-OutboundConnector NAME -ValidationTasks` shows it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol, cast

from sealroute.base.errors import InputError, OperatorError
from sealroute.faces.cli import screen
from sealroute.faces.cli.cmdlets import CliContext
from sealroute.faces.cli.output import Format, emit, emit_json
from sealroute.policy.connector import Connector
from sealroute.policy.parameter_kinds import parse_mailbox
from sealroute.services import configure, exempt
from sealroute.services.validate import MAX_RECIPIENTS, validation_record
from sealroute.services.validation.model import TaskName, Validation

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1
_STYLE = {"Succeeded": "green", "Failed": "red", "NotApplicable": "dim"}


class Validator(Protocol):
    """What `sealroute.engine.open_validation` hands over."""

    async def __call__(self, recipients: Sequence[str]) -> Validation: ...


def validate_connector(context: CliContext, identity: str, recipients: Sequence[str], fmt: Format) -> int:
    """Validate, keep, print; exit code 0 when the connector is validated, 1 otherwise.  Raises OperatorError."""
    connector = configure.find(context.connectors, context.organization, identity)
    wanted = _addresses(recipients) or connector.validation_recipients
    if not wanted:
        fix = "Give -Recipients, or set the connector's ValidationRecipients."
        raise OperatorError.one("Recipients", "there is nobody to send the test mail to.", fix)
    if len(wanted) > MAX_RECIPIENTS:
        raise OperatorError.one("Recipients", f"{len(wanted)} are more than {MAX_RECIPIENTS}.", "Give fewer.")
    try:
        validation = asyncio.run(_run(context, connector, wanted))
    except InputError as error:
        raise OperatorError.one("Recipients", str(error)) from None
    record = validation_record(validation)
    show_validation(record, fmt)
    after = replace(connector, is_validated=validation.succeeded, last_validation_timestamp=validation.at)
    context.connectors.validated(connector, after, record, context.actor)
    return 0 if validation.succeeded else FAILED


def _addresses(given: Sequence[str]) -> tuple[str, ...]:
    """In compared form, each once.  Raises OperatorError naming what is no address."""
    try:
        return tuple(dict.fromkeys(map(parse_mailbox, given)))
    except InputError as error:
        raise OperatorError.one("Recipients", f"{error}.") from None


async def _run(context: CliContext, connector: Connector, recipients: Sequence[str]) -> Validation:
    opened: Callable[[Any, Callable[[str], Connector]], AbstractAsyncContextManager[Validator]]
    opened = import_module("sealroute.engine").open_validation
    now = context.now()

    def connector_for(domain: str) -> Connector:
        return exempt.in_force(context.exceptions, connector, domain, now)

    async with opened(cast(Any, context).settings, connector_for) as run:
        return await run(recipients)


def show_last_validation(context: CliContext, connector: Connector, fmt: Format) -> None:
    """What the last validation came to; raises OperatorError when there was none."""
    record = context.connectors.last_validation(connector.organization, connector.guid)
    if record is None:
        fix = "`Validate-OutboundConnector` does it and keeps the tasks."
        raise OperatorError.one("ValidationTasks", f"connector {connector.name!r} was never validated.", fix)
    show_validation(record, fmt)


def show_validation(record: Mapping[str, Any], fmt: Format) -> None:
    """The tasks below their next hop, host or address; what failed, on whose side, what to do; the outcome per recipient."""
    match fmt:
        case Format.JSON:
            emit_json(record)
        case Format.LIST:
            emit(record["Tasks"], fmt)
        case Format.TABLE:
            screen.show_trimmed(lambda out: _show(out, record))


def _show(out: Console, record: Mapping[str, Any]) -> None:
    from rich.table import Table

    domains = len({task["Domain"] for task in record["Tasks"]})
    for (domain, target), tasks in groupby(record["Tasks"], key=lambda task: (task["Domain"], task["Target"])):
        head = f"{target}, for {domain}" if domains > 1 and target != domain else target
        out.print(screen.text((head, "bold")))
        table = Table.grid(padding=(0, 2, 0, 0))
        for least in (15, max(len(name.value) for name in TaskName)):
            table.add_column(min_width=least, no_wrap=True)
        table.add_column(overflow="fold")
        for task in tasks:
            status = screen.text(("  " + task["Status"], _STYLE.get(task["Status"], "")))
            to = f"to {task['Recipient']}: " if task["Recipient"] else ""
            table.add_row(status, screen.text(task["TaskName"]), screen.text(to + task["Detail"]))
        out.print(table)
    told = {f"{task['Code']} {task['Sentence']}": task for task in record["Tasks"] if task["Code"]}
    for sentence, task in told.items():
        out.print()
        out.print(screen.text((sentence, "bold")))
        out.print(screen.text(f"  Whose side: {task['Side']}"))
        out.print(screen.text(f"  What to do: {task['Fix']}"))
    out.print()
    for mail in record["Recipients"]:
        word = "delivered" if mail["IsDelivered"] else "not delivered"
        out.print(screen.text(f"{mail['Recipient']}: {word}: {mail['Sentence']}"))
    for name in record["WithoutWay"]:
        out.print(screen.text(f"{name}: no mail could go over it"))
    outcome = ("validated", "green") if record["IsValidated"] else ("not validated", "red")
    out.print(screen.text(f"Connector {record['Connector']!r} ", outcome, f" at {record['At']}"))
