"""New-, Set-, Get-, Enable-, Disable- and Remove-TransportRule, their parameters made from the one table.

Get shows one rule as a list and several as a table; New shows the rule it made; the others show what changed.
"""

from __future__ import annotations

from sealroute.faces.cli.cmdlet_binding import of_table
from sealroute.faces.cli.cmdlets import Bound, CliContext, Cmdlet, CmdletParameter, confirmed, register
from sealroute.faces.cli.output import Format, warn
from sealroute.faces.cli.rule_show import show_plans, show_rules
from sealroute.policy.parameters import Verb
from sealroute.policy.transport.parameters import accepted_by
from sealroute.policy.transport.rule import RuleState
from sealroute.services import configure_rules
from sealroute.services.configure_rules import RulePlan, Stores


def _parameters(verb: Verb) -> tuple[CmdletParameter, ...]:
    return of_table(accepted_by(verb), verb)


def _identity(*, required: bool) -> CmdletParameter:
    return CmdletParameter("Identity", "The rule's name or GUID.", position=0, required=required)


def _stores(context: CliContext) -> Stores:
    return Stores(context.rules, context.connectors, context.organization)


def _new(bound: Bound, context: CliContext) -> int:
    stores = _stores(context)
    plan = configure_rules.plan_new(stores, bound.values)
    if bound.what_if:
        show_plans([plan], bound.format(Format.TABLE), what_if=True, single=True)
        return 0
    if confirmed(bound, f"Create rule {plan.subject.name!r}?"):
        configure_rules.save(stores, [plan], context.actor)
        warn(plan.warnings)
        stored = configure_rules.find(stores, plan.subject.guid)
        show_rules([stored], stores.names(), bound.format(Format.LIST), single=True)
    return 0


def _set(bound: Bound, context: CliContext) -> int:
    given = {name: value for name, value in bound.values.items() if name != "Identity"}
    plan = configure_rules.plan_set(_stores(context), bound.get("Identity"), given)
    return _carry_out(plan, bound, context, f"Change rule {plan.subject.name!r}?")


def _enable(bound: Bound, context: CliContext) -> int:
    plan = configure_rules.plan_state(_stores(context), bound.get("Identity"), RuleState.ENABLED)
    return _carry_out(plan, bound, context, f"Enable rule {plan.subject.name!r}?")


def _disable(bound: Bound, context: CliContext) -> int:
    plan = configure_rules.plan_state(_stores(context), bound.get("Identity"), RuleState.DISABLED)
    return _carry_out(plan, bound, context, f"Disable rule {plan.subject.name!r}?", ask_unasked=True)


def _remove(bound: Bound, context: CliContext) -> int:
    plan = configure_rules.plan_remove(_stores(context), bound.get("Identity"))
    return _carry_out(plan, bound, context, f"Remove rule {plan.subject.name!r}?", ask_unasked=True)


def _carry_out(plan: RulePlan, bound: Bound, context: CliContext, question: str, *, ask_unasked: bool = False) -> int:
    if bound.what_if:
        show_plans([plan], bound.format(Format.TABLE), what_if=True, single=True)
    elif confirmed(bound, question, ask_unasked=ask_unasked):
        configure_rules.save(_stores(context), [plan], context.actor)
        show_plans([plan], bound.format(Format.TABLE), single=True)
    return 0


def _get(bound: Bound, context: CliContext) -> int:
    stores, identity = _stores(context), bound.get("Identity")
    found = [configure_rules.find(stores, identity)] if identity else stores.all()
    state = bound.get("State").lower()
    found = [rule for rule in found if not state or rule.state.value.lower() == state]
    default = Format.LIST if len(found) == 1 else Format.TABLE
    show_rules(found, stores.names(), bound.format(default), single=bool(identity) and bool(found))
    return 0


_ONE = (_identity(required=True),)
CMDLETS = (
    Cmdlet("New-TransportRule", "Create a transport rule.", _parameters(Verb.NEW), _new, changes=True),
    Cmdlet(
        "Set-TransportRule", "Change a transport rule; what is not given stays as it is.",
        (*_ONE, *_parameters(Verb.SET)), _set, changes=True,
    ),
    Cmdlet(
        "Get-TransportRule", "Show one transport rule, or all.",
        (_identity(required=False), CmdletParameter("State", "Only rules in this state.", allowed="Enabled, Disabled")), _get,
    ),
    Cmdlet("Enable-TransportRule", "Have a transport rule evaluated.", _ONE, _enable, changes=True),
    Cmdlet("Disable-TransportRule", "Leave a transport rule out of account.", _ONE, _disable, changes=True),
    Cmdlet("Remove-TransportRule", "Remove a transport rule.", _ONE, _remove, changes=True),
)  # fmt: skip


def register_all() -> None:
    """Make them known to the command line."""
    register(*CMDLETS)
