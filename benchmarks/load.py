"""A load client: N messages over some connections, pipelined, as fast as the server takes them; a process of its own.

    python -m benchmarks.load 127.0.0.1 2525 --messages 10000 --size 10240 --connections 20 --domains d0.test,d1.test

Prints one JSON object: how many were answered 250, the replies of the others, and the wall clock times of the first and the
last of them.  Each message carries `X-Sim-Id: <number>`, so that the sink can count it.  The server must offer PIPELINING
[RFC 2920]: MAIL, RCPT and DATA go together with the content of the message before, one round trip per message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

LINE = b"The quick brown fox jumps over the lazy dog, and then it comes back and jumps over it again.\r\n"


@dataclass(slots=True)
class Load:
    """What is to be sent, shared by all connections, and what came of it."""

    messages: int
    body: bytes
    domains: list[str]
    next: int = 0
    accepted: int = 0
    refused: list[str] = field(default_factory=list)
    first_at: float = 0.0
    last_at: float = 0.0

    def take(self) -> int | None:
        """The number of the next message; None when there is none left."""
        if self.next >= self.messages:
            return None
        self.next += 1
        return self.next - 1

    def answered(self, reply: bytes) -> None:
        now = time.time()
        self.first_at = self.first_at or now
        self.last_at = now
        if reply.startswith(b"250"):
            self.accepted += 1
        elif len(self.refused) < 100:
            self.refused.append(reply.decode(errors="replace"))


class Connection(asyncio.Protocol):
    """One SMTP session."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._expected: list[str] = ["greeting"]
        self._number: int | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._number is not None:
            self._load.answered(b"connection lost")
        if not self.done.done():
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self._reply(self._expected.pop(0) if self._expected else "", line)

    def _reply(self, stage: str, line: bytes) -> None:
        if stage == "greeting":
            self._expected.append("ehlo")
            self._transport.write(b"EHLO load.sender.test\r\n")
        elif stage == "ehlo":
            self._begin(b"")
        elif stage == "data" and line.startswith(b"354"):
            content = self._content()
            self._expected.append("message")
            self._begin(content)
        elif stage == "message":
            self._load.answered(line)
            if not self._expected:
                self._number = None
                self._transport.write(b"QUIT\r\n")
        elif not line.startswith(b"2"):
            self._load.answered(line)
            self._number = None
            self._transport.close()

    def _content(self) -> bytes:
        number = self._number
        head = (
            f"From: alice@sender.test\r\nTo: bob@example.test\r\nSubject: load\r\nMessage-ID: <{number}@load.sender.test>\r\n"
        )
        head += f"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nX-Sim-Id: {number}\r\n\r\n"
        return head.encode() + self._load.body + b".\r\n"

    def _begin(self, content: bytes) -> None:
        """Send content and, with it, the commands of the next message."""
        self._number = number = self._load.take()
        commands = b""
        if number is not None:
            domain = self._load.domains[number % len(self._load.domains)]
            commands = f"MAIL FROM:<alice@sender.test>\r\nRCPT TO:<bob{number % 97}@{domain}>\r\nDATA\r\n".encode()
            self._expected += ["mail", "rcpt", "data"]
        elif not content:
            commands = b"QUIT\r\n"
        self._transport.write(content + commands)


async def run(host: str, port: int, load: Load, connections: int) -> None:
    """Send everything; returns when every connection has ended."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Connection(load), host, port) for _ in range(connections)]
    await asyncio.gather(*(protocol.done for _, protocol in made))


def main() -> None:
    parser = argparse.ArgumentParser(description="Send N messages over some connections, pipelined.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_240, help="octets of a message's body")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--domains", required=True, help="recipient domains, separated by commas; they take turns")
    wanted = parser.parse_args()
    lines = LINE * (wanted.size // len(LINE) + 1)
    body = lines[: max(wanted.size - 2, 0)].rstrip(b"\r\n") + b"\r\n"
    load = Load(wanted.messages, body, wanted.domains.split(","))
    uvloop.run(run(wanted.host, wanted.port, load, wanted.connections))
    result = {"accepted": load.accepted, "refused": load.refused, "first_at": load.first_at, "last_at": load.last_at}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
