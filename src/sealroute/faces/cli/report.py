"""`sealroute report`: transit security, mail that waits long, connectors; as tables, CSV or JSON.

What is counted, and how, stands in services/report.  A report covers the messages *received* in its period.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import typer

from sealroute.base.errors import OperatorError
from sealroute.base.times import rfc3339
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import Format, emit, emit_json
from sealroute.faces.cli.queue_destinations import DomainOption, domain_pattern
from sealroute.services import report

app = typer.Typer(
    help="Reports: security, queued, connectors.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
ALERT = 1
Row = Mapping[str, Any]


class Section(Enum):
    """The sections of the report on transit security."""

    BLOCKED = "blocked"
    SENT = "sent"
    WITHOUT_TLS = "without-tls"


ConnectorOption = Annotated[str, typer.Option("--connector", help="Only mail through the connector of this name.")]
StartOption = Annotated[str, typer.Option("--start", help="Received after: a date, a moment, or a span back such as 12h.")]
EndOption = Annotated[str, typer.Option("--end", help="Received before.", show_default="now")]
CsvFlag = Annotated[bool, typer.Option("--csv", help="As CSV, for spreadsheets.")]
TITLES = {
    Section.BLOCKED: "Messages blocked",
    Section.SENT: "Messages sent",
    Section.WITHOUT_TLS: "Recipient domains not supporting TLS",
}


@app.command()
def security(
    ctx: typer.Context,
    domain: DomainOption = None,
    connector: ConnectorOption = "",
    start: StartOption = "7d",
    end: EndOption = "",
    section: Annotated[Section | None, typer.Option("--section", help="Only this section; CSV needs one.")] = None,
    as_csv: CsvFlag = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Outbound messages in transit security: what was blocked and why, how the rest went, who has no TLS."""
    _one_form(as_csv, as_json)
    if as_csv and section is None:
        raise OperatorError.one("--csv", "the sections have different columns.", "Give --section blocked, sent or without-tls.")
    context: Context = ctx.obj
    first, last = period(context, start, end)
    found = report.security(context.store.reports.told(first, last, domain_pattern(domain)), connector)
    sections: dict[Section, list[Row]] = {
        Section.BLOCKED: [
            {"RecipientDomain": row.domain, "SecurityType": row.security_type, "Count": row.count, "Error": row.error}
            for row in found.blocked
        ],
        Section.SENT: [
            {"Date": day, "DANE with DNSSEC": n["dane"], "MTA-STS": n["mta-sts"], "TLS": n["tls"], "No TLS": n["plain"]}
            for day, n in found.sent
        ],
        Section.WITHOUT_TLS: [_without_tls(row) for row in found.without_tls],
    }
    shown = {key: rows for key, rows in sections.items() if section in (None, key)}
    if as_csv:
        write_csv(*shown.values())
    elif as_json:
        emit_json({"start": rfc3339(first), "end": rfc3339(last)} | {key.value: rows for key, rows in shown.items()})
    else:
        _print_sections(shown, first, last)


def _print_sections(shown: Mapping[Section, Sequence[Row]], first: datetime, last: datetime) -> None:
    sys.stdout.write(f"Messages received from {screen.moment(first)} to {screen.moment(last)}.\n")
    for key, rows in shown.items():
        sys.stdout.write(f"\n{TITLES[key]}\n")
        if not rows:
            sys.stdout.write("  none\n")
        elif key is Section.BLOCKED:
            _print_blocked(rows)
        else:
            emit(rows, Format.TABLE)


def _print_blocked(rows: Sequence[Row]) -> None:
    """The error has a line of its own: in a column of 100 it would be folded beyond reading."""
    out = screen.console()
    out.print(screen.text((f"{'COUNT':>7}  {'SECURITY TYPE':<16}  RECIPIENT DOMAIN", "bold")))
    for row in rows:
        out.print(screen.text(f"{row['Count']:>7}  {row['SecurityType']:<16}  {row['RecipientDomain']}"))
        out.print(screen.text((f"         {row['Error']}", "red")))


def _without_tls(row: report.NoTls) -> Row:
    last = report.last_of(row)
    moment = screen.moment(last) if last else ""
    return {
        "RecipientDomain": row.domain, "Sent": row.sent, "NotSent": row.not_sent, "Last": moment, "Host": row.host,
        "Why": row.why,
    }  # fmt: skip


