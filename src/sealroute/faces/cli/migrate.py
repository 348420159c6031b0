"""`sealroute migrate import FILE...`: connectors from Exchange's exports and Postfix's tables, all of them or none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.connector_show import TABLE_COLUMNS
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import Format, emit, emit_json, printable
from sealroute.faces.cli.screen import JsonFlag, plural
from sealroute.policy.connector_json import to_record
from sealroute.services import import_connectors
from sealroute.services.import_connectors import File, FileFormat, ImportPlan
from sealroute.services.importing.model import Kept, Note

app = typer.Typer(
    help="Bring connectors from Exchange Online or Postfix: import.",
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
