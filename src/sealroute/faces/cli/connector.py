"""`sealroute connector new | set | get | list | remove | validate | match | history`, the options made from the one table.

Every parameter of policy/parameters is an option in kebab case (`--smtp-dane-mode mandatory`).  Lists take commas or
repetition; `set` also has `--add-...` and `--remove-...` for them.  A boolean takes its value, stands alone for true, or
has `--no-...` for false.  An empty value clears.  Exit codes: 0, or 2 for unusable input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec, cast

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import address_domain
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.analyze_connectors import foresight
from sealroute.faces.cli.changes import MAX_HISTORY, WhatIfOption, changes_of, show_changes
from sealroute.faces.cli.cmdlets import UNUSABLE_INPUT, CliContext
from sealroute.faces.cli.connector_options import TableCommand, from_table, given_options
from sealroute.faces.cli.connector_show import show_connectors, show_plan
from sealroute.faces.cli.connector_validate import show_last_validation, validate_connector
from sealroute.faces.cli.foretold_screen import show_foretold
from sealroute.faces.cli.output import Format, JsonOption, OutputOption, choose_format, emit, report
from sealroute.faces.rule_words import foretold_record
from sealroute.policy.parameters import Given, Verb
from sealroute.ports import Change
from sealroute.services import configure

app = typer.Typer(name="connector", help="Outbound connectors: which domains, which way, how strictly.", no_args_is_help=True)
P = ParamSpec("P")

IdentityArgument = Annotated[str, typer.Argument(help="The connector's name or GUID.", show_default=False)]


def _told(command: Callable[P, None]) -> Callable[P, None]:
    """Turn OperatorError into its problems on stderr and exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except OperatorError as error:
            report(error)
            raise typer.Exit(UNUSABLE_INPUT) from None

    return run


def _context(ctx: typer.Context) -> CliContext:
    return cast(CliContext, ctx.obj)


# ---------------------------------------------------------------------------------------------------------- the commands


@app.command("new", cls=TableCommand)
@_told
@from_table(Verb.NEW)
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The connector's unique name.", show_default=False)],
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    **options: Any,
) -> None:
    """Create a connector."""
    context, fmt = _context(ctx), choose_format(output, as_json, Format.TABLE)
    given: dict[str, Given] = {"Name": name} | given_options(Verb.NEW, options)
    plan = configure.plan_new(
        context.connectors, context.organization, given, context.now(), defaults=context.default_connector
    )
    _carry_out(context, plan, fmt, what_if)


@app.command("set", cls=TableCommand)
@_told
@from_table(Verb.SET)
def set_(
    ctx: typer.Context,
    identity: IdentityArgument,
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    **options: Any,
) -> None:
    """Change a connector; what is not given stays as it is."""
    context, fmt = _context(ctx), choose_format(output, as_json, Format.TABLE)
    plan = configure.plan_set(
        context.connectors, context.organization, identity, given_options(Verb.SET, options), context.now()
    )
    _carry_out(context, plan, fmt, what_if)


