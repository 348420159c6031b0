"""The receiving end: every mail host in one process, as light as Python allows, because it shares the processors with what is
measured.

    python -m benchmarks.sink hosts.json control.sock [--chunking]

hosts.json is `Internet.mail_hosts`.  Each host has a listener and a certificate of its own; all take everything, over STARTTLS,
and answer a pipelined group with one write.  Kept of a message are the number in its `X-Sim-Id:` line, the moment its end came
in (CLOCK_MONOTONIC, which all processes of a machine share), and whether that was under TLS.  Content is never looked at line
by line.  The control socket takes one command per connection: `count`, `reset`, `dump FILE`.

Only for measuring: simnet/mailhost is the receiver for tests, with every way to misbehave.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import signal
import ssl
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import uvloop

END = b"\r\n.\r\n"
OK = b"250 2.0.0 Ok\r\n"
LINE_LIMIT = 4096
CONTENT_LIMIT = 64 * 2**20
HANDSHAKE_SECONDS = 30.0
ANSWERS: Mapping[bytes, bytes] = {
    b"MAIL": OK,
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 Go on\r\n",
    b"RSET": OK,
    b"NOOP": OK,
    b"QUIT": b"221 2.0.0 Bye\r\n",
    b"STAR": b"220 2.0.0 Go on\r\n",
}
UNKNOWN = b"502 5.5.1 Not here\r\n"


class Taken:
    """What came in since the last reset."""

    def __init__(self, chunking: bool) -> None:
        words = ["PIPELINING", "SIZE 67108864", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", *["CHUNKING"] * chunking]
        inner = "".join(f"250-{word}\r\n" for word in words[:-1])
        self.greeting = b"220 sink.test ESMTP\r\n"
        self.ehlo_plain = f"250-sink.test\r\n{inner}250-{words[-1]}\r\n250 STARTTLS\r\n".encode()
        self.ehlo_tls = f"250-sink.test\r\n{inner}250 {words[-1]}\r\n".encode()
        self.connections = 0
        self.reset()

    def reset(self) -> None:
        self.numbers = array("q")
        self.times = array("q")
        self.plaintext = 0
        self.handshakes = 0
        self.peak_connections = self.connections

    def dump(self, file: Path) -> None:
        """Write everything as one JSON object."""
        names = ("plaintext", "handshakes", "peak_connections")
        record: dict[str, object] = {name: getattr(self, name) for name in names}
        file.write_text(json.dumps(record | {"numbers": self.numbers.tolist(), "times": self.times.tolist()}))


class Session(asyncio.Protocol):
    """One connection.  What the next octets are: content after DATA, a chunk of `_chunk` octets, or commands."""

    def __init__(self, taken: Taken, context: ssl.SSLContext) -> None:
        self._taken = taken
        self._context = context
        self._buffer = b""
        self._tls = False
        self._data = False
        self._content = bytearray()
        self._chunk: int | None = None
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports only quack like asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._taken.connections += 1
        self._taken.peak_connections = max(self._taken.peak_connections, self._taken.connections)
        self._transport.write(self._taken.greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        self._taken.connections -= 1

    def data_received(self, data: bytes) -> None:
        answers: list[bytes] = []
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        at, size = 0, len(data)
        while at < size:
            if self._data:
                at = self._after_data(data, at, answers)
            elif self._chunk is not None:
                at = self._after_chunk(data, at, answers)
            else:
                end = data.find(b"\n", at)
                if end < 0:
                    self._buffer = data[at:]
                    break
                at = end + 1 if self._command(data[at : end + 1], answers) else size
        if answers:
            self._transport.write(b"".join(answers))
        if len(self._buffer) > LINE_LIMIT or len(self._content) > CONTENT_LIMIT:
            self._transport.abort()

    def _command(self, line: bytes, answers: list[bytes]) -> bool:
        """Answer one command; False when nothing that follows may be read."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            answers.append(self._taken.ehlo_tls if self._tls else self._taken.ehlo_plain)
        elif verb == b"BDAT":
            words = line.split()
            self._chunk, self._last = int(words[1]), words[-1].upper() == b"LAST"
            if self._chunk == 0:
                self._after_chunk(b"", 0, answers)
        else:
            answers.append(ANSWERS.get(verb, UNKNOWN))
            self._data = verb == b"DATA"
            if verb == b"STAR":
                self._transport.write(b"".join(answers))
                answers.clear()
                # The ClientHello is for the TLS layer, which gets the transport in the loop's next turn.
                self._transport.pause_reading()
                self._handshake = asyncio.ensure_future(self._start_tls())
                return False
            if verb == b"QUIT":
                self._transport.write(b"".join(answers))
                answers.clear()
                self._transport.close()
                return False
        return True

    async def _start_tls(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self._transport, self, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, ssl.SSLError):
            self._transport.abort()
            return
        if transport is not None:
            self._transport, self._tls = transport, True
            self._taken.handshakes += 1

    def _after_data(self, data: bytes, at: int, answers: list[bytes]) -> int:
        """Look for the end of the content; returns where the octets after it begin."""
        if not self._content:
            # The usual case: all of it in one portion, so that nothing is copied.
            end = data.find(END, at)
            if end >= 0:
                self._take(data, at, end)
                answers.append(OK)
                return end + len(END)
        scanned = max(len(self._content) - len(END) + 1, 0)
        before = len(self._content)
        self._content += data[at:]
        end = self._content.find(END, scanned)
        if end < 0:
            return len(data)
        self._take(self._content, 0, end)
        answers.append(OK)
        return at + end + len(END) - before

    def _after_chunk(self, data: bytes, at: int, answers: list[bytes]) -> int:
        assert self._chunk is not None
        end = min(at + self._chunk, len(data))
        self._chunk -= end - at
        whole = self._chunk == 0 and self._last and not self._content
        if not whole:
            self._content += data[at:end]
        if self._chunk == 0:
            self._chunk = None
            if whole:
                self._take(data, at, end)
            elif self._last:
                self._take(self._content, 0, len(self._content))
            answers.append(OK)
        return end

    def _take(self, octets: bytes | bytearray, start: int, end: int) -> None:
        """Note a message; its id stands in the header, which is near the front."""
        taken = self._taken
        found = octets.find(b"X-Sim-Id: ", start, end)
        number = int(octets[found + 10 : octets.find(b"\r\n", found)]) if found >= 0 else -1
        taken.numbers.append(number)
        taken.times.append(time.monotonic_ns())
        taken.plaintext += not self._tls
        self._data = False
        if self._content:
            self._content = bytearray()


