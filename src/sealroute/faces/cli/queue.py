"""`sealroute queue`: what waits and why, and steering it.

A message waits in groups, one per recipient domain.  Ids are message ids (all groups) or group ids.  Steering touches only
groups that nobody is working on at that moment, and says so when there were others.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer

from sealroute.base.errors import OperatorError
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json
from sealroute.faces.cli.queue_destinations import DomainOption, destinations, domain_pattern
from sealroute.policy.record import finding_record
from sealroute.ports import GroupState, QueueAdmin, QueueItem

app = typer.Typer(
    help="Mail that waits: list, show, retry, hold, release, remove, destinations.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
ALL = 1_000_000
"""More than a queue holds."""

IdsArgument = Annotated[list[str] | None, typer.Argument(help="Message or group ids.", show_default=False)]
SenderOption = Annotated[str | None, typer.Option("--sender", help="Only mail from this address; * is a wildcard.")]
StateOption = Annotated[
    GroupState | None, typer.Option("--state", help="Only queued, active or suspended.", case_sensitive=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that waits.")]
_STATE_WORDS = {
    GroupState.QUEUED: ("queued", ""),
    GroupState.ACTIVE: ("sending", "cyan"),
    GroupState.SUSPENDED: ("on hold", "yellow"),
}


@app.command("list")
def list_(
    ctx: typer.Context,
    domain: DomainOption = None,
    state: StateOption = None,
    sender: SenderOption = None,
    limit: Annotated[int, typer.Option(min=1, max=ALL, help="How many at most.")] = 1000,
    as_json: screen.JsonFlag = False,
) -> None:
    """List what waits, the oldest first, each with the reason."""
    context: Context = ctx.obj
    items = context.store.queue.find(domain=domain_pattern(domain), state=state, sender=sender, limit=limit)
    if as_json:
        emit_json([item_record(item) for item in items])
        return
    out, now = screen.console(), context.now()
    if not items:
        out.print("Nothing waits." if not (domain or state or sender) else "Nothing that waits matches.")
        return
    out.print(screen.text((_LINE.format("ID", "AGE", "SIZE", "TRIES", "NEXT TRY", "STATE"), "bold")))
    for item in items:
        _print_row(item, now)
    counts = Counter(_STATE_WORDS[item.state][0] for item in items)
    out.print(f"{screen.plural(len(items), 'entry').replace('entrys', 'entries')}: ", end="")
    out.print(
        ", ".join(f"{count} {word}" for word, count in counts.items()) + (" (limit reached)" if len(items) == limit else "")
    )


@app.command()
def show(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Message or group id.")],
    as_json: screen.JsonFlag = False,
) -> None:
    """Tell everything about one waiting message: recipients, reason, what would fix it, the last attempt."""
    context: Context = ctx.obj
    items = context.store.queue.show(identity)
    if not items:
        fix = f"If it has left the queue, `sealroute trace {identity}` tells what became of it."
        raise OperatorError.one(identity, "nothing in the queue has this id.", fix)
    items = [_with_expiry(context, item) for item in items]
    attempts = {item.group.id: _last_attempt(context, item) for item in items}
    if as_json:
        emit_json([{**item_record(item), "last_attempt": attempts[item.group.id]} for item in items])
        return
    for item in items:
        _print_story(item, attempts[item.group.id], context.now())


@app.command()
def retry(
    ctx: typer.Context,
    ids: IdsArgument = None,
    domain: DomainOption = None,
    everything: AllOption = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Try again now instead of at the next time."""
    context: Context = ctx.obj
    items = _chosen(context.store.queue, ids, domain, everything)
    changed = context.store.queue.retry(_ids(items), context.now()) if items else 0
    _report("due now", changed, items, {GroupState.QUEUED}, as_json)


