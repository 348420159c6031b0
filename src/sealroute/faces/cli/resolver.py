"""`sealroute resolver check [NAME ...]`: what the resolver is, what it makes of the canaries, and whether it may be believed.

The very probes that the running gateway makes.  Names given are looked up besides (MX, A, AAAA), each with its security.
Exit codes: 0 the resolver is believed, 1 it is not, 2 unusable input.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.names import domain as compared
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable

if TYPE_CHECKING:
    from sealroute.base.dnsdata import Answer
    from sealroute.ports import Resolver
    from sealroute.services.canary import Canary, CanaryReport
    from sealroute.settings import Settings

    OpenTools = Callable[[Settings], AbstractAsyncContextManager[tuple[Resolver, Canary]]]

app = typer.Typer(
    help="DNS and DNSSEC as the gateway sees them: check.",
    epilog="--config FILE names the configuration file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
MAX_NAMES = 50


@app.callback()
def _group() -> None:
    """DNS and DNSSEC as the gateway sees them."""


@app.command()
def check(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names to look up besides.")] = None,
    as_json: screen.JsonFlag = False,
) -> None:
    """Say what the resolver is, probe it, and judge whether it may be believed. Exit status 0: it may, 1: not."""
    context: Context = ctx.obj
    settings = context.settings
    asked = _names(names or ())
    parts = import_module("sealroute.parts")
    configured: dict[str, Any] = parts.describe_resolver(settings)
    open_tools: OpenTools = parts.open_resolver_tools

    async def run() -> tuple[CanaryReport, list[dict[str, Any]]]:
        async with open_tools(settings) as (resolver, canary):
            report = await canary.probe()
            return report, [await look(resolver, name) for name in asked]

    report, found = asyncio.run(run())
    if as_json:
        emit_json(record(configured, report, found))
    else:
        sys.stdout.write("".join(f"{printable(line)}\n" for line in lines(configured, report, found)))
    raise typer.Exit(0 if report.can_validate else 1)


async def look(resolver: Resolver, name: str) -> dict[str, Any]:
    """What the resolver says of a name's MX and address records."""
    answers: Sequence[Answer[Any]] = await asyncio.gather(resolver.mx(name), resolver.a(name), resolver.aaaa(name))
    return {"name": name, "answers": [_answer(answer) for answer in answers]}


def record(configured: dict[str, Any], report: CanaryReport, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole check as plain JSON values."""
    probes = [
        {
            "name": probe.name,
            "expected": probe.expected.value,
            "seen": probe.seen.value,
            "detail": probe.detail or None,
            "good": probe.good,
        }
        for probe in report.probes
    ]
    return {
        "resolver": configured,
        "probes": probes,
        "names": found,
        "canValidate": report.can_validate,
        "verdict": verdict(report),
        "advice": report.advice or None,
    }


def lines(configured: dict[str, Any], report: CanaryReport, found: list[dict[str, Any]]) -> list[str]:
    """The whole check for people."""
    shown = [f"{'Resolver':<14}{_kind(configured)}"]
    for title, key in (("Forwarders", "forwarders"), ("Stub zone", "stubZones"), ("Trust anchor", "trustAnchors")):
        shown += [f"{title if number == 0 else '':<14}{item}" for number, item in enumerate(configured.get(key, ()))]
    for title, key in (("Root hints", "rootHints"), ("Anchors from", "trustAnchorFile")):
        shown += [f"{title:<14}{configured[key]}"] if configured.get(key) else []
    for number, probe in enumerate(report.probes):
        shown.append(f"{'Probes' if number == 0 else '':<14}{'good ' if probe.good else 'WRONG'}  {probe}")
    for item in found:
        for number, answer in enumerate(item["answers"]):
            said = ", ".join(answer["records"]) or answer["detail"] or answer["outcome"]
            shown.append(f"{item['name'] if number == 0 else '':<14}  {answer['rtype']:<4}  {answer['security']:<8}  {said}")
    shown.append(f"{'Verdict':<14}{verdict(report)}")
    return [*shown, f"{'What to do':<14}{report.advice}"] if report.advice else shown


def verdict(report: CanaryReport) -> str:
    """The judgement in words."""
    if not report.probes and report.can_validate:
        return "believed without a probe; set resolver.canary_signed, canary_unsigned and canary_broken to have it probed"
    return report.sentence


def _kind(configured: dict[str, Any]) -> str:
    if configured["kind"] == "unbound":
        return "validates here (libunbound)" + ("" if configured["forwarders"] else ", recursion from the root")
    believed = "because trusted = true" if configured["trusted"] else "from loopback only"
    return f"AD bit of {', '.join(configured['servers'])}, believed {believed}"


def _answer(answer: Answer[Any]) -> dict[str, Any]:
    records = [f"{item.preference} {item.host or '.'}" if answer.rtype == "MX" else str(item) for item in answer.records]
    return {
        "rtype": answer.rtype,
        "security": answer.security.value,
        "outcome": answer.outcome.value,
        "records": records,
        "detail": answer.detail or None,
    }


def _names(given: Sequence[str]) -> list[str]:
    if len(given) > MAX_NAMES:
        raise OperatorError.one("NAME", f"{len(given)} names are too many.", f"Give at most {MAX_NAMES}.")
    try:
        return [compared(name) for name in given]
    except InputError as error:
        raise OperatorError.one("NAME", f"{error}.") from None
