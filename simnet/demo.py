"""`make demo`: the gateway's main job on a simulated internet, in under two minutes and without the real one.

It starts signed DNS, mail hosts and policy hosts on loopback, starts a gateway with three organisations whose only connector
says SmtpDaneMode Opportunistic, Mandatory or None, sends one message for each destination and mode, and prints what became
of each and why.  Then it lets a day pass quickly, and shows the notice that the sender of a held message gets.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from simnet.destinations import DEMO, Case
from simnet.gateway import Gateway, send
from simnet.internet import SENDER_DOMAIN, Internet
from simnet.nameserver import free_port

MODES = ("Opportunistic", "Mandatory", "None")
DECIDED_SECONDS = 90.0
DAY_SECONDS = 90.0
CLOCK_SPEED = 8640.0
"""A day in ten seconds."""
COLOURS = {"delivered": "green", "held": "yellow", "returned": "red"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message."""

    verdict: str
    """`delivered dane`, `held 4.7.323`, `returned 5.1.10`, or empty while undecided."""
    sentence: str = ""
    trace_id: str = ""


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="sealroute-demo-") as folder:
        sys.exit(asyncio.run(Demo(console, Path(folder)).run()))


class Demo:
    """The steps, one method each."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console = console
        self.folder = folder
        self.ports = {mode: free_port("127.0.0.1") for mode in MODES}
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        """What became of each message, by mode and destination."""
        self.wrong: list[str] = []
        """Cells of the table that are not as they should be, in words."""
        self.notice = b""
        """The notice that the sender of a returned message got."""

    async def run(self) -> int:
        """Everything; 0 when all came out as it should."""
        started = time.monotonic()
        self.console.print(Panel("[bold]Sealroute[/] on a simulated internet of DNS, mail and policy hosts"))
        async with Internet(self.folder, [case.destination for case in DEMO]) as net:
            gateways = self.configure(net)
            gateway = next(iter(gateways.values()))
            for mode, configured in gateways.items():
                self.add_connector(configured, mode)
            try:
                await gateway.start()
                await self.send_all()
                self.outcomes = await self.wait(gateways)
                self.show()
                self.show_reasons()
                self.why(gateways["Mandatory"])
            finally:
                # Also on Ctrl-C or a closed terminal: no gateway is left behind.
                await gateway.stop()
            await self.pass_a_day(net, gateway)
        self.next_steps(time.monotonic() - started)
        return 1 if self.wrong or not self.notice else 0

    # ------------------------------------------------------------------------------------------------------ setting up

    def configure(self, net: Internet) -> dict[str, Gateway]:
        """One store; a configuration for each organisation's commands, the first of which also serves."""
        listeners = "\n".join(
            f'[[listeners]]\nkind = "relay"\nport = {self.ports[mode]}\norganization = "{mode.lower()}"' for mode in MODES
        )
        base = net.gateway_toml(1).replace('[[listeners]]\nkind = "relay"\nport = 1', listeners)
        return {mode: Gateway(self.folder, f'organization = "{mode.lower()}"\n{base}', f"org-{mode.lower()}") for mode in MODES}

    def add_connector(self, gateway: Gateway, mode: str) -> None:
        gateway.run("organization", "add", mode.lower())
        arguments = ("New-OutboundConnector", f"{mode} to all", "-RecipientDomains", "*", "-SmtpDaneMode", mode)
        self.console.print(
            f"[dim]sealroute {' '.join(repr(item) if ' ' in item or item == '*' else item for item in arguments)}[/]"
        )
        gateway.run(*arguments)

    # ------------------------------------------------------------------------------------------------ sending and waiting

    async def send_all(self) -> None:
        for mode, case in everything():
            to = f"bob@{case.destination.domain}"
            await send(self.ports[mode], to, message_id(mode, case), subject=f"Hello from the {mode} connector")

    async def wait(self, gateways: dict[str, Gateway]) -> dict[tuple[str, str], Outcome]:
        """Poll the trace until every message was delivered, held with a reason, or returned."""
        outcomes: dict[tuple[str, str], Outcome] = {}
        columns = (TextColumn("messages decided"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("decided", total=len(MODES) * len(DEMO))
            deadline = time.monotonic() + DECIDED_SECONDS
            while time.monotonic() < deadline and len(outcomes) < len(MODES) * len(DEMO):
                await asyncio.sleep(0.5)
                outcomes = await asyncio.to_thread(read_outcomes, next(iter(gateways.values())).folder / "queue.db")
                progress.update(task, completed=len(outcomes))
        return outcomes

    # ----------------------------------------------------------------------------------------------------------- showing

    def show(self) -> None:
        """The table destination × mode."""
        wide = self.console.width >= 110
        table = Table(title="What became of each message, by the connector's SmtpDaneMode", show_lines=False)
        table.add_column("destination", no_wrap=True)
        if wide:
            table.add_column("what it publishes")
        for mode in MODES:
            table.add_column(mode, no_wrap=True)
        for case in DEMO:
            about = [case.destination.about] if wide else []
            table.add_row(case.destination.domain, *about, *(self.judged(mode, case) for mode in MODES))
        self.console.print(table)
        if not wide:
            self.console.print("[dim]110 columns also show what each destination publishes.[/]")

    def judged(self, mode: str, case: Case) -> Text:
        """One cell, held against what is expected."""
        outcome = self.outcomes.get((mode, case.name), Outcome("undecided"))
        expected = case.expected(mode)
        if outcome.verdict != expected:
            self.wrong.append(f"{case.destination.domain} under {mode}: {outcome.verdict}, expected {expected}")
            return Text(f"{outcome.verdict}\nexpected {expected}", "bold red")
        return Text(outcome.verdict, COLOURS.get(outcome.verdict.split(" ")[0], "white"))

    def show_reasons(self) -> None:
        """Each reason once, with one of the destinations it was found at."""
        examples: dict[str, str] = {}
        for (_, name), outcome in sorted(self.outcomes.items()):
            if outcome.verdict.startswith("held"):
                examples.setdefault(outcome.sentence.replace(name, "*"), outcome.sentence)
        table = Table(title="Why mail waits", show_header=False, show_lines=True)
        for sentence in sorted(examples.values()):
            table.add_row(sentence)
        self.console.print(table)

    def why(self, gateway: Gateway) -> None:
        """One held message's trace, as an administrator sees it."""
        outcome = self.outcomes.get(("Mandatory", "dane-mismatch"))
        if outcome is None:
            return
        self.console.print(f"\n[dim]sealroute trace {outcome.trace_id}[/]")
        self.console.print(Text(gateway.run("trace", outcome.trace_id, columns=self.console.width)))

    async def pass_a_day(self, net: Internet, gateway: Gateway) -> None:
        """Run the same queue with a fast clock until the notices about held mail have come back."""
        toml = gateway.config.read_text() + f"\n[lab]\nclock_speed = {CLOCK_SPEED}\n"
        fast = Gateway(gateway.folder, toml, "fast")
        held = sum(case.expected(mode).startswith("held") for mode, case in everything())
        self.console.print(f"\nA day passes in {86400 / CLOCK_SPEED:.0f} seconds; held mail is tried again, then returned ...")
        try:
            await fast.start()
            deadline = time.monotonic() + DAY_SECONDS
            returned: list[bytes] = []
            while time.monotonic() < deadline and not (self.notice and len(returned) >= held):
                await asyncio.sleep(0.2)
                notices = [item.content for item in net.mail.messages if SENDER_DOMAIN in item.recipients[0]]
                returned = [notice for notice in notices if b"Action: failed" in notice]
                self.notice = next((notice for notice in returned if is_ndr_of(notice, "dane-mismatch")), b"")
        finally:
            await fast.stop()
        if self.notice:
            self.console.print(f"{len(returned)} messages were returned.")
            self.console.print(Panel(Text(human_part(self.notice)), title="The sender of a returned message reads"))
        else:
            self.console.print("[bold red]no notice came back[/]")

    def next_steps(self, seconds: float) -> None:
        self.console.print(
            Panel(
                f"Done in {seconds:.0f} seconds. Look at next:\n"
                "  docs/tutorial/first-gateway.md         behind your own mail server\n"
                "  docs/how-to/private-roots-and-labs.md  a lab of your own\n"
                "  docs/reference/decision-table.md       every rule that decided above\n"
                "  .venv/bin/sealroute --help             Exchange's cmdlets work, too"
            )
        )


def everything() -> Iterator[tuple[str, Case]]:
    """Every (mode, case)."""
    for mode in MODES:
        for case in DEMO:
            yield mode, case


def message_id(mode: str, case: Case) -> str:
    return f"{mode.lower()}.{case.name}"


def read_outcomes(database: Path) -> dict[tuple[str, str], Outcome]:
    """What the trace says of every message that has been decided, by (mode, destination)."""
    from datetime import UTC, datetime, timedelta

    from sealroute.ports import TraceQuery
    from sealroute.store.store import open_store

    store = open_store(f"sqlite:///{database}").admin
    try:
        now = datetime.now(UTC)
        rows = store.traces.search(TraceQuery(now - timedelta(hours=1), now + timedelta(minutes=1), limit=5000))
        found = {}
        for row in rows:
            mode, _, name = row.message_id.strip("<>").partition("@")[0].partition(".")
            known = next((item for item in MODES if item.lower() == mode), None)
            if known is None:
                continue
            outcome = read_outcome(store.traces.attempts(row.message_trace_id), row.status, row.message_trace_id)
            if outcome is not None:
                found[known, name] = outcome
        return found
    finally:
        store.close()


def read_outcome(attempts: list[dict[str, object]], status: str, trace_id: str) -> Outcome | None:
    """One message's outcome from its attempt records; None while there is none."""
    if not attempts:
        return None
    if status == "Delivered":
        verdict = attempts[-1]["verdict"]
        assert isinstance(verdict, dict)
        return Outcome(f"delivered {verdict['protection']}", trace_id=trace_id)
    findings = [item["finding"] for item in attempts if item.get("finding")]
    if not findings:
        return None
    finding = findings[0]
    assert isinstance(finding, dict)
    code = str(finding["code"])
    if status == "Failed":
        return Outcome(f"returned {code}", str(finding["sentence"]), trace_id)
    return Outcome(f"held {code}", f"{code} {finding['sentence']}", trace_id)


def is_ndr_of(notice: bytes, name: str) -> bool:
    return b"multipart/report" in notice and f"bob@{name}.test".encode() in notice and b"Action: failed" in notice


def human_part(notice: bytes) -> str:
    """The part of a notice that is for people."""
    parsed = message_from_bytes(notice, policy=policy.default)
    body = parsed.get_body(("plain",))
    subject = f"Subject: {parsed['Subject']}\n\n"
    return subject + (str(body.get_content()) if body is not None else "")


if __name__ == "__main__":
    main()