@app.command()
def hold(
    ctx: typer.Context,
    ids: IdsArgument = None,
    domain: DomainOption = None,
    everything: AllOption = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Put on hold: it stays in the queue and is not tried until released."""
    context: Context = ctx.obj
    items = _chosen(context.store.queue, ids, domain, everything)
    changed = context.store.queue.hold(_ids(items)) if items else 0
    _report("put on hold", changed, items, {GroupState.QUEUED}, as_json)


@app.command()
def release(
    ctx: typer.Context,
    ids: IdsArgument = None,
    domain: DomainOption = None,
    everything: AllOption = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Let go on what was put on hold; it is tried at once."""
    context: Context = ctx.obj
    items = _chosen(context.store.queue, ids, domain, everything)
    changed = context.store.queue.release(_ids(items), context.now()) if items else 0
    _report("released", changed, items, {GroupState.SUSPENDED}, as_json)


@app.command()
def remove(
    ctx: typer.Context,
    ids: IdsArgument = None,
    domain: DomainOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Drop without telling the sender; the trace keeps a record of who did it."""
    context: Context = ctx.obj
    items = _chosen(context.store.queue, ids, domain, everything)
    if items and not yes:
        if not sys.stdin.isatty() and not ids:
            raise OperatorError.one("queue remove", f"this would drop {_entries(len(items))}.", "Say --yes if you mean it.")
        if sys.stdin.isatty():
            typer.confirm(f"Drop {_entries(len(items))} without telling the sender?", abort=True, err=True)
    changed = context.store.queue.remove(_ids(items), context.now(), context.actor) if items else 0
    _report("removed", changed, items, {GroupState.QUEUED, GroupState.SUSPENDED}, as_json)


app.command()(destinations)

# ----------------------------------------------------------------------------------------------------------- choosing


def _chosen(queue: QueueAdmin, ids: Sequence[str] | None, domain: str | None, everything: bool) -> list[QueueItem]:
    """The groups that a command is about; raises OperatorError when it names none, or an id that does not wait."""
    ways = sum((bool(ids), domain is not None, everything))
    if ways != 1:
        what = "say which mail." if ways == 0 else "these cannot be combined."
        raise OperatorError.one("ids, --domain, --all", what, "Give ids, or --domain, or --all.")
    if not ids:
        return queue.find(domain=domain_pattern(domain), limit=ALL)
    found = {identity: queue.show(identity) for identity in ids}
    unknown = [identity for identity, items in found.items() if not items]
    if unknown:
        fix = "Nothing was changed. `sealroute queue list` shows what waits."
        raise OperatorError.one(", ".join(unknown), "nothing in the queue has this id.", fix)
    return list({item.group.id: item for items in found.values() for item in items}.values())


def _ids(items: Sequence[QueueItem]) -> list[str]:
    return [item.group.id for item in items]


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _report(done: str, changed: int, items: Sequence[QueueItem], changeable: set[GroupState], as_json: bool) -> None:
    """How many changed, and why the others did not."""
    active = sum(item.state is GroupState.ACTIVE for item in items)
    other = Counter(item.state for item in items if item.state is not GroupState.ACTIVE and item.state not in changeable)
    if as_json:
        emit_json({"changed": changed, "chosen": len(items), "active": active})
        return
    sys.stdout.write(f"{_entries(changed)} {done}.\n" if items else "Nothing waits there.\n")
    if active:
        sys.stdout.write(f"{_entries(active)} {'is' if active == 1 else 'are'} being sent right now and left alone; ")
        sys.stdout.write("try again in a moment.\n")
    for state, count in other.items():
        hint = "; `sealroute queue release` lets them go on" if state is GroupState.SUSPENDED else ""
        sys.stdout.write(
            f"{_entries(count)} {'is' if count == 1 else 'are'} {_STATE_WORDS[state][0]}, so nothing was done{hint}.\n"
        )


# ------------------------------------------------------------------------------------------------------------ showing

_LINE = "{:<36} {:>7} {:>7} {:>5}  {:<10} {}"
"""As wide as 80 columns hold, with the longest of everything."""


def _next(item: QueueItem, now: datetime) -> str:
    return screen.until(item.group.next_attempt_at, now) if item.state is GroupState.QUEUED else "-"


def _print_row(item: QueueItem, now: datetime) -> None:
    """Three lines: id and numbers, from and to, the reason."""
    from rich.padding import Padding

    group, (word, style) = item.group, _STATE_WORDS[item.state]
    numbers = (screen.span(now - item.received_at), screen.size(item.size_bytes, short=True), group.attempts, _next(item, now))
    out = screen.console()
    out.print(screen.text(_LINE.format(item.group.message_id, *numbers, ""), (word, style)))
    way = f"{screen.mailbox(item.sender)} → {group.domain}"
    if len(group.recipients) > 1:
        way += f" ({len(group.recipients)} recipients)"
    out.print(Padding(screen.text(way), (0, 0, 0, 2), expand=False))
    reason = group.last_finding.queued() if group.last_finding else "not tried yet"
    out.print(Padding(screen.text((reason, _reason_style(item))), (0, 0, 0, 2), expand=False))


def _reason_style(item: QueueItem) -> str:
    finding = item.group.last_finding
    return "dim" if finding is None else "red" if finding.security else "yellow"


def _print_story(item: QueueItem, attempt: dict[str, Any] | None, now: datetime) -> None:
    from rich.table import Table

    group = item.group
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("Message", group.message_id),
        ("Group", group.id),
        ("Subject", item.subject),
        ("Message-ID", item.header_message_id),
        ("From", screen.mailbox(item.sender)),
        *(("To" if index == 0 else "", recipient.address) for index, recipient in enumerate(group.recipients)),
        (
            "Received",
            f"{screen.moment(item.received_at)} ({screen.span(now - item.received_at)} ago), {screen.size(item.size_bytes)}",
        ),
        ("State", f"{_STATE_WORDS[item.state][0]}, {screen.plural(group.attempts, 'attempt')} so far"),
    ]
    if item.state is GroupState.QUEUED:
        rows.append(("Next try", f"{screen.moment(group.next_attempt_at)} ({_next(item, now)})"))
    if item.expires_at:
        rows.append(
            ("Returned", f"{screen.moment(item.expires_at)} ({screen.until(item.expires_at, now)}), if still undelivered")
        )
    rows += _reason_rows(item)
    for name, value in rows:
        table.add_row(name, screen.text(value))
    out = screen.console()
    out.print(table)
    if attempt:
        from sealroute.faces.cli.attempt_tree import attempt_tree

        out.print(attempt_tree(attempt, title="Last attempt: number"))
    out.print()


def _reason_rows(item: QueueItem) -> list[tuple[str, str]]:
    finding = item.group.last_finding
    if finding is None:
        return [("Reason", "not tried yet")]
    facts = finding.reason.facts
    return [("Reason", finding.queued()), ("Who can fix", facts.side.value), ("What to do", facts.fix)]


def _last_attempt(context: Context, item: QueueItem) -> dict[str, Any] | None:
    attempts = context.store.traces.attempts(item.group.message_id)
    return next((record for record in reversed(attempts) if record.get("domain") == item.group.domain), None)


def _with_expiry(context: Context, item: QueueItem) -> QueueItem:
    """The item with the moment it is returned, as the connector of its last attempt (or the default one) has it."""
    attempt = _last_attempt(context, item)
    guid = attempt.get("connector_guid") if attempt else None
    known = context.connectors.get(context.organization, str(guid)) if guid else None
    expiration = (known or context.default_connector).message_expiration
    return replace(item, expires_at=item.expires_at or item.group.queued_at + expiration)


def item_record(item: QueueItem) -> dict[str, Any]:
    """One waiting group as JSON."""
    group = item.group
    return {
        "message_id": group.message_id,
        "group_id": group.id,
        "state": item.state.value,
        "domain": group.domain,
        "sender": item.sender,
        "recipients": [recipient.address for recipient in group.recipients],
        "subject": item.subject,
        "header_message_id": item.header_message_id,
        "size_bytes": item.size_bytes,
        "received_at": rfc3339(item.received_at),
        "attempts": group.attempts,
        "next_attempt_at": rfc3339(group.next_attempt_at),
        "expires_at": rfc3339(item.expires_at) if item.expires_at else None,
        "reason": finding_record(group.last_finding) if group.last_finding else None,
        "text": group.last_finding.queued() if group.last_finding else "",
    }
