"""A whole world for tests of the running gateway: the simulated internet, a gateway process, and eyes on its store.

Mail goes in by smtplib, a client that is not ours; what became of it is read from the store, as the command line does.
"""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sealroute.ports import TraceEvent, TraceQuery, TraceRow
from sealroute.store.store import AdminStore, open_store
from simnet.gateway import Gateway, message
from simnet.internet import Destination, Internet
from simnet.mailhost import Received
from simnet.nameserver import free_port

SENDER = "alice@sender.test"
WAIT_SECONDS = 300.0
"""For anything that should happen soon; generous, because the machine may be busy."""


@dataclass(frozen=True, slots=True)
class Story:
    """What the trace says of one message."""

    rows: list[TraceRow]
    events: list[TraceEvent]
    attempts: list[dict[str, Any]]

    @property
    def statuses(self) -> dict[str, str]:
        """Status by recipient."""
        return {row.recipient: row.status for row in self.rows}

    @property
    def steps(self) -> list[tuple[str, str]]:
        """(event, recipient) in order."""
        return [(event.event, event.recipient) for event in self.events]

    @property
    def last(self) -> dict[str, Any]:
        return self.attempts[-1]

    def text(self, event: str) -> str:
        """The description of the first event of this kind."""
        return next(item.description for item in self.events if item.event == event)


class GatewayWorld:
    """One internet, one gateway, one store."""

    def __init__(self, net: Internet, gateway: Gateway, port: int) -> None:
        self.net = net
        self.gateway = gateway
        self.port = port
        self.store: AdminStore = open_store(f"sqlite:///{gateway.folder / 'queue.db'}").admin

    async def submit(self, client: Callable[[], str]) -> str:
        """Run a blocking client; returns the message id in the reply it returns."""
        return message_id(await asyncio.to_thread(client))

    async def send(self, to: str | Sequence[str], sim_id: str, content: bytes | None = None, **how: Any) -> str:
        """Relay one message; returns its trace id.  `how` goes to `hand_over`."""
        recipients = [to] if isinstance(to, str) else list(to)
        content = content if content is not None else message(recipients[0], sim_id, sender=SENDER)
        how = {"port": self.port, **how}
        return await self.submit(lambda: hand_over(recipients, content, **how))

    async def story(self, trace_id: str, until: Callable[[Story], bool]) -> Story:
        """What became of a message, once it is as expected; AssertionError with the story when it does not become so."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            story = await asyncio.to_thread(self.read, trace_id)
            if story.rows and until(story):
                return story
            assert time.monotonic() < deadline, f"still not as expected: {story}"
            await asyncio.sleep(0.05)

    async def decided(self, trace_id: str) -> Story:
        """The story once every recipient was delivered, returned, or held with a reason."""

        def done(story: Story) -> bool:
            spoken = {event.recipient for event in story.events}
            return all(row.status != "Pending" or row.recipient in spoken for row in story.rows)

        return await self.story(trace_id, done)

    def read(self, trace_id: str) -> Story:
        now = datetime.now(UTC)
        span = timedelta(days=1)
        query = TraceQuery(now - span, now + span, message_trace_id=trace_id)
        rows = self.store.traces.search(query)
        while True:  # until nobody was delivered between the readings: a status and its event then belong together
            story = Story(rows, self.store.traces.events(trace_id), self.store.traces.attempts(trace_id))
            rows = self.store.traces.search(query)
            if rows == story.rows:
                return story

    async def received(self, sim_id: str, count: int = 1) -> list[Received]:
        """The copies of a message at its destinations, once there are that many."""
        await wait_until(lambda: len(self.net.mail.by_id(sim_id)) >= count, f"{count} copies of {sim_id}")
        return self.net.mail.by_id(sim_id)

    async def notice(self, about: str, action: str = "failed") -> bytes:
        """The notice to the sender that names this text (an address, or the trace id)."""

        def found() -> list[bytes]:
            notices = (item.content for item in self.net.mail.messages if item.mail.startswith("<>"))
            wanted = f"Action: {action}".encode()
            return [content for content in notices if about.encode() in content and wanted in content]

        await wait_until(lambda: bool(found()), f"a notice about {about}")
        return found()[0]

    async def run(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
        """A `sealroute` command."""
        return await asyncio.to_thread(lambda: self.gateway.run(*arguments, ok=ok))

    async def json(self, *arguments: str) -> Any:
        return await asyncio.to_thread(self.gateway.json, *arguments)


@asynccontextmanager
async def gateway_world(
    folder: Path, destinations: Sequence[Destination], toml: Callable[[Internet, int], str] | None = None
) -> AsyncIterator[GatewayWorld]:
    """All of it, the gateway not yet started."""
    async with Internet(folder, destinations) as net:
        port = free_port("127.0.0.1")
        gateway = Gateway(folder, toml(net, port) if toml else net.gateway_toml(port))
        world = GatewayWorld(net, gateway, port)
        try:
            yield world
        finally:
            world.store.close()
            await gateway.stop()


async def wait_until(true: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Return once it is true; AssertionError after the time given."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.05)


def message_id(reply: str) -> str:
    """The id in `2.6.0 <id> Queued`."""
    words = reply.split()
    assert words[-1] == "Queued", reply
    return words[-2]


def hand_over(
    recipients: Sequence[str], content: bytes, *, port: int, host: str = "127.0.0.1", sender: str = SENDER,
    mail: Sequence[str] = (), rcpt: Sequence[str] = (), starttls: bool = False, login: tuple[str, str] | None = None,
) -> str:  # fmt: skip
    """One SMTP session with one message, by smtplib; returns the reply to the message.  smtplib's exceptions otherwise."""
    with smtplib.SMTP(host, port, local_hostname="client.sender.test", timeout=WAIT_SECONDS) as client:
        client.ehlo()
        if starttls:
            client.starttls()
            client.ehlo()
        if login:
            client.login(*login)
        if "SMTPUTF8" in mail:
            client.command_encoding = "utf-8"
        check(client.mail(sender, list(mail)))
        for recipient in recipients:
            check(client.rcpt(recipient, list(rcpt)))
        return check(client.data(content))


def check(answer: tuple[int, bytes]) -> str:
    """The text of a positive reply; SMTPResponseException otherwise."""
    code, text = answer
    if code // 100 != 2:
        raise smtplib.SMTPResponseException(code, text)
    return text.decode()
