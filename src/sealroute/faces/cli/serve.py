"""`sealroute serve`: looks at the configuration, then hands over to app.py."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli.context import Context

if TYPE_CHECKING:
    from sealroute.settings import Settings

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False)


@app.command(epilog="--config FILE names the configuration file.")
def serve(ctx: typer.Context) -> None:
    """Run the gateway: accept, prove, deliver or hold.

    SIGTERM or Ctrl-C finishes what is under way and loses nothing; SIGHUP reads connectors again at once.
    """
    from sealroute.settings import check_files

    context: Context = ctx.obj
    settings = context.settings
    problems = check_files(settings)
    if problems:
        raise OperatorError(*problems)
    run: Callable[[Settings], int] = import_module("sealroute.app").serve
    raise typer.Exit(run(settings))