@app.command()
def queued(
    ctx: typer.Context,
    domain: DomainOption = None,
    older_than: Annotated[str, typer.Option("--older-than", help="What waits for longer than this.")] = "1h",
    alert_at: Annotated[int, typer.Option("--alert-at", min=1, help="So many are an alert.")] = report.ALERT_AT,
    as_csv: CsvFlag = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """Mail that waits long, by recipient domain; exit code 1 when it is so much that it is an alert."""
    _one_form(as_csv, as_json)
    context: Context = ctx.obj
    before = screen.parse_moment("--older-than", older_than, context.now())
    found = report.queued(context.store.reports.waiting(before, domain_pattern(domain)))
    rows = [
        {
            "RecipientDomain": row.domain, "Count": row.count, "OnHold": row.suspended, "Oldest": screen.moment(row.oldest),
            "Reason": row.finding.queued() if row.finding else "not tried yet",
        }
        for row in found
    ]  # fmt: skip
    total = sum(row.count for row in found)
    if as_csv:
        write_csv(rows)
    elif as_json:
        emit_json({"queued_before": rfc3339(before), "total": total, "alert": total >= alert_at, "domains": rows})
    else:
        _print_queued(rows, total, before)
        if total >= alert_at:
            sys.stdout.write(f"ALERT: {total} are at least {alert_at}.\n")
    if total >= alert_at:
        raise typer.Exit(ALERT)


def _print_queued(rows: Sequence[Row], total: int, before: datetime) -> None:
    out = screen.console()
    if rows:
        out.print(screen.text((f"{'COUNT':>7} {'ON HOLD':>8}  {'OLDEST':<20}  RECIPIENT DOMAIN", "bold")))
    for row in rows:
        out.print(screen.text(f"{row['Count']:>7} {row['OnHold']:>8}  {row['Oldest']:<20}  {row['RecipientDomain']}"))
        out.print(screen.text(f"         {row['Reason']}"))
    out.print(f"{screen.plural(total, 'message')} queued before {screen.moment(before)}.")


@app.command()
def connectors(
    ctx: typer.Context,
    domain: DomainOption = None,
    connector: ConnectorOption = "",
    start: StartOption = "7d",
    end: EndOption = "",
    as_csv: CsvFlag = False,
    as_json: screen.JsonFlag = False,
) -> None:
    """What went through each connector, by TLS version, and what was blocked."""
    _one_form(as_csv, as_json)
    context: Context = ctx.obj
    first, last = period(context, start, end)
    found = report.connectors(context.store.reports.told(first, last, domain_pattern(domain)), connector)
    rows = connector_rows(found)
    if as_csv:
        write_csv(rows)
    elif as_json:
        emit_json({"start": rfc3339(first), "end": rfc3339(last), "connectors": rows})
    else:
        sys.stdout.write(f"Messages received from {screen.moment(first)} to {screen.moment(last)}.\n\n")
        emit(rows, Format.TABLE)
        if not rows:
            sys.stdout.write("  none\n")


def connector_rows(found: Sequence[report.ConnectorVolume], *, by_domain: bool = False) -> list[Row]:
    """Each connector as a record, every TLS version that occurs a property of its own."""
    names = list(report.versions(found))
    return [
        {
            "Connector": row.connector,
            **({"Domain": row.domain} if by_domain else {}),
            "Messages": row.messages,
            "Recipients": row.recipients,
            "Bytes": row.size_bytes,
            **{name or "No TLS": row.tls[name] for name in names},
            "Blocked": row.blocked,
        }
        for row in found
    ]


def period(context: Context, start: str, end: str) -> tuple[datetime, datetime]:
    """The moments that --start and --end name; raises OperatorError when they are the wrong way round."""
    now = context.now()
    last = screen.parse_moment("--end", end, now) if end else now
    first = screen.parse_moment("--start", start, now)
    if first > last:
        raise OperatorError.one("--start, --end", "the period ends before it begins.", "Exchange the two.")
    return first, last


def _one_form(as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise OperatorError.one("--csv, --json", "these cannot be combined.", "Give one of the two.")


def write_csv(rows: Sequence[Row]) -> None:
    """With a head line; what a spreadsheet would take for a formula is marked as text, for peers wrote some of it."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    if rows:
        out.writerow(rows[0])
    for row in rows:
        out.writerow("'" + cell if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in row.values())
