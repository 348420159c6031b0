"""One of several workers of a gateway: what its parent gives it, and what the two say to each other.

Rules: frames are JSON behind a length of four octets, over a socket pair that only the two hold.  When the parent is gone the
worker ends at once, as by a power cut: whoever starts the gateway anew must find nobody at work.  Whichever worker is asked
for /metrics or /healthz has the parent ask all; a worker that is down or silent makes /healthz red.

Elsewhere: starting, watching and ending workers (supervise/); adding metrics up (services/merge).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from sealroute.base.errors import PeerError, SealrouteError
from sealroute.faces.http.health import Part
from sealroute.ports import Clock
from sealroute.services.merge import merge

if TYPE_CHECKING:
    from sealroute.gateway import Gateway

log = structlog.get_logger("sealroute")

MAX_FRAME_BYTES = 16 << 20
ASK_SECONDS = 10.0
"""How long a worker waits for its parent's answer; the parent itself waits less for the others."""
ORPHANED = 70
Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Worker:
    """What the parent gives a worker."""

    number: int
    """From 1; it stays when the worker is replaced."""
    node: str
    """Its name in the store; never used for another process."""
    channel: socket.socket
    listening: tuple[tuple[socket.socket, ...], ...]
    """For each listener of the settings."""
    http: socket.socket | None
    clock: Clock
    """One for all: a lab's fast clock counts from its start."""

    @property
    def keeps_house(self) -> bool:
        """Whether it does what one worker does for all: removing old records, refreshing MTA-STS policies."""
        return self.number == 1


def frame(message: Frame) -> bytes:
    """As it goes over the channel."""
    text = json.dumps(message).encode()
    return len(text).to_bytes(4, "big") + text


class Frames:
    """Takes octets as they come, gives whole frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, octets: bytes) -> Iterator[Frame]:
        """Raises PeerError when the other side does not speak this language."""
        self._held += octets
        while len(self._held) >= 4:
            length = int.from_bytes(self._held[:4], "big")
            if length > MAX_FRAME_BYTES:
                raise PeerError(f"a frame of {length} octets on a worker's channel")
            if len(self._held) < 4 + length:
                return
            text = bytes(self._held[4 : 4 + length])
            del self._held[: 4 + length]
            yield json.loads(text)


class Link:
    """The worker's end of the channel."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, gateway: Gateway) -> None:
        """Do what the parent says; ends this process when the parent is gone."""
        reader, self._writer = await asyncio.open_connection(sock=self.worker.channel)
        self._tell({"ready": True})
        frames = Frames()
        while octets := await reader.read(65536):
            for message in frames.feed(octets):
                if "answer" in message:
                    future = self._asked.pop(message["answer"], None)
                    if future is not None and not future.done():
                        future.set_result(message)
                    continue
                task = asyncio.create_task(self._do(gateway, message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        os._exit(ORPHANED)

    async def ask(self, what: str) -> Frame:
        """What all workers say of `metrics` or `health`.  Raises TimeoutError."""
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._tell({"ask": number, "what": what})
        try:
            return await asyncio.wait_for(future, ASK_SECONDS)
        finally:
            self._asked.pop(number, None)

    def _tell(self, message: Frame) -> None:
        if self._writer is None:
            raise SealrouteError("this worker is not connected to its parent yet")
        self._writer.write(frame(message))

    async def _do(self, gateway: Gateway, message: Frame) -> None:
        if "report" in message:
            said = await _report(gateway, message["what"], of_queue=message["queue"])
            self._tell({"reported": message["report"], "said": said})
        elif "dead" in message:
            try:
                groups = await gateway.store.queue.take_over(message["dead"], gateway.clock.now())
            except SealrouteError as error:
                log.error("a dead worker's groups could not be taken over; trying again", error=str(error))
                await asyncio.sleep(1.0)
                self._tell({"not_taken": message["dead"]})
                return
            log.warning("took over from a dead worker", node=message["dead"], groups=groups)
            gateway.schedule.nudge()
            self._tell({"taken": message["dead"]})


async def _report(gateway: Gateway, what: str, *, of_queue: bool) -> Any:
    """This worker's own share of the answer."""
    if what == "health":
        try:
            return [[part.name, part.ok, part.detail] for part in await gateway.health()]
        except Exception as error:  # whatever broke, it is not well
            return [["health", False, f"the check itself failed: {type(error).__name__}: {error}"]]
    # The queue is everybody's: one look at it is enough.
    gateway.queue_state = None
    if of_queue:
        try:
            await gateway.look_at_queue()
        except SealrouteError as error:
            log.error("the queue could not be counted", error=str(error))
    return gateway.metrics.render().decode()


class Together:
    """/metrics and /healthz of all workers."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._text = b""

    async def refresh(self) -> None:
        answer = await self._link.ask("metrics")
        self._text = merge([text for text in (answer["gone"], *answer["reports"].values()) if text])

    def render(self) -> bytes:
        return self._text

    async def health(self) -> Sequence[Part]:
        answer = await self._link.ask("health")
        return joined(answer["reports"], answer["troubles"])


def joined(reports: Mapping[str, Sequence[tuple[str, bool, str]] | None], troubles: Mapping[str, str]) -> list[Part]:
    """The parts of all workers as one list: a part is well where it is well in each; the last one is about the workers."""
    said: dict[str, list[tuple[str, bool, str]]] = {}
    troubles = dict(troubles)
    for number, parts in reports.items():
        if parts is None:
            troubles.setdefault(number, "does not answer")
        for name, ok, detail in parts or ():
            said.setdefault(name, []).append((number, ok, detail))
    merged = []
    for name, found in said.items():
        ill = [f"worker {number}: {detail}" for number, ok, detail in found if not ok]
        merged.append(Part(name, not ill, "; ".join(ill) if ill else found[0][2]))
    ill = [f"worker {number} {trouble}" for number, trouble in sorted(troubles.items())]
    merged.append(Part("workers", not ill, "; ".join(ill) if ill else f"all {len(reports)} running"))
    return merged
