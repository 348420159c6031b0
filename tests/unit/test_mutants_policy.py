"""Policy, what `make mutation` found that no other test noticed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sealroute.policy.connector import Connector
from sealroute.policy.requirement import Requirement
from sealroute.policy.retry import next_attempt
from sealroute.policy.table import markdown, row_names
from tests.unit.test_retry import NOW
from tests.unit.test_verdict import HOST, NO_TLS, alone, dane, facts, need, sts, verdict


@pytest.mark.parametrize(("runs", "minutes"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4)])
def test_each_run_has_its_own_wait(runs: int, minutes: int) -> None:
    schedule = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4))
    connector = Connector(guid="g", name="Lab", retry_schedule=schedule)
    assert next_attempt(connector, NOW, runs, NOW, 0.0) == NOW + timedelta(minutes=minutes)


def test_the_printed_table_has_every_row_and_whole_columns() -> None:
    printed = markdown()
    assert [f"| `{name}` |" in printed for name in row_names()] == [True] * len(row_names())
    assert [line for line in printed.splitlines() if line.startswith("## ")] == [
        "## Next hops",
        "## DANE for one host (SmtpDaneMode)",
        "## MTA-STS for one host (MtaStsMode)",
        "## Together",
    ]
    for block in printed.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block


@pytest.mark.parametrize(
    ("requirement", "shown"),
    [
        (need(), True),
        (need(dane=dane(alone())), False),
        (need(sts=sts()), False),
        (need(tls_required=False), False),
    ],
    ids=["TlsSettings alone", "DANE", "MTA-STS", "nothing"],
)
def test_no_tls_is_a_failure_of_tls_settings_only_where_they_alone_demand_it(requirement: Requirement, shown: bool) -> None:
    settings = verdict(requirement, NO_TLS).tls_settings
    assert (settings is not None) == shown


def test_mta_sts_says_which_name_the_certificate_carries() -> None:
    said = verdict(need(sts=sts()), facts()).sts
    assert said is not None
    assert said.matched == HOST
