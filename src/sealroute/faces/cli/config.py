"""`sealroute config check|show|example|reference`."""

from __future__ import annotations

import sys
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Annotated

import typer

from sealroute.base.errors import OperatorError
from sealroute.faces.cli import screen
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.output import emit_json, printable, warn
from sealroute.settings import ListenerKind, ResolverKind, Settings, check_files
from sealroute.settings.durations import format_duration
from sealroute.settings.outbound import AD_ONLY, UNBOUND_ONLY

app = typer.Typer(
    help="Check the configuration file, show what is in force, print an example.",
    epilog="--config FILE names the file, before or after the command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)


@app.command()
def check(ctx: typer.Context, as_json: screen.JsonFlag = False) -> None:
    """Tell whether the configuration can be used: a summary of what would run, or every problem (exit code 2)."""
    context: Context = ctx.obj
    problems = []
    try:
        settings = context.settings
        problems = [*check_files(settings)]
    except OperatorError as error:
        problems = list(error.problems)
    if as_json:
        rows = [{"where": problem.where, "problem": problem.what, "fix": problem.fix} for problem in problems]
        advice = [] if problems else warnings(settings)
        emit_json({"ok": not problems, "file": str(context.config_path or ""), "problems": rows, "warnings": advice})
    elif problems:
        for problem in problems:
            sys.stderr.write(printable(str(problem)) + "\n")
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        sys.stderr.write(f"{count} in {context.config_path or 'the built-in defaults'}.\n")
    else:
        sys.stdout.write(f"{context.config_path or 'No configuration file: built-in defaults'}: OK\n\n{summary(settings)}\n")
        warn(warnings(settings))
    if problems:
        raise typer.Exit(2)


@app.command()
def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of TOML.")] = False,
) -> None:
    """Show the settings in force, defaults filled in."""
    context: Context = ctx.obj
    settings = effective(context.settings)
    if as_json:
        emit_json(settings)
        return
    sys.stdout.write(f"# From {context.config_path or 'built-in defaults'}\n" + as_toml(settings))


@app.command()
def example() -> None:
    """Print a commented example of a configuration file with every setting."""
    from sealroute.settings.document import example_toml

    sys.stdout.write(example_toml())


class Page(Enum):
    SETTINGS = "settings"
    CLI = "cli"
    METRICS = "metrics"


@app.command(hidden=True)
def reference(page: Annotated[Page, typer.Argument(help="Which page.")] = Page.SETTINGS) -> None:
    """Print a page of docs/reference."""
    match page:
        case Page.SETTINGS:
            from sealroute.settings.document import reference_markdown as printed
        case Page.CLI:
            from sealroute.faces.cli.document import cli_markdown as printed
        case Page.METRICS:
            from sealroute.services.metrics import reference_markdown as printed
    sys.stdout.write(printed())


def effective(settings: Settings) -> dict[str, object]:
    """The settings as plain values, as they would be written in the file; a password in the store's URL is hidden."""
    from datetime import timedelta

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if isinstance(value, timedelta):
            return format_duration(value)
        return value if value is None or isinstance(value, (bool, int, float)) else str(getattr(value, "value", value))

    table = plain(settings.model_dump(by_alias=True))
    assert isinstance(table, dict)
    table["hostname"] = settings.hostname
    table["store"]["url"] = _without_password(settings.store.url)
    for row, listener in zip(table["listeners"], settings.listeners, strict=True):
        row["port"] = listener.effective_port
        if listener.kind is ListenerKind.SUBMISSION:
            del row["networks"], row["organization"]
    for name in UNBOUND_ONLY if settings.resolver.kind is ResolverKind.AD else AD_ONLY:
        del table["resolver"][name]
    return table


def as_toml(settings: dict[str, object]) -> str:
    """Plain settings as TOML text that can be loaded again."""
    from sealroute.settings.document import toml_value

    lines: list[str] = []

    def write(table: dict[str, object], heading: str) -> None:
        for key, value in table.items():
            if value is not None and not _is_section(value):
                lines.append(f"{key} = {toml_value(value)}")
        for key, value in table.items():
            name = f"{heading}.{key}" if heading else key
            if isinstance(value, dict):
                lines.append(f"\n[{name}]")
                write(value, name)
            elif isinstance(value, list) and _is_section(value):
                for entry in value:
                    lines.append(f"\n[[{name}]]")
                    write(entry, name)

    write(settings, "")
    return "\n".join(lines) + "\n"