def _context(chain: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


async def _control(taken: Taken, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    words = (await reader.readline()).decode().split()
    answer = "ok"
    match words:
        case ["count"]:
            answer = str(len(taken.numbers))
        case ["reset"]:
            taken.reset()
        case ["dump", file]:
            taken.dump(Path(file))
        case _:
            answer = "what?"
    writer.write(answer.encode() + b"\n")
    writer.close()


async def serve(hosts: list[dict[str, str | int]], control: str, taken: Taken) -> None:
    """Listen for every host until SIGTERM."""
    loop = asyncio.get_running_loop()
    servers: list[asyncio.AbstractServer] = []
    for host in hosts:
        context = _context(str(host["cert"]), str(host["key"]))
        servers.append(
            await loop.create_server(
                lambda context=context: Session(taken, context),  # type: ignore[misc]
                str(host["ip"]),
                int(host["port"]),
                backlog=1024,
            )
        )
    servers.append(await asyncio.start_unix_server(lambda reader, writer: _control(taken, reader, writer), control))
    # All that exists now stays; looking through it again and again would cost the machine we measure.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    for server in servers:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive for every host of a list; count, and keep nothing.")
    parser.add_argument("hosts", type=Path)
    parser.add_argument("control")
    parser.add_argument("--chunking", action="store_true", help="offer CHUNKING")
    asked = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(json.loads(asked.hosts.read_text()), asked.control, Taken(asked.chunking)))


if __name__ == "__main__":
    main()
