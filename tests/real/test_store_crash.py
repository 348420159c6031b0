"""kill -9 at any moment: what was reported as accepted is still there, whole, or was settled; and nothing is half done.

A child process accepts and settles messages from many tasks at once and reports each id, on a pipe, only after the store said that
it is durable.  The parent kills it, opens the store as the next gateway would, and compares.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path

import pytest

from sealroute.base.mail import Message
from sealroute.policy.attempt import Fate
from sealroute.ports import Group
from sealroute.store.store import open_store
from tests.store_making import NOW, group_of, message_to, peek, received, rows, run_of, url_in

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
KILLS = 6
TASKS = 16


def content_of(identity: str) -> bytes:
    """Some kilobytes that only this message has."""
    seed = hashlib.sha256(identity.encode()).digest()
    return seed * (1 + seed[0] * 2)


# ------------------------------------------------------------------------------------------------------------- the child


async def _work(url: str, round_name: str) -> None:
    store = open_store(url)
    store.lock_gateway()
    await store.queue.start_node(NOW)

    def report(word: str, identity: str) -> None:
        os.write(1, f"{word} {identity}\n".encode())  # one write: a line is on the pipe whole or not at all

    async def task(number: int) -> None:
        for turn in range(1_000_000):
            identity = f"{round_name}-{number:02}-{turn:06}"
            message = _message(identity)
            groups = [group_of(message, id=f"{identity}-c"), group_of(message, "example.com", id=f"{identity}-e")]
            await store.queue.add(message, groups, received(message), active=True)
            report("accepted", identity)
            await store.queue.settle(run_of(groups[0], bob=Fate.DELIVERED))
            match turn % 3:
                case 0:  # delivered to everybody
                    await store.queue.settle(run_of(groups[1], eve=Fate.DELIVERED))
                    report("settled", identity)
                case 1:  # one domain is left for later
                    await store.queue.settle(run_of(groups[1], eve=Fate.DEFERRED))
                    report("deferred", identity)
                case 2:  # returned: the notice takes the message's place
                    notice = _notice(identity)
                    returned = run_of(groups[1], eve=Fate.FAILED)
                    await store.queue.settle(changed(returned, notices=((notice, (_notice_group(notice),)),)))
                    report("returned", identity)

    await asyncio.gather(*map(task, range(TASKS)))


def _message(identity: str) -> Message:
    return message_to("bob@contoso.com", "eve@example.com", id=identity, content=content_of(identity))


def _notice(identity: str) -> Message:
    return message_to("anna@fabrikam.com", id=f"{identity}-n", content=content_of(f"{identity}-n"))


def _notice_group(notice: Message) -> Group:
    return group_of(notice, "fabrikam.com", id=f"{notice.id}-g")


# ------------------------------------------------------------------------------------------------------------ the parent


@dataclass
class Reported:
    """What the children said was durable."""

    accepted: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    deferred: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)

    def read(self, output: bytes) -> int:
        """Take in a child's output; returns how many lines it was."""
        lines = output.decode().split("\n")[:-1]
        for line in lines:
            word, identity = line.split(" ")
            getattr(self, word).add(identity)
        return len(lines)


def _run_and_kill(url: str, round_name: str, seconds: float) -> bytes:
    """A child's output up to the moment it was killed, some time after it began to report."""
    command = [sys.executable, "-m", "tests.real.test_store_crash", url, round_name]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        output = os.read(child.stdout.fileno(), 1)  # it has begun to report
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=seconds)
            raise AssertionError("the child ended by itself")
    finally:
        child.kill()
        rest = child.communicate(timeout=30)[0]
    return output + bytes(rest)


@pytest.mark.slow
async def test_nothing_accepted_is_lost_and_nothing_is_half_done(tmp_path: Path) -> None:
    url, reported, chance = url_in(tmp_path), Reported(), random.Random(20261122)
    for number in range(KILLS):
        output = await asyncio.to_thread(_run_and_kill, url, f"r{number}", chance.uniform(0.02, 0.9))
        assert reported.read(output) > 0
        await _check(tmp_path, url, reported, number + 1)
    assert min(map(len, (reported.accepted, reported.settled, reported.deferred, reported.returned))) > KILLS


async def _check(folder: Path, url: str, reported: Reported, rounds: int) -> None:
    stored = set(rows(folder, "SELECT id FROM message"))
    assert not stored & (reported.settled | reported.returned)
    assert {f"{identity}-n" for identity in reported.returned} <= stored
    gone = reported.accepted - stored - reported.settled - reported.returned
    # Their last commit is on the disk, only its report is not: never more than each dead child's tasks, and the trace knows.
    assert len(gone) <= TASKS * rounds, f"lost: {sorted(gone)[:5]}"
    for identity in gone:
        fates = rows(folder, f"SELECT status FROM trace_message WHERE message_id = '{identity}' ORDER BY recipient")
        returned = f"{identity}-n" in stored
        assert fates == ["Delivered", "Failed" if returned else "Delivered"], f"lost: {identity}"
    with peek(folder) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert (
        rows(folder, "SELECT id FROM message m WHERE NOT EXISTS (SELECT 1 FROM recipient_group WHERE message_id = m.id)") == []
    )

    store = open_store(url)
    store.lock_gateway()
    await store.queue.start_node(NOW)
    assert rows(folder, "SELECT DISTINCT state FROM recipient_group") == ["queued"]
    for identity in stored:
        message = await store.queue.message(identity)
        assert message is not None
        assert message.content == content_of(identity)
    domains = dict.fromkeys(stored, "")
    for identity, domain in rows(folder, "SELECT message_id, domain FROM recipient_group ORDER BY domain"):
        domains[identity] += f"{domain} "
    for identity, waiting in domains.items():
        expected = ("fabrikam.com ",) if identity.endswith("-n") else ("contoso.com example.com ", "example.com ")
        assert waiting in expected
        assert identity not in reported.deferred or waiting == "example.com "
    _check_trace(folder, domains)
    await store.close()


def _check_trace(folder: Path, domains: dict[str, str]) -> None:
    """The trace agrees with the queue, message by message: they were committed together."""
    pending = rows(
        folder, "SELECT message_id, recipient FROM trace_message WHERE status = 'Pending' ORDER BY message_id, recipient"
    )
    said = dict.fromkeys(domains, "")
    for identity, recipient in pending:
        said[identity] += recipient.partition("@")[2] + " "
    assert said == domains


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