def _is_section(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at or ":" not in credentials:
        return url
    return f"{scheme}{separator}{credentials.partition(':')[0]}:***@{place}"


def summary(settings: Settings) -> str:
    """What would run, in a few lines that an administrator can hold against their intention."""
    rows = [("Name", settings.hostname)]
    for listener in settings.listeners:
        place = f"[{listener.address}]" if ":" in listener.address else listener.address
        if listener.kind is ListenerKind.RELAY:
            who = f"mail from {', '.join(listener.networks)}"
        else:
            who = "mail from users after login"
        tls = "implicit TLS" if listener.implicit_tls else "STARTTLS" if listener.tls_certificate else "no TLS"
        rows.append((f"Listens ({listener.kind.value})", f"{place}:{listener.effective_port}, {who}, {tls}"))
    if settings.worker_count > 1:
        rows.append(("Workers", f"{settings.worker_count} processes; a destination's connections are divided among them"))
    rows.append(("Store", _without_password(settings.store.url)))
    rows.append(("Resolver", _resolver(settings)))
    families = " and ".join(family.value for family in settings.delivery.address_families)
    rows.append(("Delivers", f"to port {settings.delivery.smtp_port} over {families}{_private(settings)}"))
    retry = settings.retry
    waits = ", ".join(map(format_duration, retry.schedule))
    expiry = format_duration(retry.message_expiration)
    rows.append(("Retries", f"after {waits} (the last repeats), ±{retry.jitter_percent} %; returns mail after {expiry}"))
    http = f"http://{settings.http.address}:{settings.http.port}/metrics and /healthz" if settings.http.enabled else "off"
    rows.append(("Observe", f"{http}; log level {settings.logging.level.value}"))
    if settings.lab.clock_speed != 1:
        rows.append(("LAB", f"the queue's clock runs {settings.lab.clock_speed:g} times faster"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)


def warnings(settings: Settings) -> list[str]:
    """What is allowed, and probably not meant."""
    found = []
    if "." not in settings.hostname:
        found.append(f"the host name is {settings.hostname!r}, which many servers refuse in EHLO. Set hostname.")
    resolver = settings.resolver
    if resolver.kind is ResolverKind.AD and not resolver.trusted:
        distant = [server for server in resolver.servers if not ip_address(server.partition("@")[0]).is_loopback]
        if distant:
            text = f"the AD bit of {', '.join(distant)} is not believed, so DANE never applies to what they answer."
            found.append(f'{text} Use a resolver on loopback, kind = "unbound", or trusted = true.')
    for index, listener in enumerate(settings.listeners, start=1):
        if listener.kind is ListenerKind.RELAY and any(ip_network(net).prefixlen == 0 for net in listener.networks):
            found.append(f"listeners[{index}] relays mail for the whole Internet. Narrow its networks.")
    workers, per_destination = settings.worker_count, settings.delivery.max_connections_per_destination
    if per_destination < workers:
        found.append(
            f"{workers} workers may open a connection to a destination each, more than "
            f"delivery.max_connections_per_destination = {per_destination}. Allow more connections, or run fewer workers."
        )
    if settings.lab.clock_speed != 1:
        found.append("lab.clock_speed is set: retries and expiry do not take their real time. Not for production.")
    return found


def _resolver(settings: Settings) -> str:
    resolver = settings.resolver
    if resolver.kind is ResolverKind.AD:
        believed = "believed (trusted = true)" if resolver.trusted else "believed from loopback only"
        return f"asks {', '.join(resolver.servers)}; their AD bit is {believed}"
    way = f"forwards to {', '.join(resolver.forwarders)}" if resolver.forwarders else "recursion from the root"
    stubs = f", {len(resolver.stub_zones)} stub zone(s)" if resolver.stub_zones else ""
    anchor = resolver.trust_anchor_file or "IANA's root keys"
    return f"validates here (libunbound), {way}{stubs}, trust anchor: {anchor}"


def _private(settings: Settings) -> str:
    return ", private destinations allowed" if settings.delivery.allow_private_destinations else ""
