"""Validate-OutboundConnector and `sealroute connector validate`: send the test mail, show each task, keep the result."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Protocol, cast

from sealroute.base.errors import InputError, OperatorError
from sealroute.faces.cli.cmdlets import CliContext
from sealroute.faces.cli.output import Format, emit, printable
from sealroute.policy.connector import Connector
from sealroute.services import configure
from sealroute.services.validate import MAX_RECIPIENTS, Validation, outcome

FAILED = 1


class Validator(Protocol):
    """What `sealroute.app.open_validation` hands over."""

    async def __call__(self, recipients: Sequence[str]) -> list[Validation]: ...


def validate_connector(context: CliContext, identity: str, recipients: Sequence[str], fmt: Format) -> int:
    """Validate, print, keep; exit code 0 when all mail got through, 1 otherwise.  Raises OperatorError."""
    connector = configure.find(context.connectors, context.organization, identity)
    wanted = tuple(recipients) or connector.validation_recipients
    if not wanted:
        fix = "Give -Recipients, or set the connector's ValidationRecipients."
        raise OperatorError.one("Recipients", "there is nobody to send the test mail to.", fix)
    if len(wanted) > MAX_RECIPIENTS:
        raise OperatorError.one("Recipients", f"{len(wanted)} are more than {MAX_RECIPIENTS}.", "Give fewer.")
    try:
        results = asyncio.run(_run(context, connector, wanted))
    except InputError as error:
        raise OperatorError.one("Recipients", str(error)) from None
    show(results, fmt)
    given = outcome(results, context.now())
    plan = configure.plan_set(context.connectors, context.organization, connector.guid, given, context.now())
    configure.save(context.connectors, plan, context.actor)
    return 0 if all(result.delivered for result in results) else FAILED


async def _run(context: CliContext, connector: Connector, recipients: Sequence[str]) -> list[Validation]:
    opened: Callable[[Any, Connector], AbstractAsyncContextManager[Validator]] = import_module("sealroute.app").open_validation
    async with opened(cast(Any, context).settings, connector) as run:
        return await run(recipients)


def show(results: Sequence[Validation], fmt: Format) -> None:
    """The tasks as rows, then one line per recipient."""
    rows = [
        {
            "Recipient": result.recipient,
            "TaskName": task.name,
            "IsTaskSuccessful": task.succeeded,
            "Target": task.target,
            "Detail": task.detail,
        }
        for result in results
        for task in result.tasks
    ]
    emit(rows, fmt)
    if fmt is not Format.JSON:
        for result in results:
            word = "delivered" if result.delivered else "not delivered"
            sys.stdout.write(f"{printable(result.recipient)}: {word}: {printable(result.sentence)}\n")
