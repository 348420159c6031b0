"""`sealroute dsn parse`: read a delivery status notification."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sealroute.proto.dsn.parse import NotADsn, Parsed, parse, typed

app = typer.Typer(help="Delivery status notifications (RFC 3464).", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `parse` a subcommand while it is the only one."""


@app.command("parse")
def parse_command(
    file: Annotated[str, typer.Argument(help="The message; - reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read a notification: exit 0 when it is one, 1 when it is not, 2 when it cannot be read."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        typer.echo(f"{file}: {error.strerror or error}", err=True)
        raise typer.Exit(2) from None
    parsed = parse(content)
    record = to_record(parsed)
    typer.echo(json.dumps(record, indent=2, ensure_ascii=False) if as_json else _text(record))
    raise typer.Exit(1 if isinstance(parsed, NotADsn) else 0)


def to_record(parsed: Parsed | NotADsn) -> dict[str, Any]:
    """The JSON form."""
    if isinstance(parsed, NotADsn):
        return {"ok": False, "reason": parsed.reason, "reporting_mta": None, "envid": None, "arrival_date": None,
                "returned": None, "recipients": []}  # fmt: skip
    fields = parsed.per_message
    return {
        "ok": True,
        "reason": None,
        "reporting_mta": typed(fields.get("reporting-mta", ""))[1] or None,
        "envid": fields.get("original-envelope-id"),
        "arrival_date": fields.get("arrival-date"),
        "returned": parsed.returned,
        "recipients": [_recipient(item) for item in parsed.recipients],
    }


def _recipient(item: dict[str, str]) -> dict[str, Any]:
    return {
        "final_recipient": typed(item.get("final-recipient", ""))[1],
        "original_recipient": typed(item["original-recipient"])[1] if "original-recipient" in item else None,
        "action": item.get("action", "").lower() or None,
        "status": item.get("status", "").split(" ")[0] or None,
        "remote_mta": typed(item["remote-mta"])[1] if "remote-mta" in item else None,
        "diagnostic": typed(item["diagnostic-code"])[1] if "diagnostic-code" in item else None,
        "last_attempt": item.get("last-attempt-date"),
        "will_retry_until": item.get("will-retry-until"),
    }


def _text(record: dict[str, Any]) -> str:
    if not record["ok"]:
        return f"not a delivery status notification: {record['reason']}"
    lines = [f"reported by {record['reporting_mta'] or 'an unnamed server'}, original returned: {record['returned']}"]
    for item in record["recipients"]:
        lines.append(f"  {item['final_recipient']}: {item['action']} {item['status']} {item['diagnostic'] or ''}".rstrip())
    # What stands in a mail must not reach the terminal as anything but text.
    return "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)
