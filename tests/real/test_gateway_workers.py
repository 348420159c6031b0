"""A gateway of two workers: both work, one may die, the parent may die, and from outside it is one gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from simnet.gateway import Gateway, send
from simnet.internet import Host, Internet, simple
from simnet.nameserver import free_port
from tests.real.gateway_world import wait_until
from tests.real.test_gateway_crash import Sent, send_all

pytestmark = [pytest.mark.real, pytest.mark.slow]

DOMAINS = ("one.test", "two.test", "three.test")
MESSAGES = 800
SENDERS = 8
PARENT_KILLS = 3
UNAIDED = """
import runpy
from sealroute.supervise import child
child._end_with = lambda parent: None
runpy.run_module("sealroute", run_name="__main__")
"""
"""As on a system whose kernel does not end children with their parent."""


class Unaided(Gateway):
    """A gateway whose workers have to see for themselves that their parent is gone."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", UNAIDED, "--config", str(self.config)]


class Pair:
    """The internet, and a gateway of two workers in it."""

    def __init__(self, net: Internet, gateway: Gateway, port: int, http: int) -> None:
        self.net, self.gateway, self.port, self.http = net, gateway, port, http

    @property
    def workers(self) -> list[int]:
        """The process ids of the children that run."""
        assert self.gateway.process is not None
        parent = self.gateway.process.pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.gateway.log.read_text().splitlines() if line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == event]

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self.http}{path}", timeout=30)

    async def total(self, metric: str) -> float:
        text = (await self.get("/metrics")).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))

    def arrived(self) -> Counter[str]:
        return Counter(item.id for item in self.net.mail.messages)

    def waiting(self) -> int:
        with contextlib.closing(sqlite3.connect(self.gateway.folder / "queue.db")) as database:
            count: int = database.execute("SELECT count(*) FROM recipient_group").fetchone()[0]
            return count


@asynccontextmanager
async def pair(folder: Path, kind: type[Gateway] = Gateway) -> AsyncIterator[Pair]:
    destinations = [simple(domain, "DANE", Host(("3 1 1",), profile="chunking")) for domain in DOMAINS]
    async with Internet(folder, destinations) as net:
        port, http = free_port("127.0.0.1"), free_port("127.0.0.1")
        toml = net.gateway_toml(port, retry='schedule = ["1s"]').replace("enabled = false", f"enabled = true\nport = {http}")
        gateway = kind(folder, f"workers = 2\n{toml}")
        await gateway.start()
        try:
            yield Pair(net, gateway, port, http)
        finally:
            await gateway.stop()


async def take_part(world: Pair) -> None:
    """Send until each worker has delivered something; what a worker accepts it delivers itself."""
    for number in range(1, 201):
        await send(world.port, f"bob@{DOMAINS[number % 3]}", f"a{number}")
        if number % 10 == 0:
            await wait_until(lambda: len(world.logged("send")) == number, "all delivered")  # noqa: B023 - at once
            if {line["worker"] for line in world.logged("send")} == {1, 2}:
                return
    raise AssertionError("one worker does everything")


async def test_two_workers_are_one_gateway(tmp_path: Path) -> None:
    async with pair(tmp_path) as world:
        assert len(world.workers) == 2
        await take_part(world)
        sent = len(world.arrived())

        # Counts are those of both, whichever worker answers.
        await wait_until(lambda: not world.waiting(), "an empty queue")
        for _ in range(5):
            assert await world.total("sealroute_messages_accepted_total") == sent
            assert await world.total("sealroute_recipients_total") == sent
            health = await world.get("/healthz")
            assert (health.status_code, health.json()["parts"]["workers"]["detail"]) == (200, "all 2 running")

        # A new connector is in force in both, at once after SIGHUP.
        world.gateway.run("New-OutboundConnector", "Strict", "-RecipientDomains", "one.test", "-SmtpDaneMode", "Mandatory")
        assert world.gateway.process is not None
        world.gateway.process.send_signal(signal.SIGHUP)
        await wait_until(lambda: len(world.logged("reloading connectors")) == 2, "both reload")
        await wait_until(lambda: {line["worker"] for line in world.logged("connectors loaded")} == {1, 2}, "both loaded")

        assert world.gateway.process is not None
        children = world.workers
        assert await world.gateway.stop() == 0
        assert _gone(children)
        assert {line.get("worker") for line in world.logged("stopped")} == {1, 2, None}


