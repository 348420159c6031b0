"""`sealroute organization`: the customers of one gateway, each with connectors, users and mail of its own."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable

app = typer.Typer(
    help="Owners of connectors, users and mail: add, list.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@app.command()
def add(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Short name: a-z, 0-9, `.`, `-`, `_`.")],
    name: Annotated[str, typer.Option(help="Name for people; the id when not given.")] = "",
) -> None:
    """Add an organization; name it in a listener's or the file's `organization` to use it."""
    context: Context = ctx.obj
    if not _ID.fullmatch(identity):
        raise OperatorError.one("ID", f"{identity!r} is not a short name.", "Use at most 64 of a-z, 0-9, `.`, `-` and `_`.")
    context.store.organizations.add(identity, name or identity)
    sys.stdout.write(f"Organization {identity} was added.\n")


@app.command("list")
def list_(ctx: typer.Context, as_json: screen.JsonFlag = False) -> None:
    """List the organizations."""
    context: Context = ctx.obj
    found = context.store.organizations.all()
    if as_json:
        emit_json([{"id": identity, "name": name} for identity, name in found])
        return
    width = max(2, *(len(identity) for identity, _ in found))
    sys.stdout.write(f"{'ID':<{width}}  NAME\n")
    for identity, name in found:
        sys.stdout.write(f"{identity:<{width}}  {printable(name)}\n")
