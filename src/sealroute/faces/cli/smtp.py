"""`sealroute smtp`: the SMTP engine's pure parts on files, the very functions that delivery uses.

Exit status: 0 the reply is well-formed (whatever it says) or the octets were written, 1 the reply is malformed, 2 the file
cannot be read.

Elsewhere: the rules are in proto/smtp/replies and proto/smtp/data.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from sealroute.base.errors import PeerError
from sealroute.base.status import Reply
from sealroute.proto.smtp.data import encode_data
from sealroute.proto.smtp.replies import parse_reply

app = typer.Typer(no_args_is_help=True, help="SMTP: parse replies and encode message data.")

Input = Annotated[str, typer.Argument(metavar="FILE|-", help="The file to read; - for standard input.")]


@app.callback()
def _group() -> None:
    """SMTP: parse replies and encode message data."""


@app.command("parse-reply")
def parse_reply_command(file: Input, as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False) -> None:
    """Parse one whole SMTP reply, multi-line or not. Exit status 0: well-formed, 1: malformed, 2: unreadable."""
    data = _read(file, "parse-reply")
    reply: Reply | None = None
    try:
        reply = parse_reply(data)
    except PeerError as error:
        print(f"sealroute smtp parse-reply: {error}", file=sys.stderr)  # noqa: T201
    if as_json:
        print(json.dumps(as_record(reply), indent=2))  # noqa: T201
    elif reply is not None:
        print(f"code {reply.code}, enhanced code {reply.enhanced or 'none'}")  # noqa: T201
        for line in reply.lines:
            print(f"  {line}")  # noqa: T201
    raise typer.Exit(1 if reply is None else 0)


@app.command("encode-data")
def encode_data_command(file: Input) -> None:
    """Write the octets that go out after 354: CRLF line ends, dots stuffed, ended by CRLF . CRLF."""
    sys.stdout.buffer.write(encode_data(_read(file, "encode-data")))
    sys.stdout.buffer.flush()


def as_record(reply: Reply | None) -> dict[str, Any]:
    """The reply as plain JSON values; None is a malformed one."""
    if reply is None:
        return {"ok": False, "code": None, "enhanced": None, "lines": []}
    enhanced = str(reply.enhanced) if reply.enhanced else None
    return {"ok": True, "code": reply.code, "enhanced": enhanced, "lines": list(reply.lines)}


def _read(file: str, command: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read()
        with open(file, "rb") as stream:
            return stream.read()
    except OSError as error:
        print(f"sealroute smtp {command}: {file} cannot be read: {error.strerror}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(2) from None