async def test_a_killed_worker_is_replaced_and_its_mail_goes_on(tmp_path: Path) -> None:
    async with pair(tmp_path) as world:
        sent = Sent(total=MESSAGES, deadline=time.monotonic() + 60)
        clients = [asyncio.create_task(send_all([world.port], sent)) for _ in range(SENDERS)]
        for kill in range(4):
            await wait_until(partial(_has_come, sent, (kill + 1) * MESSAGES // 6), "the next kill")
            os.kill(world.workers[kill % 2], signal.SIGKILL)
            await wait_until(partial(_ready_again, world, kill), "a new worker")
        await asyncio.gather(*clients)
        assert len(sent.accepted) == MESSAGES
        await wait_until(lambda: sent.accepted <= {int(item) for item in world.arrived()}, "all that was accepted arrived")
        await wait_until(lambda: not world.waiting(), "an empty queue")
        copies = sum(world.arrived().values()) - len(world.arrived())
        assert copies <= 4 * (SENDERS + 20 * len(DOMAINS))
        assert {line["how"] for line in world.logged("a worker ended")} == {"ended by SIGKILL"}
        print(f"4 workers killed, {sent.unanswered} unanswered, {copies} duplicates")
        # What the dead had counted when last asked is not taken back, and the taking over is told.
        await wait_until(lambda: len(world.logged("took over from a dead worker")) == 4, "four take-overs")
        assert (await world.get("/healthz")).status_code == 200


async def test_red_while_a_worker_does_not_answer_and_counts_survive_it(tmp_path: Path) -> None:
    async with pair(tmp_path) as world:
        await take_part(world)
        before = await world.total("sealroute_messages_accepted_total")
        stuck = world.workers[0]
        os.kill(stuck, signal.SIGSTOP)
        # The one that is stopped may be the one that takes the question; then there is no answer, which is red as well.
        answers = await asyncio.gather(*(world.get("/healthz") for _ in range(3)), return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, httpx.Response) and answer.status_code != 503]
        os.kill(stuck, signal.SIGKILL)
        await wait_until(partial(_ready_again, world, 0), "a new worker")
        assert await world.total("sealroute_messages_accepted_total") == before
        assert (await world.get("/healthz")).status_code == 200


async def test_when_the_parent_is_killed_the_workers_end_and_nothing_is_lost(tmp_path: Path) -> None:
    async with pair(tmp_path) as world:
        sent = Sent(total=MESSAGES, deadline=time.monotonic() + 60)
        clients = [asyncio.create_task(send_all([world.port], sent)) for _ in range(SENDERS)]
        for kill in range(PARENT_KILLS):
            await wait_until(partial(_has_come, sent, (kill + 1) * MESSAGES // (PARENT_KILLS + 1)), "the next kill")
            children = world.workers
            assert len(children) == 2
            await world.gateway.kill()
            await wait_until(partial(_gone, children), "the children's end", 5)
            await world.gateway.start()
        await asyncio.gather(*clients)
        assert len(sent.accepted) == MESSAGES
        await wait_until(lambda: sent.accepted <= {int(item) for item in world.arrived()}, "all that was accepted arrived")
        await wait_until(lambda: not world.waiting(), "an empty queue")
        copies = sum(world.arrived().values()) - len(world.arrived())
        print(f"{PARENT_KILLS} gateways killed, {sent.unanswered} unanswered, {copies} duplicates")
        assert copies <= PARENT_KILLS * (SENDERS + 20 * len(DOMAINS))


async def test_workers_see_themselves_that_their_parent_is_gone(tmp_path: Path) -> None:
    async with pair(tmp_path, Unaided) as world:
        children = world.workers
        assert len(children) == 2
        await world.gateway.kill()
        try:
            await wait_until(partial(_gone, children), "the children's end", 5)
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)


async def test_what_keeps_it_from_starting_is_told_once_and_at_once(tmp_path: Path) -> None:
    async with pair(tmp_path) as world:
        second = Gateway(tmp_path, world.gateway.config.read_text().replace("queue.db", "other.db"), "second")
        with pytest.raises(RuntimeError, match=r"listeners\[1\]: cannot listen on 127.0.0.1 port \d+: Address already in use"):
            await second.start()
        third = Gateway(tmp_path, world.gateway.config.read_text(), "third")
        with pytest.raises(RuntimeError, match="another gateway"):
            await third.start()
        port = free_port("127.0.0.1")
        toml = (
            world.gateway.config.read_text().replace("queue.db", "other.db").replace(f"port = {world.port}", f"port = {port}")
        )
        toml = toml.replace(f"port = {world.http}", f"port = {free_port('127.0.0.1')}")
        fourth = Gateway(tmp_path, f'organization = "nobody"\n{toml}', "fourth")
        with pytest.raises(RuntimeError, match="there is no organization 'nobody'"):
            await fourth.start()


def _gone(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{process}").exists() for process in processes)


def _has_come(sent: Sent, count: int) -> bool:
    return len(sent.accepted) >= count


def _ready_again(world: Pair, kills: int) -> bool:
    return len(world.logged("worker ready")) >= 2 + kills + 1
