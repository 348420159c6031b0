"""`sealroute rule import` and `sealroute rule test`: rules from files, and what rules would have done."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import address_domain
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import Format, JsonOption, OutputOption, choose_format, emit_json
from sealroute.faces.cli.rule_show import show_plans, show_trials, trial_record
from sealroute.policy.transport.checks import check
from sealroute.policy.transport.rule import TransportRule
from sealroute.ports import TraceQuery
from sealroute.services import configure_rules
from sealroute.services.configure_rules import Stores
from sealroute.services.try_rules import Around, Trial, Trials

MAX_FILE_OCTETS = 64 * 1024 * 1024
MAX_TRIED = 5000


def stores_of(context: Context) -> Stores:
    return Stores(context.rules, context.connectors, context.organization)


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to read; `-` is standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show everything, and change nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace rules of the same name.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make rules of a file of Get-TransportRule (ConvertTo-Json or Export-Clixml) or of `rule list --json`: all, or none.

    A rule with a condition or action that Sealroute does not have is refused: without it, it would be another rule.
    """
    context: Context = ctx.obj
    stores = stores_of(context)
    plans = configure_rules.plan_import(stores, configure_rules.read_file(stores, file, _octets(file)), replacing=replace)
    if not dry_run:
        configure_rules.save(stores, plans, context.actor)
    show_plans(plans, choose_format(output, as_json, Format.TABLE), what_if=dry_run)


def _octets(name: str) -> bytes:
    """The file's octets; raises OperatorError when it is too large or cannot be read."""
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(MAX_FILE_OCTETS + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise OperatorError.one(name, f"it cannot be read: {error.strerror or error}.") from None
    if len(raw) > MAX_FILE_OCTETS:
        raise OperatorError.one(name, f"it has more than {MAX_FILE_OCTETS} octets.")
    return raw


# ------------------------------------------------------------------------------------------------------------- test


def try_(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE]...", help="Only these, disabled ones and Audit ones as well.")
    ] = None,
    file: Annotated[str, typer.Option(help="The rules of this file instead, as `rule import` reads it.")] = "",
    message: Annotated[str, typer.Option(help="Try them on this message (.eml) instead of on the trace.")] = "",
    sender: Annotated[str, typer.Option("--from", help="With --message: its envelope sender.")] = "",
    to: Annotated[list[str] | None, typer.Option(help="With --message: a recipient. Repeatable.")] = None,
    since: Annotated[str, typer.Option(help="Received after: a date, a moment, or a span back such as 12h or 7d.")] = "2d",
    until: Annotated[str, typer.Option(help="Received before.", show_default="now")] = "",
    recipient: Annotated[list[str] | None, typer.Option(help="Sent to this address; * is a wildcard. Repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_TRIED, help="How many at most.")] = 1000,
    everything: Annotated[bool, typer.Option("--all", help="Show those that would not have changed, too.")] = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Show which messages of the trace the rules would have sent another way or under other demands. Changes nothing.

    Without a name or file, all enabled rules are tried. The trace keeps envelope, size and subject: of a rule that asks for
    more it is said that it cannot be told. "Was" is what the last attempt was made under, else what applies without rules.

    JSON: per message messageTraceId, received, sender, recipient, subject, changes, was, would (connector, smtp_dane_mode,
    mta_sts_mode, tls_settings), rules (name, version, did, uncertain), cannotBeTold (rule, conditions, why), wouldIfMet.
    """
    context: Context = ctx.obj
    trials = Trials(_rules(context, names or [], file), _around(context))
    if message:
        found = _on_message(trials, message, sender, to or [])
    else:
        if sender or to:
            raise OperatorError.one("--from, --to", "they belong to --message.", "--recipient filters the trace.")
        now = context.now()
        end = screen.parse_moment("--until", until, now) if until else now + timedelta(days=1)
        start = screen.parse_moment("--since", since, now)
        traces = context.store.traces
        rows = traces.search(TraceQuery(start, end, recipients=tuple(recipient or ()), limit=limit))
        found = [trial for row in rows if (trial := trials.traced(row, traces)) is not None]
    if as_json:
        emit_json([trial_record(trial) for trial in found])
    else:
        show_trials(found, everything=everything or bool(message))


def _rules(context: Context, names: list[str], file: str) -> list[TransportRule]:
    stores = stores_of(context)
    if file and names:
        raise OperatorError.one("--file", "it stands beside names of rules.", "Give one of the two.")
    if not file:
        rules = [configure_rules.find(stores, name) for name in names]
        return rules or [rule for rule in stores.all() if rule.enabled]
    rules = configure_rules.read_file(stores, file, _octets(file))
    targets = {connector.guid: connector for connector in context.connectors.all(context.organization)}
    problems = []
    for rule in rules:
        # Beside its siblings in the file, not beside the rules that are stored.
        target = targets.get(rule.route_message_outbound_connector or "")
        problems += [problem for problem in check(rule, rules, target).problems if problem.where != "Priority"]
    if problems:
        raise OperatorError(*problems)
    return rules


def _around(context: Context) -> Around:
    now = context.now()
    exceptions = [item for item in context.exceptions.all(context.organization) if item.in_force(now)]
    connectors = context.connectors.all(context.organization)
    return Around(connectors, context.default_connector, context.accepted_domains, exceptions)


def _on_message(trials: Trials, name: str, sender: str, to: list[str]) -> list[Trial]:
    if not to:
        raise OperatorError.one("--to", "it is required with --message.", "Name a recipient.")
    content = _octets(name)
    if b"\r\n" not in content[:100_000]:
        content = content.replace(b"\n", b"\r\n")  # as it is after DATA
    for address in to:
        try:
            address_domain(address)
        except InputError as error:
            raise OperatorError.one("--to", f"{error}.", "Give an address such as user@contoso.com.") from None
    return [trials.message(content, sender, address) for address in to]
