"""`sealroute`: finds out which command is meant, and imports only that one.

    sealroute [--config FILE] COMMAND ...        our own commands, each a Typer app in a file of its own
    sealroute [--config FILE] Verb-Noun ...      Exchange's cmdlets, names in any case

`sealroute dane verify` is run thousands of times by scripts, so nothing of the store or the servers is imported for it; the
table below carries each command's one-line help for that reason.  `--config` may also stand after the command.

Exit codes: 0 done or positive, 1 a negative verdict, 2 unusable input (told on stderr, never as a traceback), 130 Ctrl-C.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sealroute import __version__
from sealroute.base.errors import OperatorError, SealrouteError
from sealroute.faces.cli.context import Context

if TYPE_CHECKING:
    from typer import Typer

MakeContext = Callable[[str | None], Context]
UNUSABLE_INPUT = 2
INTERRUPTED = 130
_CMDLET = re.compile(r"[A-Za-z]+-[A-Za-z][A-Za-z0-9]*", re.ASCII)
CMDLET_MODULES = (
    "sealroute.faces.cli.connector_cmdlets",
    "sealroute.faces.cli.rule_cmdlets",
    "sealroute.faces.cli.trace_cmdlets",
    "sealroute.faces.cli.report_cmdlets",
)
"""Each has `register_all`, which makes its cmdlets known."""


@dataclass(frozen=True, slots=True)
class Command:
    """One top-level command: where its Typer app is, and whether it reads the configuration."""

    module: str
    help: str
    configured: bool = True
    single: bool = False
    """Its app is one command, not a group of them."""


COMMANDS = {
    "serve": Command("serve", "Run the gateway.", single=True),
    "config": Command("config", "Check the configuration file, show what is in force, print an example."),
    "connector": Command("connector", "Outbound connectors: list, get, new, set, remove, match, history."),
    "migrate": Command("migrate", "Import connectors; move pinned ones: plan, start, status, advance, rollback."),
    "rule": Command("rule", "Transport rules: list, get, new, set, enable, disable, remove, test, import, history."),
    "exception": Command("exception", "Timed exceptions for one recipient domain: add, list, end."),
    "resolver": Command("resolver", "Check whether the resolver tells valid DNSSEC from invalid."),
    "queue": Command("queue", "Mail that waits: list, show, retry, hold, release, remove."),
    "trace": Command("trace", "What became of a message, and why.", single=True),
    "analyze": Command("analyze", "What delivery would do with a domain's mail now, and why; sends none.", single=True),
    "report": Command("report", "Reports: transit security, mail that waits long, connectors."),
    "drift": Command("drift", "Destinations whose DANE or MTA-STS went or came back: list, known."),
    "readiness": Command("readiness", "Which destinations could be held to a Mandatory mode.", single=True),
    "alerts": Command("alerts", "What administrators are told of changes: list, test."),
    "user": Command("user", "Who may submit mail: add, list, remove."),
    "organization": Command("organization", "Owners of connectors, users and mail: add, list."),
    "dane": Command("dane", "Check a certificate chain against TLSA records.", configured=False),
    "mta-sts": Command("mta_sts", "Read, match and fetch MTA-STS policies."),
    "tlsrpt": Command("tlsrpt", "Read TLS reporting records.", configured=False),
    "smtp": Command("smtp", "Read SMTP replies, encode messages for DATA.", configured=False),
    "dsn": Command("dsn", "Read delivery status notifications.", configured=False),
}


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str], make_context: MakeContext = Context) -> int:
    """Run one command line; returns the exit code.  `make_context` is given what `--config` said."""
    try:
        return _dispatch(list(argv), make_context)
    except OperatorError as error:
        for problem in error.problems:
            sys.stderr.write(f"sealroute: {problem}\n")
        return UNUSABLE_INPUT
    except SealrouteError as error:
        sys.stderr.write(f"sealroute: {error}\n")
        return UNUSABLE_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(argv: list[str], make_context: MakeContext) -> int:
    asked: str | None = None
    while argv and argv[0].startswith("-"):
        option = argv.pop(0)
        if option in ("--help", "-h"):
            sys.stdout.write(help_text())
            return 0
        if option in ("--version", "-V"):
            sys.stdout.write(f"sealroute {__version__}\n")
            return 0
        value = _config_value(option, argv, short=True)
        if value is None:
            raise OperatorError.one(option, "there is no such option.", "`sealroute --help` lists them.")
        asked = value
    if not argv:
        sys.stderr.write(help_text())
        return UNUSABLE_INPUT
    name = argv.pop(0)
    if name in COMMANDS:
        return _run_command(name, argv, asked, make_context)
    if _CMDLET.fullmatch(name):
        return _run_cmdlet(name, argv, asked, make_context)
    near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    hint = f"Did you mean `sealroute {near[0]}`?" if near else "`sealroute --help` lists the commands."
    raise OperatorError.one(name, "there is no such command.", hint)


def _run_command(name: str, argv: list[str], asked: str | None, make_context: MakeContext) -> int:
    command = COMMANDS[name]
    if command.configured:
        later, argv = take_config(argv, short=True)
        asked = later or asked
    context = make_context(asked)
    from typer.main import get_command, get_group

    app: Typer = import_module(f"sealroute.faces.cli.{command.module}").app
    try:
        # get_command would drop the name of an app's only command, so that `dane verify` became `dane`.
        make = get_command if command.single else get_group
        code: Any = make(app).main(args=argv, prog_name=f"sealroute {name}", obj=context, help_option_names=["-h", "--help"])
    except SystemExit as error:
        code = error.code
    finally:
        context.close()
    return code if isinstance(code, int) else 0 if code is None else 1


def _run_cmdlet(name: str, argv: list[str], asked: str | None, make_context: MakeContext) -> int:
    from sealroute.faces.cli.cmdlets import run_cmdlet

    for module in CMDLET_MODULES:
        import_module(module).register_all()
    later, argv = take_config(argv, short=False)
    context = make_context(later or asked)
    try:
        return run_cmdlet([name, *argv], context)
    finally:
        context.close()


def take_config(argv: Sequence[str], *, short: bool) -> tuple[str | None, list[str]]:
    """Take `--config FILE` (and `-c FILE`) out of a command's own arguments; the last one counts."""
    rest = list(argv)
    kept: list[str] = []
    asked: str | None = None
    while rest:
        word = rest.pop(0)
        if word == "--":
            return asked, [*kept, word, *rest]
        value = _config_value(word, rest, short=short)
        if value is None:
            kept.append(word)
        else:
            asked = value
    return asked, kept


def _config_value(word: str, rest: list[str], *, short: bool) -> str | None:
    if word.startswith("--config="):
        return word.removeprefix("--config=")
    if word == "--config" or (short and word == "-c"):
        if not rest:
            raise OperatorError.one(word, "needs a file name after it.")
        return rest.pop(0)
    return None


def help_text() -> str:
    """What `sealroute --help` shows."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    return f"""Usage: sealroute [--config FILE] COMMAND [ARGUMENT ...]

An outbound mail gateway that proves, per connector, that it talks to the right server.

Commands (`sealroute COMMAND --help` says more):
{commands}

Exchange's cmdlets work as they are (`sealroute CMDLET -?` says more), for example:
  sealroute Set-OutboundConnector "Contoso Bank" -SmtpDaneMode Mandatory
  sealroute Get-MessageTraceV2 -RecipientAddress alice@contoso.com

Options:
  -c, --config FILE  The configuration file, also after the command. Without it: the file that SEALROUTE_CONFIG
                     names, ./sealroute.toml, /etc/sealroute/sealroute.toml, or built-in defaults.
  -V, --version      Show the version.
  -h, --help         Show this help.
"""


if __name__ == "__main__":
    main()
