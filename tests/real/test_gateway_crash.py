"""kill -9 of the whole gateway while mail goes through it: what it answered 250 for is delivered, or still in its queue.

Several connections send numbered messages without pause and begin again wherever the gateway died; a message whose answer
was lost is sent once more, as a real client would.  In between the gateway is killed at random moments and started again.
At the end everything answered with 250 must have arrived at least once: the mail host writes down what it takes *before* it
answers, so a message taken twice shows as a duplicate and one taken never as a loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from simnet.gateway import Gateway, message
from simnet.internet import Host, Internet, simple
from simnet.nameserver import free_port
from tests.real.gateway_world import SENDER, wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow]

MESSAGES = 2000
SENDERS = 8
KILLS = 5
DOMAINS = ("one.test", "two.test", "three.test")
SEND_SECONDS = 60.0
ARRIVE_SECONDS = 60.0
BODY = "A line of some length, so that a message has a few kilobytes in it.\r\n" * 60


@dataclass
class Sent:
    """What the clients know."""

    total: int = MESSAGES
    next: int = 0
    accepted: set[int] = field(default_factory=set)
    """Answered 250."""
    unanswered: int = 0
    """The connection ended before the answer; sent again."""
    deadline: float = 0.0

    def take(self) -> int | None:
        if self.next >= self.total:
            return None
        self.next += 1
        return self.next


async def send_all(ports: Sequence[int], sent: Sent) -> None:
    """One client: takes number after number, and begins again, at the next port, where the gateway is not there."""
    number = sent.take()
    turns = itertools.cycle(ports)
    while number is not None and time.monotonic() < sent.deadline:
        port = next(turns)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        with contextlib.suppress(OSError, EOFError):
            await _greet(reader, writer)
            while number is not None:
                await _hand_over(reader, writer, number)
                sent.accepted.add(number)
                number = sent.take()
        sent.unanswered += number is not None
        writer.close()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _reply(reader)
    writer.write(b"EHLO client.sender.test\r\n")
    await _reply(reader)


async def _hand_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    to = f"bob@{DOMAINS[number % len(DOMAINS)]}"
    writer.write(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode())
    for _ in range(3):
        await _reply(reader)
    writer.write(message(to, str(number), sender=SENDER, body=BODY) + b".\r\n")
    assert (await _reply(reader)).startswith(b"250 ")


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """The last line of a reply; EOFError when the connection ended."""
    while True:
        line = await asyncio.wait_for(reader.readline(), 60)
        if not line.endswith(b"\n"):
            raise EOFError
        if line[3:4] != b"-":
            assert line[:1] in (b"2", b"3"), line
            return line


async def test_killed_again_and_again_nothing_accepted_vanishes(tmp_path: Path) -> None:
    chance = random.Random()
    destinations = [simple(domain, "DANE", Host(("3 1 1",), profile="chunking")) for domain in DOMAINS]
    async with Internet(tmp_path, destinations) as net:
        port = free_port("127.0.0.1")
        gateway = Gateway(tmp_path, net.gateway_toml(port, logging='level = "warning"', retry='schedule = ["1s"]'))
        sent = Sent(deadline=time.monotonic() + SEND_SECONDS)
        await gateway.start()
        clients = [asyncio.create_task(send_all([port], sent)) for _ in range(SENDERS)]
        try:
            for kill in range(KILLS):
                # Spread over the load by how far it has come, and not by the clock: machines differ in speed.
                share = (kill + chance.random()) / KILLS
                await wait_until(partial(_has_come, sent, share), "the next kill", SEND_SECONDS)
                await gateway.kill()
                await gateway.start()
            await asyncio.gather(*clients)
            assert len(sent.accepted) == MESSAGES, "the clients could not hand everything over in time"
            with contextlib.suppress(AssertionError):
                await wait_until(lambda: len(arrived_in(net)) >= MESSAGES, "all delivered", ARRIVE_SECONDS)
        finally:
            for client in clients:
                client.cancel()
            await gateway.stop()

        arrived = arrived_in(net)
        waiting = _waiting(tmp_path)
        lost = sent.accepted - set(arrived) - waiting
        copies = sum(arrived.values()) - len(arrived)
        print(f"{KILLS} kills, {sent.unanswered} unanswered, {len(waiting)} still queued, {copies} duplicates")
        assert lost == set(), f"lost: {sorted(lost)[:10]}"
        assert not waiting, "nothing stood in the way, so everything should have been delivered by now"
        # Twice goes only what was under way at a kill: at the clients, or on the sessions out.
        assert copies <= KILLS * (SENDERS + 20 * len(DOMAINS))


def _has_come(sent: Sent, share: float) -> bool:
    return len(sent.accepted) >= share * MESSAGES


def arrived_in(net: Internet) -> Counter[int]:
    return Counter(int(item.id) for item in net.mail.messages if item.id.isdigit())


def _waiting(folder: Path) -> set[int]:
    """The numbers of what the queue still holds, read from the database itself."""
    with contextlib.closing(sqlite3.connect(folder / "queue.db")) as database:
        found = database.execute("SELECT m.header_message_id FROM message m JOIN recipient_group g ON g.message_id = m.id")
        return {int(row[0].strip("<>").partition("@")[0]) for row in found}
