"""`sealroute rule new | set | get | list | enable | disable | remove | history`, the options made from the one table.

Every parameter of policy/transport/parameters is an option in kebab case (`--header-contains-words secret`); lists, booleans
and clearing are as for `sealroute connector`.  `rule import` and `rule test` are in rule_files.
Exit codes: 0, or 2 for unusable input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sealroute.base.times import rfc3339
from sealroute.faces.cli import rule_files
from sealroute.faces.cli.changes import MAX_HISTORY, WhatIfOption, changes_of, show_changes
from sealroute.faces.cli.connector_options import TableCommand, from_table, given_options
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import Format, JsonOption, OutputOption, choose_format
from sealroute.faces.cli.rule_files import stores_of
from sealroute.faces.cli.rule_show import show_plans, show_rules
from sealroute.policy.parameters import Given, Verb
from sealroute.policy.transport.parameters import accepted_by
from sealroute.policy.transport.rule import RuleState
from sealroute.ports import Change
from sealroute.services import configure_rules
from sealroute.services.configure_rules import RulePlan

app = typer.Typer(
    help="Transport rules: list, get, new, set, enable, disable, remove, test, import, history.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
IdentityArgument = Annotated[str, typer.Argument(help="The rule's name or GUID.", show_default=False)]


# ---------------------------------------------------------------------------------------------------------- the commands


@app.command("new", cls=TableCommand)
@from_table(Verb.NEW, accepted_by)
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The rule's unique name.", show_default=False)],
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    **options: Any,
) -> None:
    """Create a transport rule; it comes last unless it has a priority."""
    given: dict[str, Given] = {"Name": name} | given_options(Verb.NEW, options, accepted_by)
    _carry_out(ctx.obj, configure_rules.plan_new(stores_of(ctx.obj), given), (output, as_json), what_if)


@app.command("set", cls=TableCommand)
@from_table(Verb.SET, accepted_by)
def set_(
    ctx: typer.Context,
    identity: IdentityArgument,
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    **options: Any,
) -> None:
    """Change a transport rule; what is not given stays as it is."""
    given = given_options(Verb.SET, options, accepted_by)
    _carry_out(ctx.obj, configure_rules.plan_set(stores_of(ctx.obj), identity, given), (output, as_json), what_if)


@app.command("enable")
def enable(
    ctx: typer.Context,
    identity: IdentityArgument,
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a transport rule evaluated."""
    plan = configure_rules.plan_state(stores_of(ctx.obj), identity, RuleState.ENABLED)
    _carry_out(ctx.obj, plan, (output, as_json), what_if)


@app.command("disable")
def disable(
    ctx: typer.Context,
    identity: IdentityArgument,
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave a transport rule out of account; it stays as it is."""
    plan = configure_rules.plan_state(stores_of(ctx.obj), identity, RuleState.DISABLED)
    _carry_out(ctx.obj, plan, (output, as_json), what_if)


@app.command("remove")
def remove(
    ctx: typer.Context,
    identity: IdentityArgument,
    what_if: WhatIfOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a transport rule."""
    _carry_out(ctx.obj, configure_rules.plan_remove(stores_of(ctx.obj), identity), (output, as_json), what_if)


def _carry_out(context: Context, plan: RulePlan, output: tuple[Format | None, bool], what_if: bool) -> None:
    fmt = choose_format(*output, Format.TABLE)
    if not what_if:
        configure_rules.save(stores_of(context), [plan], context.actor)
    show_plans([plan], fmt, what_if=what_if, single=True)


@app.command("get")
def get(ctx: typer.Context, identity: IdentityArgument, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """Show one transport rule."""
    stores, fmt = stores_of(ctx.obj), choose_format(output, as_json, Format.LIST)
    show_rules([configure_rules.find(stores, identity)], stores.names(), fmt, single=True)


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """Show all transport rules, in the order in which they are evaluated."""
    stores, fmt = stores_of(ctx.obj), choose_format(output, as_json, Format.TABLE)
    found = stores.all()
    if not found and fmt is not Format.JSON:
        typer.echo("No transport rules: the recipient's domain alone chooses the connector.")
        return
    show_rules(found, stores.names(), fmt)


@app.command("history")
def history(
    ctx: typer.Context,
    identity: Annotated[str | None, typer.Argument(help="Only this rule's changes.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_HISTORY, help="How many changes at most.")] = 100,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say who changed what, the newest change first.

    JSON: At, Actor, Action, Rule, Changes (parameter, before, after).
    """
    context: Context = ctx.obj
    fmt = choose_format(output, as_json, Format.TABLE)
    names = stores_of(context).names()
    found = changes_of(context.rules, context.organization, identity, limit)
    show_changes([_change_row(change, names) for change in found], fmt)


def _change_row(change: Change, names: Mapping[str, str]) -> dict[str, Any]:
    """The change as JSON; a connector that there still is, by its name."""
    before, after = dict(change.before or {}), dict(change.after or {})
    for values in (before, after):
        if (route := values.get("RouteMessageOutboundConnector")) is not None:
            values["RouteMessageOutboundConnector"] = names.get(route, route)
    quiet = ("Identity", "WhenChangedUTC", "WhenCreatedUTC", "Guid", "Organization")
    changed = [
        {"parameter": key, "before": before.get(key), "after": after.get(key)}
        for key in dict.fromkeys((*before, *after))
        if key not in quiet and (before.get(key) or None) != (after.get(key) or None)
    ]
    at, action = rfc3339(change.at), change.action.removesuffix("Rule")
    return {"At": at, "Actor": change.actor, "Action": action, "Rule": change.connector, "Changes": changed}


app.command("import")(rule_files.import_)
app.command("test")(rule_files.try_)