@app.command("remove")
@_told
def remove(
    ctx: typer.Context,
    identity: IdentityArgument,
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a connector."""
    context, fmt = _context(ctx), choose_format(output, as_json, Format.TABLE)
    _carry_out(context, configure.plan_remove(context.connectors, context.organization, identity), fmt, what_if)


def _carry_out(context: CliContext, plan: configure.Plan, fmt: Format, what_if: bool) -> None:
    if not what_if:
        configure.save(context.connectors, plan, context.actor)
    show_plan(plan, fmt, what_if=what_if)


@app.command("get")
@_told
def get(
    ctx: typer.Context,
    identity: IdentityArgument,
    validation_tasks: Annotated[
        bool, typer.Option("--validation-tasks", help="Show what its last validation came to, task by task.")
    ] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one connector."""
    context, fmt = _context(ctx), choose_format(output, as_json, Format.TABLE if validation_tasks else Format.LIST)
    if validation_tasks:
        connector = configure.find(context.connectors, context.organization, identity)
        show_last_validation(context, connector, fmt)
        return
    show_connectors([configure.find(context.connectors, context.organization, identity)], fmt, single=True)


@app.command("list")
@_told
def list_(
    ctx: typer.Context,
    include_test_mode: Annotated[bool, typer.Option("--include-test-mode", help="Show those in test mode as well.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all connectors."""
    context, fmt = _context(ctx), choose_format(output, as_json, Format.TABLE)
    found = configure.connectors(context.connectors, context.organization, include_test_mode=include_test_mode)
    if not found and fmt is not Format.JSON:
        typer.echo("No connectors: the default applies to all mail, MX routing with both modes Opportunistic.")
        return
    show_connectors(found, fmt)


@app.command("validate")
@_told
def validate(
    ctx: typer.Context,
    identity: IdentityArgument,
    recipient: Annotated[
        list[str] | None, typer.Option(help="Who gets the test mail; else the connector's ValidationRecipients.")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test mail through a connector, open its other next hops, and show each task.

    Exit status 1 when a mail does not get through, or no mail could go over one of the next hops.  The tasks are kept:
    `sealroute connector get IDENTITY --validation-tasks`.  JSON: Connector, At, IsValidated, Recipients (Recipient,
    IsDelivered, Sentence), WithoutWay (next hops and hosts that cannot be used), Tasks (TaskName, Status: Succeeded, Failed or
    NotApplicable, IsTaskSuccessful, Domain, Recipient, Target, Detail; of a failure also Code, Reason, Sentence, Side, Fix).
    """
    fmt = choose_format(output, as_json, Format.TABLE)
    raise typer.Exit(validate_connector(_context(ctx), identity, recipient or (), fmt))


@app.command("match")
@_told
def match(
    ctx: typer.Context,
    recipient: Annotated[str, typer.Argument(help="A mail address.", show_default=False)],
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which connector a recipient's mail goes through, and why; and which transport rules may change that for a message.

    JSON: recipient, domain, connector, guid, why, considered (every connector that matches, best first), byDomain (the one
    chosen of them; the default one when none matches), smtpDaneMode, mtaStsMode, tlsSettings (all as in force), exception (the
    id of the timed exception in force, or null), transportRules.  Rules that certainly apply are carried out in all this.
    transportRules are these and those that may apply, in order: rule, guid, version, priority, mode, applies ("certainly" or
    "depending on the message"), dependsOn (conditions and exceptions by parameter), did (each change), connector, smtpDaneMode,
    mtaStsMode, tlsSettings (for a message that meets it and no other that depends on the message), stops, leftOutBy (rules
    before it that depend on the message and stop).
    """
    context, fmt = _context(ctx), choose_format(output, as_json, Format.LIST)
    try:
        domain = address_domain(recipient)
    except InputError as error:
        raise OperatorError.one("recipient", f"{error}.", "Give an address such as user@contoso.com.") from None
    course = foresight(context).of(domain)
    connector, rules = course.connector, course.rules()
    record: dict[str, Any] = {
        "recipient": recipient,
        "domain": domain,
        "connector": connector.name,
        "guid": connector.guid,
        "why": course.choice.why,
        "considered": list(course.choice.considered),
        "byDomain": course.own.name,
        "smtpDaneMode": connector.smtp_dane_mode.value,
        "mtaStsMode": connector.mta_sts_mode.value,
        "tlsSettings": connector.tls_settings.value if connector.tls_settings else None,
        "exception": connector.exception_id or None,
    }
    if fmt is Format.JSON:
        record["transportRules"] = [foretold_record(told) for told in rules]
    emit([record], fmt, single=True)
    if rules and fmt is not Format.JSON:
        screen.show_trimmed(lambda out: show_foretold(rules, out))


@app.command("history")
@_told
def history(
    ctx: typer.Context,
    identity: Annotated[str | None, typer.Argument(help="Only this connector's changes.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_HISTORY, help="How many changes at most.")] = 100,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say who changed what, the newest change first.

    JSON: At, Actor, Action, Connector, Changes (of Set: parameter, before, after).
    """
    context, fmt = _context(ctx), choose_format(output, as_json, Format.TABLE)
    found = changes_of(context.connectors, context.organization, identity, limit)
    show_changes([_change_row(change) for change in found], fmt)


def _change_row(change: Change) -> dict[str, Any]:
    changed: list[dict[str, Any]] = []
    if change.before is not None and change.after is not None:
        for key, after in change.after.items():
            before = change.before.get(key)
            if before != after and key not in ("Identity", "WhenChangedUTC"):
                changed.append({"parameter": key, "before": before, "after": after})
    return {
        "At": rfc3339(change.at),
        "Actor": change.actor,
        "Action": change.action,
        "Connector": change.connector,
        "Changes": changed,
    }
