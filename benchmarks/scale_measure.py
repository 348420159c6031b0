"""One round on one filled store, in a process of its own: `python -m benchmarks.scale_measure KIND URL SIZE ROUND`.

Every operation is the gateway's own, called as the gateway and its commands call it.  Written to standard output: one JSON
object, samples in milliseconds by operation, and the process's peak memory.  An operation whose results get fewer with every
call (a settle, a clean-up) works on as many rows at every size.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from benchmarks import scale_fill as fill
from benchmarks.scale_fill import BUSY_SENDER, DEAD, NOW, SPAN
from sealroute.base.mail import Envelope, Message, Recipient
from sealroute.base.times import from_us
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.ports import Group, GroupState, Settled, TraceEvent, TraceQuery
from sealroute.services.census import Census
from sealroute.services.ids import IdSource
from sealroute.store.engine import Database
from sealroute.store.store import Store, open_store

TAKE = 500
TOGETHER = 50
"""Messages added or settled at once: they share commits, as under load."""
PURGED = 500


class Samples:
    """What was measured: milliseconds by operation."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def note(self, name: str, seconds: float) -> None:
        self.taken.setdefault(name, []).append(seconds * 1000)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.note(name, time.perf_counter() - started)

    async def often(self, name: str, times: int, call: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(times):
            with self.timed(name):
                await call()

    def each(self, name: str, calls: Sequence[Callable[[], Sequence[Any]]], found: int | None = None) -> None:
        """Calls that must find something: a search that finds nothing would be fast for the wrong reason."""
        for call in calls:
            with self.timed(name):
                rows = call()
            if found is not None and len(rows) != found:
                raise AssertionError(f"{name}: {len(rows)} rows instead of {found}")


# ------------------------------------------------------------------------------------------------------------ the queue


async def measure_queue(url: str, samples: Samples) -> None:
    with samples.timed("open the store"):
        store = open_store(url, node_id="bench")
    _give_to_dead_node(store)
    store.lock_gateway()
    store.queue.alone = True  # on PostgreSQL too: the node that died is known to be dead
    with samples.timed(f"start_node, taking back {fill.HELD:,} groups"):
        back = await store.queue.start_node(NOW)
    if back != fill.HELD:
        raise AssertionError(f"{back} groups were taken back")
    clock: Any = _Clock()
    census = Census(store.queue, clock)
    await census.look()
    await samples.often("next_due", 100, store.queue.next_due)
    await samples.often("renew_node", 20, lambda: store.queue.renew_node(NOW))
    await samples.often("queue look of /metrics and /healthz", 50, census.look)
    await samples.often("counting the queue (behind, at most 1% of the time)", 3, store.queue.depth)
    await _take(samples, store, f"take_due({TAKE})", {})
    await _work(samples, store)
    _administer(samples, store)
    await _take(samples, store, f"take_due({TAKE}), a full lane's groups in front", {DEAD: 0})
    await store.close()


def _give_to_dead_node(store: Store) -> None:
    """Some groups, as they were before the last round took them back."""
    with store.admin.queue._database.write() as connection:
        connection.execute(
            text(
                "UPDATE recipient_group SET state = 'active', owner = :owner WHERE id IN ("
                "SELECT id FROM recipient_group WHERE state = 'queued' AND domain = :domain "
                "ORDER BY next_attempt_us DESC LIMIT :left - (SELECT count(*) FROM recipient_group WHERE state = 'active'))"
            ),
            {"owner": fill.DEAD_NODE, "domain": DEAD, "left": fill.HELD},
        )


class _Clock:
    def now(self) -> Any:
        return NOW


async def _take(samples: Samples, store: Store, name: str, room: dict[str, int]) -> None:
    for _ in range(2):  # the first look finds that the line is blocked
        await store.queue.release([group.id for group in await store.queue.take_due(NOW, TAKE, room=room)])
    for _ in range(10):
        with samples.timed(name):
            groups = await store.queue.take_due(NOW, TAKE, room=room)
        if len(groups) != TAKE:
            raise AssertionError(f"{name}: {len(groups)} groups")
        with samples.timed(f"release of {TAKE} groups"):
            await store.queue.release([group.id for group in groups])


async def _work(samples: Samples, store: Store) -> None:
    """As many messages come as go, so that the queue stays as long as it is."""
    ids = IdSource()
    for _ in range(10):
        new = [_message(ids, number) for number in range(TOGETHER)]
        with samples.timed(f"add, {TOGETHER} at once"):
            await asyncio.gather(
                *(store.queue.add(message, [group], [_event(message.id)], active=False) for message, group in new)
            )
        with samples.timed("message with its content"):
            if await store.queue.message(new[0][0].id) is None:
                raise AssertionError("a message is gone")
        for fate in (Fate.DEFERRED, Fate.DELIVERED):
            groups = await store.queue.take_due(NOW, TOGETHER)
            with samples.timed(f"settle {fate.value}, {TOGETHER} at once"):
                await asyncio.gather(*(store.queue.settle(_settled(group, fate)) for group in groups))


def _message(ids: IdSource, number: int) -> tuple[Message, Group]:
    to = Recipient(f"new{number}@{DEAD}")
    content, now = b"Subject: Hello\r\n\r\n" + b"Hello\r\n" * 290, datetime.now(UTC)
    message = Message(
        id=ids(now), organization="default", envelope=Envelope("anna@fabrikam.example", (to,)), content=content,
        received_at=now, client_ip="192.0.2.9", client_name="mail.fabrikam.example",
        header_message_id=f"<{number}@fabrikam.example>", subject="Hello",
    )  # fmt: skip
    return message, Group(ids(now), message.id, DEAD, (to,), now, NOW - timedelta(days=2))


def _event(message_id: str) -> TraceEvent:
    return TraceEvent(message_id, NOW, "RECEIVE", "", "Accepted.")


def _settled(group: Group, fate: Fate) -> Settled:
    fates = tuple(RecipientFate(item.address, fate) for item in group.recipients)
    attempt = Attempt(
        at=NOW, number=1, connector_guid="00000000-0000-0000-0000-000000000001", connector_name="Contoso",
        smtp_dane_mode=SmtpDaneMode.MANDATORY, mta_sts_mode=MtaStsMode.OPPORTUNISTIC, domain=group.domain,
        rows=("dane-usable",), finding=None, host=f"mx.{group.domain}", ip="198.51.100.25", recipients=fates,
    )  # fmt: skip
    later = NOW - timedelta(days=2) if fate is Fate.DEFERRED else None
    return Settled(group, fates, (attempt,), (_event(group.message_id),), later)


def _administer(samples: Samples, store: Store) -> None:
    queue = store.admin.queue
    names = [f"d{number:04}.example" for number in random.sample(range(fill.OTHERS), 20)]
    samples.each("queue list, 100 of all", [lambda: queue.find(limit=100)] * 10, 100)
    of_domain = [lambda name=name: queue.find(domain=name, limit=1) for name in names]
    samples.each("queue list, one domain of many", of_domain, 1)
    samples.each("queue list, the dead domain, 100", [lambda: queue.find(domain=DEAD, limit=100)] * 10, 100)
    on_hold = [lambda: queue.find(state=GroupState.SUSPENDED)] * 10
    samples.each("queue list, on hold", on_hold, fill.SUSPENDED)
    ids = [item.group.id for item in queue.find(domain=DEAD, limit=100)]
    samples.each("queue show", [lambda identity=identity: queue.show(identity) for identity in ids], 1)  # type: ignore[misc]
    for _ in range(5):
        with samples.timed("queue retry of 100 ids"):
            queue.retry(ids, NOW)


# ------------------------------------------------------------------------------------------------------------ the trace


def measure_trace(url: str, size: int, turn: int, samples: Samples) -> None:
    store = open_store(url, node_id="bench")
    traces = store.admin.traces
    keys = [random.randrange(size * 7 // 10, size) for _ in range(60)]

    def ask(name: str, queries: Sequence[TraceQuery], found: int | None = None) -> None:
        samples.each(name, [lambda query=query: traces.search(query) for query in queries], found)  # type: ignore[misc]

    def last(days: float, **filters: Any) -> TraceQuery:
        return TraceQuery(NOW - timedelta(days=days), NOW, **filters)

    ask("recipient, 4 days", [last(4, recipients=(fill.recipient(key, size),)) for key in keys], 4)
    ask("sender, 4 days", [last(4, senders=(fill.sender(key * 2, size),)) for key in keys], 2)
    both = {"senders": (BUSY_SENDER,)}
    ask("recipient and the newsletter's sender, 4 days", [
        last(4, recipients=(fill.recipient(key | 1, size),), **both) for key in keys
    ], 4)  # fmt: skip
    ask("the newsletter's sender, 500 rows", [last(4, limit=500, **both)] * 20, 500)
    ask("Message-ID header", [last(10, header_message_ids=(fill.header_message_id(key),)) for key in keys], 1)
    ask("Get-MessageTraceV2 without filters, 1,000 rows", [last(2)] * 20, 1000)
    _page(ask, traces.search(last(5, limit=500)), last(5, limit=500))
    ask("Failed, 50 rows", [last(8, statuses=("Failed",), limit=50)] * 20, 50)
    ask("Failed or Pending, 50 rows", [last(8, statuses=("Failed", "Pending"), limit=50)] * 20, 50)
    _page(ask, traces.search(last(8, statuses=("Failed",), limit=50)), last(8, statuses=("Failed",), limit=50), " of Failed")
    ask("subject contains what a third have, 500 rows", [last(4, subject="MINUTES", limit=500)] * 10, 500)
    identity = traces.search(last(1, limit=1))[0].message_trace_id
    story = TraceQuery(NOW - timedelta(days=3650), NOW, message_trace_id=identity, limit=5000)
    ask("one message's rows", [story] * 40, 1)
    oldest = TraceQuery(NOW - SPAN, NOW - SPAN + timedelta(days=9), limit=1, senders=(fill.sender(fill.WITH_STORY // 2, size),))
    told = traces.search(oldest)[0].message_trace_id
    samples.each("one message's attempts", [lambda: traces.attempts(told)] * 40)
    if turn == 0:
        ask("subject contains what none has, 1 of 10 days (looks at each row)", [last(1, subject="nowhere")], 0)
    _purge(samples, store, url)
    store.admin.close()


def _page(ask: Any, rows: Sequence[Any], query: TraceQuery, of: str = "") -> None:
    """The page after these rows."""
    following = replace(query, end=rows[-1].received, starting_recipient=rows[-1].recipient)
    ask(f"the next page{of}, {query.limit} rows", [following] * 20, query.limit)


def _purge(samples: Samples, store: Store, url: str) -> None:
    """As many rows at every size; timed is how long each slice keeps the write lock, and how long another writer waits."""
    database = store.admin.traces._database
    with database.read() as connection:
        oldest = text(f"SELECT received_us FROM trace_message ORDER BY received_us LIMIT 1 OFFSET {PURGED}")
        before = from_us(int(connection.scalars(oldest).one()))
    write = database.write

    @contextmanager
    def watched() -> Iterator[Connection]:
        with write() as connection:
            started = time.perf_counter()
            yield connection
        samples.note("clean-up: the write lock is held by one slice", time.perf_counter() - started)

    database.write = watched  # type: ignore[method-assign]
    done = threading.Event()
    rival = threading.Thread(target=_rival, args=(Database(url), samples, done))
    rival.start()
    with samples.timed(f"clean-up of {PURGED} rows"):
        gone = store.admin.traces.purge(before)
    done.set()
    rival.join()
    if gone != PURGED:
        raise AssertionError(f"{gone} rows were removed")


def _rival(database: Database, samples: Samples, done: threading.Event) -> None:
    while not done.is_set():
        with samples.timed("clean-up: another writer waits for the lock"), database.write():
            pass
        time.sleep(0.003)
    database.close()


# --------------------------------------------------------------------------------------------------------- the process


def peak_memory_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    kind, url, size, turn = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    samples = Samples()
    random.seed(turn)
    if kind == "queue":
        asyncio.run(measure_queue(url, samples))
    else:
        measure_trace(url, size, turn, samples)
    json.dump({"samples": samples.taken, "peak": peak_memory_bytes()}, sys.stdout)


if __name__ == "__main__":
    main()
