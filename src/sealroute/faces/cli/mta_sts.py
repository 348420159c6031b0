"""`sealroute mta-sts`: MTA-STS records, policies and patterns, read by the very functions that delivery uses.

Exit status: 0 ok, valid or match; 1 a negative verdict (none, invalid, no match, no policy); 2 the input cannot be used (told
on stderr).  Only `fetch` goes to the network and reads the configuration, for the resolver and the policy hosts' authorities;
it neither uses nor fills the policy cache.

Elsewhere: the rules are in proto/mtasts and services/sts; opening resolver and fetcher is app.py's business.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sealroute.base.errors import InputError
from sealroute.base.names import domain as compared
from sealroute.base.names import parse_ip
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable
from sealroute.proto.mtasts.match import compared_pattern, match
from sealroute.proto.mtasts.policy import MAX_POLICY_BYTES, PolicyInvalid, StsPolicy, parse_policy
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus, parse_txt

if TYPE_CHECKING:
    from sealroute.policy.evidence import StsEvidence
    from sealroute.ports import PolicyFetcher, Resolver

    OpenPolicyTools = Callable[[Path | None], AbstractAsyncContextManager[tuple[Resolver, PolicyFetcher]]]

app = typer.Typer(no_args_is_help=True, help="MTA-STS: read, match and fetch policies.")
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


@app.callback()
def _group() -> None:
    """MTA-STS: read, match and fetch policies."""


@app.command("parse-txt")
def parse_txt_command(
    txt: Annotated[list[str], typer.Option(help="A TXT record at _mta-sts.DOMAIN. Give the option once for each record.")],
    as_json: AsJson = False,
) -> None:
    """Judge a domain's whole set of _mta-sts TXT records. Exit status 0: ok, 1: none or invalid."""
    judged = parse_txt(txt)
    if as_json:
        emit_json(txt_record(judged))
    else:
        _say(_txt_sentence(judged))
    raise typer.Exit(0 if judged.status is TxtStatus.OK else 1)


@app.command("parse-policy")
def parse_policy_command(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The policy file; - for standard input.")],
    as_json: AsJson = False,
) -> None:
    """Read a policy file. Exit status 0: valid, 1: invalid, 2: unreadable."""
    read = parse_policy(_read(file))
    if as_json:
        emit_json(policy_record(read))
    else:
        _say(*_policy_lines(read))
    raise typer.Exit(0 if isinstance(read, StsPolicy) else 1)


@app.command("match")
def match_command(
    mx: Annotated[str, typer.Option(help="The mail host's name.")],
    pattern: Annotated[list[str], typer.Option(help="An mx pattern. Give the option once for each pattern.")],
    as_json: AsJson = False,
) -> None:
    """Say which mx pattern covers a mail host. Exit status 0: match, 1: none does, 2: malformed host or pattern."""
    try:
        if parse_ip(mx) is not None:
            raise InputError(f"{mx!r} is an IP address; mx patterns cover names only")
        compared(mx)
        for text in pattern:
            compared_pattern(text)
    except InputError as error:
        _refuse("match", error)
    found = match(mx, pattern)
    if as_json:
        emit_json({"match": found is not None, "pattern": found})
    else:
        _say(f"{mx} is covered by {found}" if found is not None else f"{mx} is covered by no pattern")
    raise typer.Exit(0 if found is not None else 1)


@app.command("fetch")
def fetch_command(
    ctx: typer.Context,
    domain: Annotated[str, typer.Argument(help="The recipient domain.")],
    as_json: AsJson = False,
) -> None:
    """Look up a domain's TXT record and fetch its policy. Exit status 0: valid policy, 1: none, 2: no domain."""
    try:
        name = compared(domain)
    except InputError as error:
        _refuse("fetch", error)
    import asyncio  # costs more than all the rest, and only this command needs it

    context: Context = ctx.obj
    open_tools: OpenPolicyTools = import_module("sealroute.parts").open_policy_tools

    async def run() -> StsEvidence:
        async with open_tools(context.config_path) as (resolver, fetcher):
            return await look(name, resolver, fetcher)

    evidence = asyncio.run(run())
    if as_json:
        emit_json(fetch_record(evidence))
    else:
        _say(*fetch_lines(evidence))
    raise typer.Exit(0 if evidence.policy is not None else 1)


