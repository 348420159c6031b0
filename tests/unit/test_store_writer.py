"""The writer: commits together, fails apart, survives trouble, bounds its backlog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from sealroute.base.errors import StoreUnavailable
from sealroute.store import engine as engine_module
from sealroute.store import writer as writer_module
from sealroute.store.engine import Database
from sealroute.store.statements import DELETE_POLICY, LARGEST, PUT_POLICY, Statement
from sealroute.store.writer import Job, Writer
from tests.store_making import locked, rows, url_in


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    database = Database(url_in(tmp_path))
    opened = Writer(database)
    yield opened
    await opened.close()
    database.close()


def put(domain: str, size_bytes: int = 0, **changes: Any) -> Job:
    return Job([(PUT_POLICY, [(domain, "1", "text", 0, 0, 0)])], size_bytes=size_bytes, **changes)


def domains(folder: Path) -> list[str]:
    found: list[str] = rows(folder, "SELECT domain FROM sts_policy ORDER BY domain")
    return found


async def test_jobs_handed_in_together_share_commits(writer: Writer, tmp_path: Path) -> None:
    await asyncio.gather(*(writer.run(put(f"{number:03}.test")) for number in range(100)))
    assert len(domains(tmp_path)) == 100
    assert writer.commits < 20


@pytest.mark.parametrize("count", [1, 2, 3, LARGEST - 1, LARGEST, LARGEST + 1, 3 * LARGEST + 7])
async def test_any_number_of_rows_goes_in(writer: Writer, tmp_path: Path, count: int) -> None:
    await writer.run(Job([(PUT_POLICY, [(f"{number}.test", "1", "", 0, 0, 0) for number in range(count)])]))
    assert len(domains(tmp_path)) == count


async def test_only_the_guilty_job_fails(writer: Writer, tmp_path: Path) -> None:
    bad = Job([(PUT_POLICY, [("bad.test", None, "", 0, 0, 0)])])
    results = await asyncio.gather(*map(writer.run, [put("a.test"), bad, put("b.test")]), return_exceptions=True)
    assert domains(tmp_path) == ["a.test", "b.test"]
    assert "policy_id" in str(results[1])
    assert [type(result) for result in results] == [type(None), StoreUnavailable, type(None)]


async def test_a_job_is_applied_whole_or_not_at_all(writer: Writer, tmp_path: Path) -> None:
    job = Job([(PUT_POLICY, [("a.test", "1", "", 0, 0, 0), ("b.test", None, "", 0, 0, 0)])])
    with pytest.raises(StoreUnavailable):
        await writer.run(job)
    assert domains(tmp_path) == []


async def test_a_call_that_fails_undoes_its_own_work_only(writer: Writer, tmp_path: Path) -> None:
    def fails(connection: Connection) -> None:
        connection.execute(text("INSERT INTO counter (name, value) VALUES ('half', 1)"))
        raise LookupError("a bug")

    results = await asyncio.gather(writer.run(Job(call=fails)), writer.run(put("a.test")), return_exceptions=True)
    assert str(results[0]) == "the store cannot be used: LookupError: a bug"
    assert (domains(tmp_path), rows(tmp_path, "SELECT value FROM counter WHERE name = 'half'")) == (["a.test"], [])


async def test_characters_no_database_takes_are_refused_unless_they_may_be_mended(writer: Writer, tmp_path: Path) -> None:
    odd = [(PUT_POLICY, [("odd.test", "1", "\udcff", 0, 0, 0)])]
    with pytest.raises(StoreUnavailable, match="surrogates not allowed"):
        await writer.run(Job(odd))
    await writer.run(Job(odd, mend=True))
    assert rows(tmp_path, "SELECT text FROM sts_policy") == ["?"]


async def test_a_missed_row_leads_to_what_was_meant_otherwise(writer: Writer, tmp_path: Path) -> None:
    exact = Statement(99, 1, DELETE_POLICY.sql, exact=True)
    missing = [(exact, [("missing.test",)])]
    otherwise = put("otherwise.test").rows
    await asyncio.gather(writer.run(Job(missing, otherwise=otherwise)), writer.run(put("a.test")))
    assert domains(tmp_path) == ["a.test", "otherwise.test"]
    with pytest.raises(StoreUnavailable):
        await writer.run(Job([*put("b.test").rows, *missing]))
    assert domains(tmp_path) == ["a.test", "otherwise.test"]


def _full(connection: Connection) -> None:
    pages = connection.scalar(text("PRAGMA page_count"))
    connection.execute(text(f"PRAGMA max_page_count = {pages}"))


def _roomy(connection: Connection) -> None:
    connection.execute(text("PRAGMA max_page_count = 1000000"))


async def test_a_full_disk_fails_all_and_passes(tmp_path: Path) -> None:
    database = Database(url_in(tmp_path))
    writer = Writer(database)
    await writer.run(Job(call=_full))

    def big() -> list[Job]:
        return [Job([(PUT_POLICY, [(f"{number}.test", "1", "x" * 50_000, 0, 0, 0)])]) for number in range(3)]

    results = await asyncio.gather(*map(writer.run, big()), return_exceptions=True)
    assert {str(result) for result in results} == {"the store cannot be used: OperationalError: database or disk is full"}
    assert domains(tmp_path) == []
    await writer.run(Job(call=_roomy))
    await asyncio.gather(*map(writer.run, big()))
    assert len(domains(tmp_path)) == 3
    await writer.close()
    database.close()


async def test_a_disk_that_fills_up_while_a_guilty_job_is_sought_fails_the_rest_at_once(tmp_path: Path) -> None:
    database = Database(url_in(tmp_path))
    writer = Writer(database)
    await writer.run(Job(call=_full))
    guilty = Job([(PUT_POLICY, [("bad.test", "1", "\udcff", 0, 0, 0)])])
    big = [Job([(PUT_POLICY, [(f"{number}.test", "1", "x" * 90_000, 0, 0, 0)])]) for number in range(2)]
    results = await asyncio.gather(*map(writer.run, [guilty, *big]), return_exceptions=True)
    assert ["surrogates" in str(result) or "disk is full" in str(result) for result in results] == [True, True, True]
    await writer.close()
    database.close()


async def test_a_lock_that_is_never_released_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LOCK_WAIT_SECONDS", 0.05)
    database = Database(url_in(tmp_path))
    writer = Writer(database)
    with locked(tmp_path), pytest.raises(StoreUnavailable, match=r"database is locked|lock timeout"):
        await writer.run(put("a.test"))
    await writer.run(put("b.test"))
    assert domains(tmp_path) == ["b.test"]
    await writer.close()
    database.close()


async def test_a_locked_database_is_waited_for(writer: Writer, tmp_path: Path) -> None:
    with locked(tmp_path):
        waiting = asyncio.ensure_future(writer.run(put("a.test")))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 10)
    assert domains(tmp_path) == ["a.test"]


@pytest.mark.parametrize(
    ("limit", "value", "size"), [("MAX_BACKLOG_JOBS", 2, 1), ("MAX_BACKLOG_BYTES", 25, 10)], ids=["jobs", "bytes"]
)
async def test_late_comers_wait_for_room(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, size: int
) -> None:
    monkeypatch.setattr(writer_module, limit, value)
    with locked(tmp_path):
        running = [asyncio.ensure_future(writer.run(put(f"{number}.test", size))) for number in range(8)]
        await asyncio.sleep(0.02)
        assert "2 jobs waiting" in repr(writer)
    await asyncio.wait_for(asyncio.gather(*running), 10)
    assert len(domains(tmp_path)) == 8


async def test_a_job_larger_than_the_whole_backlog_still_goes_in(writer: Writer, tmp_path: Path) -> None:
    await writer.run(put("huge.test", writer_module.MAX_BACKLOG_BYTES + 1))
    assert domains(tmp_path) == ["huge.test"]


async def test_a_batch_is_bounded(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH_JOBS", 10)
    await asyncio.gather(*(writer.run(put(f"{number}.test")) for number in range(40)))
    assert writer.commits >= 4


async def test_closing_commits_what_was_handed_in(tmp_path: Path) -> None:
    database = Database(url_in(tmp_path))
    writer = Writer(database)
    running = [asyncio.ensure_future(writer.run(put(f"{number}.test"))) for number in range(50)]
    await asyncio.sleep(0)
    await writer.close()
    await writer.close()
    assert await asyncio.gather(*running) == [None] * 50
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        await writer.run(put("late.test"))
    database.close()


async def test_who_waits_for_room_when_the_store_closes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BACKLOG_JOBS", 1)
    database = Database(url_in(tmp_path))
    writer = Writer(database)
    running = [asyncio.ensure_future(writer.run(put(f"{number}.test"))) for number in range(3)]
    await asyncio.sleep(0)
    await writer.close()
    results = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 10)
    assert [str(result) for result in results] == ["None", "the store is closed", "the store is closed"]
    database.close()


async def test_a_cancelled_callers_job_is_done_and_its_outcome_handed_on(writer: Writer, tmp_path: Path) -> None:
    outcomes: list[Any] = []
    call: Callable[[Connection], int] = lambda connection: 7  # noqa: E731
    task = asyncio.ensure_future(writer.run(Job(put("a.test").rows, call=call, abandoned=outcomes.append)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await writer.run(put("b.test"))
    assert (domains(tmp_path), outcomes) == (["a.test", "b.test"], [7])
