"""New-, Set-, Get-, Remove- and Validate-OutboundConnector, their parameters made from the one table (policy/parameters).

Get shows one connector as a list and several as a table; New shows the connector it made; Set and Remove show what changed.
A connector in test mode is hidden from Get unless it is asked for by name or with -IncludeTestModeConnectors.

Validate sends a test mail through delivery's own engine, opens every other next hop, and keeps the tasks with their time
(connector_validate); Get shows them again with -ValidationTasks.
"""

from __future__ import annotations

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.cmdlet_binding import of_table
from sealroute.faces.cli.cmdlets import Bound, CliContext, Cmdlet, CmdletParameter, Takes, confirmed, register
from sealroute.faces.cli.connector_show import show_connectors, show_plan
from sealroute.faces.cli.connector_validate import show_last_validation, validate_connector
from sealroute.faces.cli.output import Format, warn
from sealroute.policy.parameters import Verb, accepted_by
from sealroute.services import configure


def _parameters(verb: Verb) -> tuple[CmdletParameter, ...]:
    return of_table(accepted_by(verb), verb)


def _identity(*, required: bool) -> CmdletParameter:
    return CmdletParameter("Identity", "The connector's name or GUID.", position=0, required=required)


def _new(bound: Bound, context: CliContext) -> int:
    plan = configure.plan_new(
        context.connectors, context.organization, bound.values, context.now(), defaults=context.default_connector
    )
    if bound.what_if:
        show_plan(plan, bound.format(Format.TABLE), what_if=True)
        return 0
    if confirmed(bound, f"Create connector {plan.subject.name!r}?"):
        stored = configure.save(context.connectors, plan, context.actor)
        warn(plan.warnings)
        show_connectors([stored or plan.subject], bound.format(Format.LIST), single=True)
    return 0


def _set(bound: Bound, context: CliContext) -> int:
    given = {name: value for name, value in bound.values.items() if name != "Identity"}
    plan = configure.plan_set(context.connectors, context.organization, bound.get("Identity"), given, context.now())
    return _carry_out(plan, bound, context, f"Change connector {plan.subject.name!r}?")


def _remove(bound: Bound, context: CliContext) -> int:
    plan = configure.plan_remove(context.connectors, context.organization, bound.get("Identity"))
    return _carry_out(plan, bound, context, f"Remove connector {plan.subject.name!r}?", ask_unasked=True)


def _carry_out(plan: configure.Plan, bound: Bound, context: CliContext, question: str, *, ask_unasked: bool = False) -> int:
    if bound.what_if:
        show_plan(plan, bound.format(Format.TABLE), what_if=True)
    elif confirmed(bound, question, ask_unasked=ask_unasked):
        configure.save(context.connectors, plan, context.actor)
        show_plan(plan, bound.format(Format.TABLE))
    return 0


def _get(bound: Bound, context: CliContext) -> int:
    identity = bound.get("Identity")
    if bound.on("ValidationTasks"):
        if not identity:
            raise OperatorError.one("ValidationTasks", "it shows one connector's.", "Give its Identity.")
        connector = configure.find(context.connectors, context.organization, identity)
        show_last_validation(context, connector, bound.format(Format.TABLE))
        return 0
    if identity:
        found = [configure.find(context.connectors, context.organization, identity)]
    else:
        include = bound.on("IncludeTestModeConnectors")
        found = configure.connectors(context.connectors, context.organization, include_test_mode=include)
    default = Format.LIST if len(found) == 1 else Format.TABLE
    show_connectors(found, bound.format(default), single=bool(identity))
    return 0


def _validate(bound: Bound, context: CliContext) -> int:
    return validate_connector(context, bound.get("Identity"), bound.items("Recipients"), bound.format(Format.TABLE))


CMDLETS = (
    Cmdlet("New-OutboundConnector", "Create an outbound connector.", _parameters(Verb.NEW), _new, changes=True),
    Cmdlet(
        "Set-OutboundConnector",
        "Change an outbound connector; what is not given stays as it is.",
        (_identity(required=True), *_parameters(Verb.SET)),
        _set,
        changes=True,
    ),
    Cmdlet(
        "Get-OutboundConnector",
        "Show one outbound connector, or all.",
        (
            _identity(required=False),
            CmdletParameter("IncludeTestModeConnectors", "Show those in test mode as well.", Takes.FLAG),
            CmdletParameter("ValidationTasks", "Show what the connector's last validation came to, task by task.", Takes.FLAG),
        ),
        _get,
    ),
    Cmdlet("Remove-OutboundConnector", "Remove an outbound connector.", (_identity(required=True),), _remove, changes=True),
    Cmdlet(
        "Validate-OutboundConnector",
        "Send a test mail through a connector, open its other next hops, and show each task.",
        (
            _identity(required=True),
            CmdletParameter("Recipients", "Who gets the test mail; else the connector's ValidationRecipients.", Takes.LIST),
        ),
        _validate,
    ),
)


def register_all() -> None:
    """Make them known to the command line."""
    register(*CMDLETS)