async def look(domain: str, resolver: Resolver, fetcher: PolicyFetcher) -> StsEvidence:
    """What delivery would find out about the domain (in compared form) if it had never heard of it."""
    from sealroute.faces.cli.mta_sts_fresh import WallClock
    from sealroute.services.sts import StsPolicies
    from sealroute.services.sts_caches import NothingKept

    policies = StsPolicies(resolver, fetcher, NothingKept(), WallClock())
    try:
        return await policies.evidence(domain)
    finally:
        await policies.close()


# ------------------------------------------------------------------------------------------------------ as JSON values


def txt_record(judged: StsTxt) -> dict[str, Any]:
    """A judged TXT set as plain JSON values."""
    return {"status": judged.status.value, "id": judged.id, "reason": judged.reason}


def policy_record(read: StsPolicy | PolicyInvalid) -> dict[str, Any]:
    """A policy, or why it is none, as plain JSON values."""
    if isinstance(read, PolicyInvalid):
        return {"valid": False, "version": None, "mode": None, "max_age_seconds": None, "mx": [], "reason": read.reason}
    mode, age, mx = read.mode.value, read.max_age_seconds, list(read.mx)
    return {"valid": True, "version": "STSv1", "mode": mode, "max_age_seconds": age, "mx": mx, "reason": None}


def fetch_record(evidence: StsEvidence) -> dict[str, Any]:
    """What was found out as plain JSON values; `policy` is null when no file came, status `unknown` when DNS gave no answer."""
    txt = evidence.txt_parsed
    read = _read_policy(evidence)
    return {
        "domain": evidence.domain,
        "txt": txt_record(txt) if txt else {"status": "unknown", "id": None, "reason": evidence.failure_detail},
        "policy": policy_record(read) if read else None,
        "failure": evidence.failure.value if evidence.failure else None,
        "detail": evidence.failure_detail or None,
    }


def _read_policy(evidence: StsEvidence) -> StsPolicy | PolicyInvalid | None:
    from sealroute.policy.evidence import FetchFailure

    if evidence.failure is FetchFailure.POLICY_INVALID:
        return PolicyInvalid(evidence.failure_detail)
    return evidence.policy


# ----------------------------------------------------------------------------------------------------------- for people


def _txt_sentence(judged: StsTxt) -> str:
    match judged.status:
        case TxtStatus.OK:
            return f"ok: policy id {judged.id}"
        case TxtStatus.NONE:
            return "none: no record begins with v=STSv1"
        case TxtStatus.INVALID:
            return f"invalid: {judged.reason}"


def _policy_lines(read: StsPolicy | PolicyInvalid) -> list[str]:
    if isinstance(read, PolicyInvalid):
        return [f"invalid: {read.reason}"]
    lines = [f"valid: mode {read.mode.value}, for {read.max_age_seconds} seconds"]
    return lines + [f"  mx {pattern}" for pattern in read.mx]


def fetch_lines(evidence: StsEvidence) -> list[str]:
    """What was found out, for people."""
    if evidence.txt_parsed is None:
        return [f"unknown: {evidence.failure_detail}"]
    lines = [f"TXT    {_txt_sentence(evidence.txt_parsed)}"]
    read = _read_policy(evidence)
    if read is not None:
        first, *rest = _policy_lines(read)
        lines += [f"policy {first}", *(f"       {line}" for line in rest)]
    elif evidence.failure is not None:
        lines.append(f"policy {evidence.failure.value}: {evidence.failure_detail}")
    return lines


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(printable(line) + "\n")


def _read(file: str) -> bytes:
    """The file, but never much more than a policy may be long."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_POLICY_BYTES + 1)
        with open(file, "rb") as stream:
            return stream.read(MAX_POLICY_BYTES + 1)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        _refuse("parse-policy", f"{file} cannot be read: {words}")


def _refuse(command: str, why: object) -> NoReturn:
    sys.stderr.write(printable(f"sealroute mta-sts {command}: {why}") + "\n")
    raise typer.Exit(2)
