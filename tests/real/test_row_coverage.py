"""Every row of the decision table decides in at least one scenario over real sockets; a new row without one fails here.

Read from the scenario tables alone, so it is quick and says what is missing; that a scenario's rows do decide is checked when
it runs (tests/real/scenario_lab).
"""

from __future__ import annotations

import pytest

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.table import DANE_ROWS, STS_ROWS, row_names
from tests.real import (
    test_scenarios_dane,
    test_scenarios_dns,
    test_scenarios_hosts,
    test_scenarios_sts,
    test_scenarios_tls,
)
from tests.real.scenario import Modes, Scenario

MODULES = (test_scenarios_dns, test_scenarios_dane, test_scenarios_tls, test_scenarios_hosts, test_scenarios_sts)
SCENARIOS: tuple[Scenario, ...] = tuple(scenario for module in MODULES for scenario in module.SCENARIOS)


def run_with(row: str) -> set[Modes]:
    """The modes under which scenarios of this row are run."""
    return {modes for scenario in SCENARIOS if row in scenario.rows.split() for modes in scenario.expected}


@pytest.mark.parametrize("row", row_names())
def test_every_row_has_a_scenario(row: str) -> None:
    assert run_with(row), f"no scenario names the row {row}: add one to tests/real/test_scenarios_*.py"


@pytest.mark.parametrize("row", [row.name for row in DANE_ROWS if SmtpDaneMode.MANDATORY in row.cells])
def test_every_dane_row_is_run_under_opportunistic_and_mandatory(row: str) -> None:
    assert {SmtpDaneMode.OPPORTUNISTIC, SmtpDaneMode.MANDATORY} <= {dane for dane, _ in run_with(row)}


@pytest.mark.parametrize("row", [row.name for row in STS_ROWS if MtaStsMode.MANDATORY in row.cells])
def test_every_sts_row_is_run_under_opportunistic_and_mandatory(row: str) -> None:
    assert {MtaStsMode.OPPORTUNISTIC, MtaStsMode.MANDATORY} <= {sts for _, sts in run_with(row)}


def test_scenarios_name_rows_that_exist() -> None:
    assert {row for scenario in SCENARIOS for row in scenario.rows.split()} <= set(row_names())


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert sorted(names) == sorted(set(names))
