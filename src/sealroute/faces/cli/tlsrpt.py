"""`sealroute tlsrpt`: TLS reporting records, read by the very function that reporting uses.

Exit status: 0 ok, 1 none or invalid, 2 the input cannot be used.  Elsewhere: the rules are in proto/tlsrpt/txt.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from sealroute.faces.cli.output import emit_json, printable
from sealroute.proto.tlsrpt.txt import RptStatus, RptTxt, parse_txt

app = typer.Typer(no_args_is_help=True, help="TLS-RPT: read reporting records.")


@app.callback()
def _group() -> None:
    """TLS-RPT: read reporting records."""


@app.command("parse-txt")
def parse_txt_command(
    txt: Annotated[list[str], typer.Option(help="A TXT record at _smtp._tls.DOMAIN. Give the option once for each record.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Judge a domain's whole set of _smtp._tls TXT records. Exit status 0: ok, 1: none or invalid."""
    judged = parse_txt(txt)
    if as_json:
        emit_json(as_record(judged))
    else:
        for line in _lines(judged):
            sys.stdout.write(printable(line) + "\n")
    raise typer.Exit(0 if judged.status is RptStatus.OK else 1)


def as_record(judged: RptTxt) -> dict[str, Any]:
    """A judged TXT set as plain JSON values."""
    return {"status": judged.status.value, "rua": list(judged.rua), "reason": judged.reason}


def _lines(judged: RptTxt) -> list[str]:
    match judged.status:
        case RptStatus.OK:
            return ["ok: reports go to", *(f"  {uri}" for uri in judged.rua)]
        case RptStatus.NONE:
            return ["none: no record begins with v=TLSRPTv1"]
        case RptStatus.INVALID:
            return [f"invalid: {judged.reason}"]
