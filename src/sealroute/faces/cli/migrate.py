"""`sealroute migrate import | plan`: connectors from elsewhere, all or none; and what pinned ones could become.

The steps on the way are in faces/cli/migrate_moves.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.connector_show import TABLE_COLUMNS
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.migrate_moves import advance, rollback, start, status
from sealroute.faces.cli.output import Format, emit, emit_json, printable
from sealroute.faces.cli.screen import JsonFlag, plural
from sealroute.policy.connector import Connector
from sealroute.policy.connector_json import to_record
from sealroute.services import configure, import_connectors, propose_moves
from sealroute.services.import_connectors import File, FileFormat, ImportPlan
from sealroute.services.importing.model import Kept, Note
from sealroute.services.propose_moves import Proposal

app = typer.Typer(
    help="Import connectors; move pinned ones: plan, start, status, advance, rollback.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
MAX_OCTETS = 16 * 1024 * 1024


@app.command("import")
def import_(
    ctx: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files to read together; `-` is standard input.")],
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", help="What the files are; else told by what is in them.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show everything, and change nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace connectors of the same GUID or name.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make connectors of what Exchange or Postfix has, and say what cannot be expressed. All are made, or none.

    Reads Get-OutboundConnector as ConvertTo-Json, Export-Clixml or Export-Csv wrote it, and the text of
    smtp_tls_policy_maps and transport_maps; give both of Postfix's tables at once, because a TLS policy belongs to a next hop.

    JSON: dryRun, added, replaced (records as of `connector list`), notes (kept, where, what, fix).
    """
    context: Context = ctx.obj
    read = import_connectors.read([File(name, _octets(name), file_format) for name in files], context.default_connector)
    plan = import_connectors.plan(context.connectors, read, context.now(), replacing=replace)
    if not dry_run:
        import_connectors.save(context.connectors, plan, context.actor)
    if as_json:
        emit_json(_record(plan, dry_run=dry_run))
    else:
        _show(plan, dry_run=dry_run)


def _octets(name: str) -> bytes:
    """One octet more than is allowed at most, so that the reader can say so."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_OCTETS + 1)
        with Path(name).open("rb") as file:
            return file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise OperatorError.one(name, f"it cannot be read: {error.strerror or error}.") from None


def _record(plan: ImportPlan, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": dry_run,
        "added": [to_record(connector) for connector in plan.added],
        "replaced": [to_record(after) for _, after in plan.replaced],
        "notes": [
            {"kept": note.kept.value, "where": note.where, "what": note.what, "fix": note.fix or None} for note in plan.notes
        ],
    }


def _show(plan: ImportPlan, *, dry_run: bool) -> None:
    rows = [{"": "new"} | to_record(connector) for connector in plan.added]
    rows += [{"": "replaced"} | to_record(after) for _, after in plan.replaced]
    emit(rows, Format.TABLE, columns=("", *TABLE_COLUMNS))
    for kept in Kept:
        _show_notes(kept, [note for note in plan.notes if note.kept is kept])
    new, changed = plural(len(plan.added), "connector"), len(plan.replaced)
    said = f"{new} new, {changed} replaced."
    sys.stdout.write(f"\nDry run: would be {said} Nothing was changed.\n" if dry_run else f"\nImported: {said}\n")


def _show_notes(kept: Kept, notes: list[Note]) -> None:
    if notes:
        sys.stdout.write(f"\n{kept.value.capitalize()}\n")
    for note in notes:
        sys.stdout.write(printable(f"  {note}") + "\n")


# ---------------------------------------------------------------------------------------------------------------- plan


@app.command("plan")
def plan_(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these connectors.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Look at the partner of every pinned connector, and propose the steps to DANE or MTA-STS. Changes nothing, sends no mail.

    JSON, per connector: connector, target, why, gone (smart hosts that are no mail host today), notPinned, partners, steps.
    """
    context: Context = ctx.obj
    known = context.connectors.all(context.organization)
    if names:
        known = [configure.find(context.connectors, context.organization, name) for name in names]
    proposals = asyncio.run(_propose(context, propose_moves.pinned(known)))
    if as_json:
        emit_json([_proposal_record(item) for item in proposals])
        return
    if not proposals:
        sys.stdout.write("No pinned connectors: none sends single domains to fixed smart hosts.\n")
    for item in proposals:
        _show_proposal(item)


async def _propose(context: Context, connectors: Sequence[Connector]) -> list[Proposal]:
    """In the order given; several at a time, with progress on a terminal's stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    open_analyzer: Any = import_module("sealroute.engine").open_analyzer
    columns = (TextColumn("connectors"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty() or not connectors)
    found: dict[str, Proposal] = {}
    async with open_analyzer(context.settings) as (analyzer, _, _):
        with progress:
            task = progress.add_task("connectors", total=len(connectors))
            async for proposal in propose_moves.propose_all(analyzer, connectors):
                found[proposal.connector.guid] = proposal
                progress.update(task, advance=1)
    return [found[connector.guid] for connector in connectors]


def _proposal_record(item: Proposal) -> dict[str, Any]:
    return {
        "connector": item.connector.name,
        "target": item.target.value,
        "why": item.why,
        "gone": list(item.pinned_and_gone),
        "notPinned": list(item.not_pinned),
        "partners": [
            {
                "domain": partner.domain,
                "standing": partner.row.standing.value,
                "tlsRpt": partner.row.tls_rpt,
                "hosts": list(partner.hosts),
                "withoutTlsa": list(partner.without_tlsa),
                "addresses": list(partner.addresses),
                "tlsDomainInCertificate": dict(partner.certificates),
            }
            for partner in item.partners
        ],
        "steps": [{"what": step.what, "command": step.command or None} for step in item.steps],
    }


def _show_proposal(item: Proposal) -> None:
    lines = [f"{item.connector.name}: {item.target.value}", f"  why        {item.why}"]
    for partner in item.partners:
        rpt = "with" if partner.row.tls_rpt else "without"
        lines.append(f"  {partner.domain}  {partner.row.standing.value}, {rpt} TLS-RPT, hosts {', '.join(partner.hosts)}")
        lines += [f"    certificate of {host} {'has' if has else 'lacks'} TlsDomain" for host, has in partner.certificates]
    lines += [f"  pinned, but no mail host today: {', '.join(item.pinned_and_gone)}"] * bool(item.pinned_and_gone)
    lines += [f"  mail host today, but not pinned: {', '.join(item.not_pinned)}"] * bool(item.not_pinned)
    for number, step in enumerate(item.steps, 1):
        lines.append(f"  {number}. {step.what}")
        lines += [f"     {step.command}"] * bool(step.command)
    sys.stdout.write(printable("\n".join(lines)) + "\n\n")


for step in (start, status, advance, rollback):
    app.command()(step)
