"""The load client: numbered messages over some connections, as fast as the server takes them or at a steady rate.

    python -m benchmarks.load < plan.json > result.json

A process of its own; plan and result are one JSON object each, `Plan` and `Result`.  The server must offer PIPELINING
[RFC 2920]: MAIL, RCPT and DATA go together, and at full speed with the content of the message before, so that a message costs
one round trip.  Each carries `X-Sim-Id: <number>`, which is all that differs between messages.

At a rate, messages begin when they are due, whether or not those before them have been answered.  When no connection is free
the message waits, and the wait counts: else a server that stalls would look better than it is.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

LINE = b"The quick brown fox jumps over the lazy dog, and so on, for as long as the message shall be..\r\n"
HEAD = (
    b"From: alice@sender.test\r\nTo: bob@example.test\r\nSubject: load\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be sent."""

    ports: list[int]
    """Of 127.0.0.1; connections take turns."""
    domains: list[str]
    """Recipient domains; messages take turns."""
    first: int
    """The number of the first message."""
    messages: int
    size: int
    """Octets of a whole message."""
    connections: int
    rate: float = 0.0
    """Messages per second; 0: as fast as they are taken."""
    limit_seconds: float = 300.0


@dataclass(slots=True)
class Result:
    """What came of it."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Replies to the others."""
    begun: list[int] = field(default_factory=list)
    """When each message began, in CLOCK_MONOTONIC's nanoseconds; 0: never."""
    last_answer: int = 0
    cpu_seconds: float = 0.0


class Load:
    """The messages, shared by all connections."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.result = Result(begun=[0] * plan.messages)
        self.waiting: deque[int] = deque()
        """Messages that are due and have no connection yet."""
        self.idle: list[Connection] = []
        self.answered = 0
        self.done = asyncio.Event()
        self._next = 0
        fixed = len(HEAD) + len(self._header(10**6))
        text = LINE * ((plan.size - fixed) // len(LINE) + 1)
        self._body = text[: max(plan.size - fixed - 2, 0)].rstrip(b"\r\n") + b"\r\n.\r\n"
        self._commands = [f"@{domain}>\r\nDATA\r\n".encode() for domain in plan.domains]

    def take(self) -> int | None:
        """The next message for a connection that has nothing to do."""
        if self.waiting:
            return self.waiting.popleft()
        if self.plan.rate or self._next == self.plan.messages:
            return None
        self._next += 1
        return self._next - 1

    def commands(self, number: int) -> bytes:
        """MAIL, RCPT and DATA."""
        return b"MAIL FROM:<alice@sender.test>\r\nRCPT TO:<bob%d" % (number % 97) + self._commands[number % len(self._commands)]

    def content(self, number: int) -> bytes:
        return b"".join((HEAD, self._header(self.plan.first + number), self._body))

    @staticmethod
    def _header(sim_id: int) -> bytes:
        return b"Message-ID: <%d@load.sender.test>\r\nX-Sim-Id: %d\r\n\r\n" % (sim_id, sim_id)

    def began(self, number: int) -> None:
        self.result.begun[number] = self.result.begun[number] or time.monotonic_ns()

    def answer(self, reply: bytes) -> None:
        """The last word about one message."""
        self.answered += 1
        if reply.startswith(b"250"):
            self.result.accepted += 1
            self.result.last_answer = time.monotonic_ns()
        else:
            self.result.refused[reply[:100].decode(errors="replace")] += 1
        if self.answered == self.plan.messages:
            self.done.set()


class Connection(asyncio.Protocol):
    """One SMTP session; `_expected` are the replies that are still to come."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._expected: deque[str] = deque(["greeting"])
        self._number: int | None = None
        self._sent: int | None = None
        """The message whose content is out and not yet answered."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for number in (self._number, self._sent):
            if number is not None:
                self._load.answer(b"connection lost")
        self._number = self._sent = None
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self._reply(self._expected.popleft() if self._expected else "", line)

    def _reply(self, stage: str, line: bytes) -> None:
        match stage:
            case "greeting":
                self._expected.append("ehlo")
                self._transport.write(b"EHLO load.sender.test\r\n")
            case "ehlo":
                self._next(b"")
            case "data" if line.startswith(b"354") and self._number is not None:
                content, self._sent, self._number = self._load.content(self._number), self._number, None
                self._expected.append("content")
                if self._load.plan.rate:
                    self._transport.write(content)
                else:
                    self._next(content)
            case "content":
                self._sent = None
                self._load.answer(line)
                if self._number is None:
                    self._next(b"")
            case _ if not line.startswith(b"2"):
                # MAIL, RCPT or DATA refused: this message is over, and the session with it, since what the server still
                # expects is uncertain.  Others go on.
                self._number = None
                self._load.answer(line)
                self._transport.close()
            case _:
                pass

    def _next(self, content: bytes) -> None:
        """Send content and, with it, the commands of the next message if there is one."""
        number = self._load.take()
        if number is not None:
            self.begin(number, content)
        elif content:
            self._transport.write(content)
        else:
            self._load.idle.append(self)

    def begin(self, number: int, content: bytes = b"") -> None:
        self._number = number
        self._expected += ("mail", "rcpt", "data")
        self._load.began(number)
        self._transport.write(content + self._load.commands(number))

    def quit(self) -> None:
        self._transport.write(b"QUIT\r\n")


async def _due(load: Load) -> None:
    """Let each message begin when it is due."""
    loop, plan = asyncio.get_running_loop(), load.plan
    start = loop.time()
    for number in range(plan.messages):
        wait = start + number / plan.rate - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        load.began(number)
        if load.idle:
            load.idle.pop().begin(number)
        else:
            load.waiting.append(number)


async def run(plan: Plan) -> Result:
    """Send everything; returns when all is answered, every connection is lost, or the time is up."""
    loop, load, started = asyncio.get_running_loop(), Load(plan), time.process_time()
    ports = [plan.ports[n % len(plan.ports)] for n in range(plan.connections)]
    made = [(await loop.create_connection(lambda: Connection(load), "127.0.0.1", port))[1] for port in ports]
    ticker = asyncio.ensure_future(_due(load)) if plan.rate else None
    answered = asyncio.ensure_future(load.done.wait())
    lost = asyncio.ensure_future(asyncio.wait([connection.ended for connection in made]))
    await asyncio.wait([answered, lost], timeout=plan.limit_seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in (answered, lost, *([ticker] if ticker else [])):
        task.cancel()
    for connection in made:
        connection.quit()
    await asyncio.sleep(0.05)
    load.result.cpu_seconds = time.process_time() - started
    return load.result


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    json.dump(asdict(uvloop.run(run(plan))), sys.stdout)


if __name__ == "__main__":
    main()
