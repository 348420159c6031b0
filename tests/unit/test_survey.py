"""Bulk analysis: lists of domains, the state file, politeness, rows and what they come to."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sealroute.base.errors import OperatorError, StoreUnavailable
from sealroute.faces.cli.survey_files import State, read_domains, row_record, write_csv
from sealroute.faces.survey_html import page
from sealroute.policy.connector import default_connector
from sealroute.proto.mtasts.policy import StsMode
from sealroute.services.analyze import Analyzer
from sealroute.services.survey import USUAL, Row, Standing, SurveyLimits, Wanted, _standing, summary_of, survey
from tests.unit.fakes import turns

QUESTION = {"connector": "(default)"}
DONE = Row("contoso.com", "2026-11-22T12:00:00Z", Standing.DANE, True, "dane", True, tls_rpt=True)
HELD = Row("fabrikam.com", "2026-11-22T12:00:00Z", Standing.BROKEN, False, reason="tlsa-invalid", code="4.7.323",
           sentence="450 4.7.323 tlsa-invalid", side="theirs")  # fmt: skip


def domains(tmp_path: Path, text: str) -> tuple[list[str], list[str]]:
    (tmp_path / "in").write_text(text, "utf-8")
    return read_domains(str(tmp_path / "in"))


def test_a_list_a_csv_file_and_mail_addresses_are_read(tmp_path: Path) -> None:
    assert domains(tmp_path, "contoso.com\n# not this\n\nContoso.COM.\nbob@fabrikam.com\n") == (
        ["contoso.com", "fabrikam.com"],
        [],
    )
    assert domains(tmp_path, '\ufeffPartner,Domain\nBank,contoso.com\n"A, B",fabrikam.com\nshort\n')[0] == [
        "contoso.com",
        "fabrikam.com",
    ]
    found, problems = domains(tmp_path, "contoso.com\nnot a domain\n")
    assert found == ["contoso.com"]
    assert problems[0].startswith("line 2: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", "domain\n"])
def test_a_list_without_domains_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(OperatorError, match="holds no domain"):
        domains(tmp_path, text)
    with pytest.raises(OperatorError, match="cannot be read"):
        read_domains(str(tmp_path / "missing"))


def test_the_state_file_gives_back_what_is_done_and_survives_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = State(path, QUESTION)
    first.add(DONE)
    first.add(replace(HELD, standing=Standing.UNKNOWN))
    first.close()
    with path.open("a") as file:
        file.write('{"domain": "cut.com", "at"')
    second = State(path, QUESTION)
    assert second.rows == {"contoso.com": DONE}, "what is not known is done again, and so is what was cut off"
    second.add(HELD)
    second.close()
    assert State(path, QUESTION).rows == {"contoso.com": DONE, "fabrikam.com": HELD}


def test_a_state_file_of_another_question_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    State(path, QUESTION).close()
    with pytest.raises(OperatorError, match="another question"):
        State(path, {"connector": "Bank"})
    (tmp_path / "letter").write_text("Dear all,\n")
    with pytest.raises(OperatorError, match="another question"):
        State(tmp_path / "letter", QUESTION)
    with pytest.raises(OperatorError, match="cannot be used"):
        State(tmp_path, QUESTION)


def test_csv_holds_every_field_and_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_csv(str(path), [replace(HELD, sentence="=HYPERLINK(1)\r\nx"), replace(DONE, sentence="@SUM")])
    first, second = csv.DictReader(path.open(newline=""))
    assert list(first) == list(row_record(HELD))
    assert first["sentence"] == "'=HYPERLINK(1)  x"
    assert second["sentence"] == "'@SUM"
    assert (first["would_deliver"], second["would_deliver"]) == ("no", "yes")


def test_nothing_foreign_becomes_active_in_the_report() -> None:
    html = page([replace(HELD, sentence="<script>1</script>", domain="<img src=x>")])
    assert "<script" not in html
    assert "<img" not in html


@pytest.mark.parametrize(
    ("delivers", "strict", "policy", "standing"),
    [
        (False, (True, True), StsMode.ENFORCE, Standing.BROKEN),
        (True, (True, True), StsMode.ENFORCE, Standing.DANE),
        (True, (False, True), StsMode.ENFORCE, Standing.STS_ENFORCE),
        (True, (False, False), StsMode.TESTING, Standing.STS_TESTING),
        (True, (False, False), StsMode.NONE, Standing.NEITHER),
        (True, (False, False), None, Standing.NEITHER),
    ],
)
def test_standings_are_read_from_the_outcomes(
    delivers: bool, strict: tuple[bool, bool], policy: StsMode | None, standing: Standing
) -> None:
    assert _standing(delivers, strict, policy) is standing


def test_the_summary_counts_standings_and_causes() -> None:
    summary = summary_of([DONE, HELD, replace(HELD, domain="x.com"), replace(HELD, domain="y.com", reason="null-mx")])
    assert dict(summary.standings)[Standing.BROKEN] == 3
    assert dict(summary.standings)[Standing.NEITHER] == 0
    assert summary.causes == (("tlsa-invalid", "theirs", 2), ("null-mx", "theirs", 1))
    assert (summary.total, summary.tls_rpt) == (4, 1)


class Slow:
    """An analyzer that notes how many run at a time, and never finishes what it is told to hang on."""

    def __init__(self, fails: Sequence[str] = ()) -> None:
        self.now: list[str] = []
        self.most = 0
        self.most_below: dict[str, int] = {}
        self.fails = fails

    async def run(self, domain: str, *_: Any, **__: Any) -> Any:
        self.now.append(domain)
        self.most = max(self.most, len(self.now))
        parent = domain.partition(".")[2]
        below = sum(item.endswith(parent) for item in self.now)
        self.most_below[parent] = max(below, self.most_below.get(parent, 0))
        try:
            await turns(3)
            if domain in self.fails:
                await asyncio.sleep(60)
            raise StoreUnavailable("the disk is full")
        finally:
            self.now.remove(domain)


def wanted(names: Sequence[str]) -> list[Wanted]:
    return [Wanted(name, default_connector(), USUAL) for name in names]


async def rows_of(analyzer: Slow, names: Sequence[str], limits: SurveyLimits) -> list[Row]:
    return [row async for row in survey(cast(Analyzer, analyzer), wanted(names), limits)]


async def test_so_many_at_a_time_in_all_and_below_one_parent() -> None:
    analyzer = Slow()
    names = [f"d{number}.{'big.example' if number % 2 else 'com'}" for number in range(60)]
    rows = await rows_of(analyzer, names, SurveyLimits(at_once=20, per_parent=3))
    assert sorted(row.domain for row in rows) == sorted(names)
    assert 10 < analyzer.most <= 20
    assert analyzer.most_below["big.example"] == 3


async def test_what_hangs_or_fails_is_a_row_and_the_others_go_on() -> None:
    rows = await rows_of(Slow(["slow.com"]), ["slow.com", "other.com"], SurveyLimits(seconds=0.05))
    told = {row.domain: row.sentence for row in rows}
    assert told == {"slow.com": "not finished within 0.05 s", "other.com": "the disk is full"}
    assert {row.standing for row in rows} == {Standing.UNKNOWN}


async def test_who_stops_reading_stops_the_work() -> None:
    analyzer = Slow([f"d{number}.com" for number in range(10)])
    rows = survey(cast(Analyzer, analyzer), wanted(["quick.com", *analyzer.fails]))
    async for _ in rows:
        break
    await rows.aclose()  # type: ignore[attr-defined]
    assert analyzer.now == []
