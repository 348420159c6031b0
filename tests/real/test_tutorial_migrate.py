"""docs/tutorial/from-pinned-to-mandatory.md, walked: its commands, against real servers and a running gateway, print what it shows.

Comments `<!-- world: ... -->` of the page say what happens between its commands; each is done by a function here.  Days pass by
the clock that commands are given (Context.moment); the gateway keeps to the wall.  The page's pinned address stands for the one
that the simulated host really has.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simnet.internet import Cert, Host, Internet, simple
from tests.real.gateway_world import GatewayWorld, Story, gateway_world, wait_until
from tools.doc_examples import Step, fences, matches, steps

pytestmark = [pytest.mark.real, pytest.mark.slow]
PAGE = Path(__file__).parents[2] / "docs/tutorial/from-pinned-to-mandatory.md"
PARTNER, PINNED, ADMINS = "fabrikam.com", "192.0.2.4", "postmaster@contoso.com"
CLI = """
import sys
from datetime import UTC, datetime, timedelta
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
ahead = timedelta(seconds=float(sys.argv[1]))
sys.exit(run(sys.argv[3:], lambda asked: Context(sys.argv[2], moment=datetime.now(UTC) + ahead)))
"""


def parts(page: str) -> Iterator[Step | str | tuple[str, str]]:
    """In order: commands, happenings, and files as (name, content)."""
    found: list[tuple[int, Step | str | tuple[str, str]]] = []
    for fence in fences(page):
        if fence.tag == "shell-session":
            found += [(step.first, step) for step in steps(fence)]
        elif fence.file is not None:
            found.append((fence.first, (fence.file, "\n".join(fence.lines) + "\n")))
    for number, line in enumerate(page.splitlines()):
        if event := re.fullmatch(r"<!-- world: (.+) -->", line):
            found.append((number, event[1]))
    return (item for _, item in sorted(found, key=lambda pair: pair[0]))


class Walk:
    """The page's world, and how it goes on."""

    def __init__(self, world: GatewayWorld, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.ahead = timedelta(0)
        self.waiting: list[str] = []
        self.sent = 0
        self.code = 0
        """How the last command ended."""
        self.happenings: dict[str, Callable[[], Awaitable[None]]] = {
            "a message to bob@fabrikam.com is delivered": lambda: self.deliver(1),
            "twenty messages to bob@fabrikam.com are delivered": lambda: self.deliver(20),
            "three messages to bob@fabrikam.com are held": self.hold,
            "fabrikam.com has a new certificate and the old TLSA record": lambda: self.publish("wrong"),
            "fabrikam.com corrects its TLSA record": lambda: self.publish("right"),
            "the gateway rolls back, and what was held is delivered": self.rolled_back,
            "14 days pass": lambda: self.pass_(14),
            "90 days pass": lambda: self.pass_(90),
        }

    @property
    def address(self) -> str:
        return self.world.net.address_of[f"mx.{PARTNER}"]

    def sessions(self) -> int:
        """How many the latest move has."""
        moves = self.world.store.moves
        return sum(day.attempts for move in moves.all("default")[:1] for day in moves.days(move).get(PARTNER, ()))

    async def send(self) -> str:
        self.sent += 1
        return await self.world.send(f"bob@{PARTNER}", f"walk-{self.sent}")

    async def deliver(self, count: int) -> None:
        await asyncio.sleep(3)  # the gateway looks every second whether a command changed connectors
        before = self.sessions()
        for _ in range(count):
            story = await self.world.decided(await self.send())
            assert set(story.statuses.values()) == {"Delivered"}, story
        if self.world.store.moves.under_way():
            await wait_until(lambda: self.sessions() == before + count, "every session is counted")

    async def hold(self) -> None:
        self.waiting = [await self.send() for _ in range(3)]
        for trace_id in self.waiting:
            story = await self.world.decided(trace_id)
            assert set(story.statuses.values()) == {"Pending"}, story
            assert story.last["finding"]["reason"] == "tlsa-invalid"

    async def publish(self, which: str) -> None:
        """The gateway is restarted, so that nobody waits for the old record's time to live."""
        net = self.world.net
        owner = f"_{net.smtp_port}._tcp.mx.{PARTNER}"
        right = net.entities[f"mx.{PARTNER}"].tlsa(3, 1, 1)
        net.world.replace(owner, "TLSA", right if which == "right" else f"3 1 1 {'ab' * 32}")
        net.server.reload()
        await self.world.gateway.stop()
        await self.world.gateway.start()

    async def rolled_back(self) -> None:
        def delivered(story: Story) -> bool:
            return set(story.statuses.values()) == {"Delivered"}

        for trace_id in self.waiting:
            story = await self.world.story(trace_id, delivered)
            assert story.last["rows"][0] == "smart-host", story.last
        await wait_until(lambda: self.sessions() == 4, "every session is counted")
        about = b"Subject: Sealroute: move-rolled-back at fabrikam.com"
        await wait_until(lambda: any(about in item.content for item in self.world.net.mail.messages), "administrators are told")

    async def pass_(self, days: int) -> None:
        self.ahead += timedelta(days=days)

    def run(self, step: Step) -> tuple[str, ...]:
        """What a command of the page prints, in the page's words."""
        if step.command == "echo $?":
            return (str(self.code),)
        command = step.command.replace(PINNED, self.address)
        if command.startswith("sealroute "):
            words = [sys.executable, "-c", CLI, str(self.ahead.total_seconds()), str(self.world.gateway.config)]
            command = shlex.join([*words, *shlex.split(command)[1:]])
        environment = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
        environment |= {"LOGNAME": "admin", "COLUMNS": "120", "NO_COLOR": "1"}
        done = subprocess.run(
            command, shell=True, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False, env=environment
        )  # fmt: skip
        self.code = done.returncode
        printed = (done.stdout + done.stderr).replace(self.address, PINNED)
        return tuple(line.rstrip() for line in printed.splitlines())


async def test_the_tutorial_is_what_happens(tmp_path: Path) -> None:
    destinations = [
        simple(PARTNER, "DANE, and a certificate of the web PKI", Host(("3 1 1",), cert=Cert.WEB)),
        simple("contoso.com", "the administrators", Host()),
    ]

    def toml(net: Internet, port: int) -> str:
        return net.gateway_toml(port, alerts=f'mail_to = "{ADMINS}"')

    now = datetime.now(UTC)
    left = timedelta(days=1) - (now - now.replace(hour=0, minute=0, second=0, microsecond=0))
    if left < timedelta(minutes=4):
        await asyncio.sleep(left.total_seconds() + 1)  # the page's sessions are all of one day
    async with gateway_world(tmp_path, destinations, toml) as world:
        await world.gateway.start()
        walk = Walk(world, tmp_path)
        told: set[str] = set()
        for part in parts(PAGE.read_text()):
            if isinstance(part, str):
                assert part in walk.happenings, f"nobody knows how this happens: {part}"
                await walk.happenings[part]()
                told.add(part)
            elif isinstance(part, tuple):
                (tmp_path / part[0]).write_text(part[1].replace(PINNED, walk.address))
            else:
                printed = await asyncio.to_thread(walk.run, part)
                assert matches(part.expected, printed), f"line {part.first}: $ {part.command}\n" + "\n".join(printed)
        assert told == set(walk.happenings), "the page leaves some of its story out"
        record = (tmp_path / "record.html").read_text()
        assert "<h1>Connector To Fabrikam: from fixed smart hosts to DANE</h1>" in record
        names = {item.name: item for item in world.store.connectors.all("default")}
        assert list(names) == ["To Fabrikam"]
        assert (names["To Fabrikam"].smart_hosts, names["To Fabrikam"].smtp_dane_mode.value) == ((), "Mandatory")
        assert datetime.now(UTC) < world.store.moves.all("default")[0].started.at + timedelta(hours=1)
