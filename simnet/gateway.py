"""A real gateway process beside the simulated internet: `sealroute serve`, and `sealroute` commands run against its store.

gateway = Gateway(folder, net.gateway_toml(port))
await gateway.start()
gateway.run("New-OutboundConnector", "Strict", "-RecipientDomains", "*", "-SmtpDaneMode", "Mandatory")
await send(port, "someone@dane-good.test", "id-1")
await gateway.stop()                                    # or kill(), as a power cut would
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

START_SECONDS = 120.0
STOP_SECONDS = 60.0
COMMAND_SECONDS = 120.0
"""All generous: who waits in vain fails later, and a slow machine does not fail at all."""


class Gateway:
    """One `sealroute serve` process and its folder."""

    def __init__(self, folder: Path, toml: str, name: str = "sealroute") -> None:
        self.folder = folder
        self.config = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        self.config.write_text(toml)
        self.process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "sealroute", "--config", str(self.config)]

    async def start(self) -> None:
        """Return once it says that it is ready; RuntimeError with its log when it does not."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        quiet = tomllib.loads(self.config.read_text()).get("logging", {}).get("level", "info") in ("warning", "error")
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(*self.command, "serve", stdout=output, stderr=output)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline and self.process.returncode is None:
            with self.log.open("rb") as log:
                log.seek(offset)
                if b'"ready"' in log.read() or (quiet and await self._answers()):
                    return
            await asyncio.sleep(0.05)
        text = self.log.read_text(errors="replace")[-3000:]
        await self.kill()
        raise RuntimeError(f"the gateway did not become ready:\n{text}")

    async def _answers(self) -> bool:
        """Whether somebody listens on the last port: the doors are opened in order, after all else."""
        listeners = tomllib.loads(self.config.read_text())["listeners"]
        try:
            _, writer = await asyncio.open_connection(listeners[-1].get("address", "127.0.0.1"), listeners[-1]["port"])
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """SIGKILL, as a power cut would."""
        return await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    def run(self, *arguments: str, ok: tuple[int, ...] = (0,), columns: int = 120) -> str:
        """Run a `sealroute` command on this configuration; returns what it printed."""
        environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
        done = subprocess.run(
            [*self.command, *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, env=environment
        )
        if done.returncode not in ok:
            raise RuntimeError(f"sealroute {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """The same, for a command that prints JSON."""
        return json.loads(self.run(*arguments))


def message(to: str, sim_id: str, *, subject: str = "", body: str = "Hello,\r\nthis is a test.\r\n", sender: str) -> bytes:
    """A small message with the id that simnet/mailhost looks for."""
    head = [f"From: {sender}", f"To: {to}", f"Subject: {subject or sim_id}", f"Message-ID: <{sim_id}@sender.test>",
            "Date: Sun, 22 Nov 2026 12:00:00 +0000", f"X-Sim-Id: {sim_id}"]  # fmt: skip
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + body.encode()


async def send(
    port: int, to: str, sim_id: str, *, subject: str = "", sender: str = "alice@sender.test", content: bytes | None = None
) -> str:
    """Hand one message to the gateway by SMTP; returns its reply to the message.  RuntimeError when it refuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say(line: bytes) -> str:
        if line:
            writer.write(line + b"\r\n")
        while True:
            reply = (await asyncio.wait_for(reader.readline(), 60)).decode()
            if reply[3:4] != "-":
                break
        if reply[:1] not in ("2", "3"):
            raise RuntimeError(f"{line[:80]!r} was answered {reply.strip()}")
        return reply.strip()

    try:
        for command in (b"", b"EHLO client.sender.test", f"MAIL FROM:<{sender}>".encode(), f"RCPT TO:<{to}>".encode(), b"DATA"):
            await say(command)
        data = content or message(to, sim_id, subject=subject, sender=sender)
        reply = await say(data.replace(b"\r\n.", b"\r\n..") + b".")
        await say(b"QUIT")
        return reply
    finally:
        writer.close()
