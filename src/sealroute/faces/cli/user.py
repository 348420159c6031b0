"""`sealroute user`: who may submit mail after login.  Only argon2 hashes are kept; a password is never an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable

app = typer.Typer(
    help="Who may submit mail: add, list, remove.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
MIN_PASSWORD, MAX_PASSWORD = 8, 1024
MAX_NAME = 254
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The login name, often a mail address.")]


@app.command()
def add(
    ctx: typer.Context,
    name: NameArgument,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
    organization: Annotated[str | None, typer.Option(help="Owner of the mail that this user sends.")] = None,
) -> None:
    """Let a user submit mail, or give a user a new password."""
    context: Context = ctx.obj
    name = _checked_name(name)
    password = _password_from_stdin() if password_stdin else _password_from_prompt(name)
    # Imported here: argon2 is not needed to list users.
    hash_password: Callable[[str], str] = import_module("sealroute.services.authenticate").hash_password
    known = context.store.users.hash_of(name) is not None
    owner = organization or (context.store.users.organization_of(name) if known else None) or context.organization
    context.store.users.set(name, hash_password(password), owner)
    sys.stdout.write(f"{name} {'has a new password' if known else 'may submit mail'} (organization {owner}).\n")


@app.command("list")
def list_(ctx: typer.Context, as_json: screen.JsonFlag = False) -> None:
    """List who may submit mail."""
    context: Context = ctx.obj
    users = context.store.users.all()
    if as_json:
        emit_json([{"name": name, "organization": organization} for name, organization in users])
        return
    if not users:
        sys.stdout.write("Nobody may submit mail; `sealroute user add NAME` lets a user.\n")
        return
    width = max(4, *(len(printable(name)) for name, _ in users))
    sys.stdout.write(f"{'NAME':<{width}}  ORGANIZATION\n")
    for name, organization in users:
        sys.stdout.write(f"{printable(name):<{width}}  {printable(organization)}\n")


@app.command()
def remove(ctx: typer.Context, name: NameArgument) -> None:
    """Take a user's permission away; sessions already logged in end on their own."""
    context: Context = ctx.obj
    if not context.store.users.remove(name):
        raise OperatorError.one(name, "there is no such user.", "`sealroute user list` lists them.")
    sys.stdout.write(f"{name} may no longer submit mail.\n")


def _checked_name(name: str) -> str:
    if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
        fix = f"Use 1 to {MAX_NAME} printable characters without spaces around them."
        raise OperatorError.one("NAME", f"{name!r} cannot be a login name.", fix)
    return name


def _password_from_stdin() -> str:
    text = sys.stdin.readline(MAX_PASSWORD + 2)
    return _checked_password(text.rstrip("\r\n"))


def _password_from_prompt(name: str) -> str:
    if not sys.stdin.isatty():
        raise OperatorError.one("user add", "there is no terminal to ask for the password.", "Use --password-stdin.")
    import getpass

    first = _checked_password(getpass.getpass(f"Password for {name}: "))
    if getpass.getpass("Once more: ") != first:
        raise OperatorError.one("user add", "the two passwords differ.", "Nothing was changed; try again.")
    return first


def _checked_password(password: str) -> str:
    if "\0" in password:
        raise OperatorError.one("password", "it holds a null character, which AUTH PLAIN cannot carry.")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        fix = f"Use {MIN_PASSWORD} to {MAX_PASSWORD} characters."
        raise OperatorError.one("password", f"it has {len(password)} characters.", fix)
    return password
