"""How answers look on terminals of different widths, and what a new administrator meets first."""

from __future__ import annotations

import io
import re

import pytest

from sealroute.faces.cli.main import COMMANDS, run
from sealroute.faces.cli.output import Format, emit
from tests.unit.cli_world import world

Capture = pytest.CaptureFixture[str]
RECORD = {"Name": "Fabrikam", "RecipientDomains": ["fabrikam.com"], "SmtpDaneMode": "Mandatory", "Comment": "not shown"}
COLUMNS = ("Name", "RecipientDomains", "SmtpDaneMode")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["Name      RecipientDomains  SmtpDaneMode", "Fabrikam  {fabrikam.com}    Mandatory"]),
        (39, ["Name             : Fabrikam", "RecipientDomains : {fabrikam.com}", "SmtpDaneMode     : Mandatory"]),
    ],
)
def test_a_table_that_does_not_fit_becomes_a_list(width: int, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    emit([RECORD], Format.TABLE, columns=COLUMNS, file=out)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert [line.rstrip() for line in plain.splitlines() if line.strip()] == lines


@pytest.mark.parametrize("name", COMMANDS)
def test_h_is_help_everywhere(name: str, capsys: Capture) -> None:
    assert run([name, "-h"]) == 0
    assert f"Usage: sealroute {name}" in capsys.readouterr().out


def test_no_connectors_are_told_of(capsys: Capture) -> None:
    assert run(["connector", "list"], lambda _asked: world()) == 0
    assert (
        capsys.readouterr().out == "No connectors: the default applies to all mail, MX routing with both modes Opportunistic.\n"
    )
    assert run(["connector", "list", "--json"], lambda _asked: world()) == 0
    assert capsys.readouterr().out == "[]\n"
