"""`sealroute dane verify`: the DANE verifier on files, without network: the very function that delivery uses.

Exit status: 0 match, 1 no match or no usable record, 2 the input cannot be used (said on stderr).  A TLSA record with an
unknown usage or a digest of the wrong length is usable input: it is shown as an unusable record.  Only text that is no TLSA
record at all is refused.

Elsewhere: the rules are in proto/dane/verify, whose DaneReason documents every `reason`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sealroute.base.errors import InputError
from sealroute.base.names import domain
from sealroute.base.pem import MAX_BUNDLE_BYTES, read_pem
from sealroute.base.times import parse_rfc3339
from sealroute.proto.dane.records import parse
from sealroute.proto.dane.verify import DaneResult, DaneVerdict, verify

app = typer.Typer(no_args_is_help=True, help="DANE: compare certificates with TLSA records.")


@app.callback()
def _group() -> None:
    """DANE: compare certificates with TLSA records."""


@app.command("verify")
def verify_command(
    chain: Annotated[
        Path, typer.Option(help="The presented certificates in PEM, the server's own first, the rest in any order.")
    ],
    tlsa: Annotated[list[str], typer.Option(help="A TLSA record, as in '3 1 1 HEX'. Give the option once for each record.")],
    name: Annotated[list[str], typer.Option(help="A reference name for usage 2; the first is the TLSA base name.")],
    at: Annotated[str, typer.Option(help="The moment to judge at, RFC 3339; default: now.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Say whether a certificate chain matches TLSA records. Exit status 0: match, 1: not, 2: unusable input."""
    try:
        result = verify(_read_chain(chain), [parse(text) for text in tlsa], [domain(text) for text in name], _moment(at))
    except InputError as error:
        print(f"sealroute dane verify: {error}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps(as_record(result), indent=2))  # noqa: T201
    else:
        _show(result)
    raise typer.Exit(0 if result.verdict is DaneVerdict.MATCH else 1)


def as_record(result: DaneResult) -> dict[str, Any]:
    """The judgement as plain JSON values; usage, selector, matching and depth are null unless a record matched."""
    matched = result.matched
    return {
        "verdict": result.verdict.value,
        "usage": matched.usage if matched else None,
        "selector": matched.selector if matched else None,
        "matching": matched.matching if matched else None,
        "depth": result.depth,
        "reason": result.reason.value if result.reason else None,
        "records": [
            {"record": str(item.record), "usable": item.usable, "matched": item.matched, "why": item.why}
            for item in result.records
        ],
    }


def _read_chain(path: Path) -> tuple[bytes, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise InputError(f"--chain {path}: {error.strerror or error}") from None
    return read_pem(data, f"--chain {path}")


def _moment(text: str) -> datetime:
    if not text:
        return datetime.now(UTC)
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError) as error:
        raise InputError(f"--at: {error}; write a moment as in 2026-01-31T12:00:00Z") from None


def _show(result: DaneResult) -> None:
    console = Console(highlight=False, soft_wrap=True)
    colour = {DaneVerdict.MATCH: "green", DaneVerdict.NO_MATCH: "red", DaneVerdict.UNUSABLE: "yellow"}[result.verdict]
    reason = f" ({result.reason.value})" if result.reason else ""
    console.print(f"[bold {colour}]{result.verdict.value}[/]{reason}: {escape(result.detail)}")
    for item in result.records:
        sign = "[green]✓[/]" if item.matched else "[red]✗[/]" if item.usable else "[yellow]–[/]"
        text = str(item.record)
        shown = text if len(text) <= 76 else f"{text[:60]}…{text[-12:]}"
        why = "matches" if item.matched else item.why if item.usable else f"unusable: {item.why}"
        console.print(f"  {sign} {shown}  {escape(why)}")
