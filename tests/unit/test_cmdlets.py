"""The two command lines for connectors, and the framework under Exchange's: what is read, shown, refused and changed."""

from __future__ import annotations

import io
import json
import sys
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from sealroute.base.errors import OperatorError
from sealroute.faces.cli import cmdlets, connector_cmdlets
from sealroute.faces.cli.cmdlets import (
    Bound,
    CliContext,
    Cmdlet,
    CmdletParameter,
    Takes,
    all_cmdlets,
    bind,
    confirmed,
    find_cmdlet,
    is_cmdlet_name,
    register,
    run_cmdlet,
)
from sealroute.faces.cli.connector import app
from sealroute.faces.cli.connector_options import spell_out_booleans
from sealroute.faces.cli.output import Format, choose_format, emit, printable, text_of, warn
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.modes import ConnectorType, SmtpDaneMode
from sealroute.policy.parameters import Verb, accepted_by
from tests.unit.connector_fakes import NOW, FakeContext, FakeStore, guid

connector_cmdlets.register_all()

# ------------------------------------------------------------------------------------------------------------- framework

PARAMETERS = (
    CmdletParameter("Identity", "Which.", position=0, required=True),
    CmdletParameter("Sender", "From.", position=1),
    CmdletParameter("SenderAddress", "From, by address.", Takes.LIST),
    CmdletParameter("StartDate", "Begin.", allowed="a date"),
    CmdletParameter("Status", "Status.", Takes.LIST),
    CmdletParameter("Deep", "Look deep.", Takes.SWITCH),
    CmdletParameter("IncludeAll", "All of them.", Takes.FLAG),
)
PROBE = Cmdlet("Get-Probe", "Look.", PARAMETERS, lambda bound, context: 0, changes=True)


def read(*arguments: str) -> Bound:
    return bind(PROBE, arguments)


BOUND: list[tuple[tuple[str, ...], dict[str, str], set[str]]] = [
    (("x",), {"Identity": "x"}, set()),
    (("-identity", "x", "-STARTDATE:1"), {"Identity": "x", "StartDate": "1"}, set()),
    (("-id", "x", "-star", "1"), {"Identity": "x", "StartDate": "1"}, set()),
    (("--Identity", "x", "--start:1"), {"Identity": "x", "StartDate": "1"}, set()),
    (("-Identity:", "x"), {"Identity": "x"}, set()),
    (("-StartDate", "1", "x", "y"), {"Identity": "x", "Sender": "y", "StartDate": "1"}, set()),
    (("y", "-Identity", "x"), {"Identity": "x", "Sender": "y"}, set()),
    (("x", "-Sender", "exact name wins over SenderAddress"), {"Identity": "x", "Sender": "exact name wins over SenderAddress"}, set()),
    (("x", "-Status", "a,", "b", ",c", "d"), {"Identity": "x", "Status": "a,b,c", "Sender": "d"}, set()),
    (("x", "-Status:a,", "b"), {"Identity": "x", "Status": "a,b"}, set()),
    (("x", "-Status", "a,", "-Deep"), {"Identity": "x", "Status": "a,"}, {"Deep"}),
    (("x", "-StartDate", "a,", "y"), {"Identity": "x", "StartDate": "a,", "Sender": "y"}, set()),
    (("-5", "-StartDate:-x"), {"Identity": "-5", "StartDate": "-x"}, set()),
    (("x", "-StartDate", "-"), {"Identity": "x", "StartDate": "-"}, set()),
    (("--", "-Deep", "--"), {"Identity": "-Deep", "Sender": "--"}, set()),
    (("---x",), {"Identity": "---x"}, set()),
    (("-Deep", "x"), {"Identity": "x"}, {"Deep"}),
    (("-Deep:$false", "-WhatIf:$true", "x"), {"Identity": "x"}, {"WhatIf"}),
    (("-IncludeAll", "$true", "x"), {"Identity": "x"}, {"IncludeAll"}),
    (("-IncludeAll", "false", "x"), {"Identity": "x"}, set()),
    (("-IncludeAll:1", "x"), {"Identity": "x"}, {"IncludeAll"}),
    (("-IncludeAll", "x"), {"Identity": "x"}, {"IncludeAll"}),
    (("x", "-IncludeAll"), {"Identity": "x"}, {"IncludeAll"}),
    (("-?",), {}, {"Help"}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "values", "switches"), BOUND, ids=[" ".join(case[0]) for case in BOUND])
def test_reading_arguments(arguments: tuple[str, ...], values: dict[str, str], switches: set[str]) -> None:
    bound = read(*arguments)
    assert (dict(bound.values), set(bound.switches)) == (values, switches)


UNREADABLE: list[tuple[tuple[str, ...], str]] = [
    ((), "-Identity: it is required. See Get-Probe -? for all parameters."),
    (("x", "-Sta", "1"), "-Sta: it is ambiguous. It could be -StartDate, -Status."),
    (("x", "-StartDatum", "1"), "-StartDatum: there is no such parameter. Did you mean -StartDate?"),
    (("x", "-Zzz"), "-Zzz: there is no such parameter. See Get-Probe -? for all parameters."),
    (("x", "-StartDate"), "-StartDate: it needs a value. Allowed: a date. In a POSIX shell put what begins with $ in single quotes"),
    (("x", "-Sender", "-Deep"), "A value that begins with a hyphen is written -Sender:-Deep."),
    (("x", "-Sender:", "-Deep"), "-Sender: it needs a value, and -Deep is a parameter."),
    (("x", "-Deep:"), "-Deep: '' is neither true nor false. Allowed: $true, $false. In a POSIX shell"),
    (("x", "-Deep", "-DEEP"), "-Deep: it is given more than once."),
    (("x", "-Status", "a", "-Status", "b"), "-Status: it is given more than once."),
    (("x", "y", "z"), "z: no parameter takes this value."),
    (("x", "-Output", "yaml"), "-Output: 'yaml' is not a format. Allowed: list, table, json."),
    (("x", "-Output", "list", "-Json"), "--json: it contradicts --output. Give one of the two."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), UNREADABLE, ids=[" ".join(case[0]) for case in UNREADABLE])
def test_arguments_that_cannot_be_read(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(OperatorError) as caught:
        read(*arguments)
    assert sentence in str(caught.value)


def test_output_and_lists_of_a_bound_command_line() -> None:
    bound = read("x", "-Output", "JSON", "-Status", "a,'b c'", "-Confirm:$false")
    assert bound.format(Format.TABLE) is Format.JSON
    assert bound.items("Status") == ("a", "b c")
    assert bound.items("SenderAddress") == ()
    assert (bound.confirm, bound.what_if, bound.get("StartDate", "none")) == (False, False, "none")
    assert read("x", "--json").output is Format.JSON
    assert read("x", "-Json:$false").format(Format.TABLE) is Format.TABLE
    with pytest.raises(OperatorError, match="-Status: 'a,' has an empty item"):
        read("x", "-Status", "a,").items("Status")


@pytest.mark.parametrize(
    ("arguments", "unasked", "answer", "terminal", "goes_on", "asked"),
    [
        ((), False, "", True, True, False),
        (("-Confirm",), False, "y\n", False, True, True),
        (("-Confirm",), False, "\n", True, False, True),
        (("-Confirm",), False, "", False, False, True),
        ((), True, "YES\n", True, True, True),
        ((), True, "n\n", True, False, True),
        ((), True, "", False, True, False),
        (("-Confirm:$false",), True, "", True, True, False),
    ],
)
def test_confirmation(
    arguments: tuple[str, ...], unasked: bool, answer: str, terminal: bool, goes_on: bool, asked: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    keyboard = io.StringIO(answer)
    monkeypatch.setattr(keyboard, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", keyboard)
    assert confirmed(read("x", *arguments), "Sure?", ask_unasked=unasked) is goes_on
    assert capsys.readouterr().err == ("Sure? [y/N] " if asked else "")


def test_finding_cmdlets() -> None:
    assert find_cmdlet("set-outboundconnector") is find_cmdlet("Set-OutboundConnector") is not None
    assert find_cmdlet("connector") is None
    assert is_cmdlet_name("get-anything")
    assert not is_cmdlet_name("mta-sts")
    assert not is_cmdlet_name("get-")
    names = [cmdlet.name for cmdlet in all_cmdlets()]
    assert names == sorted(names)
    assert "Validate-OutboundConnector" in names


# ---------------------------------------------------------------------------------------------------------------- output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


RECORDS: list[dict[str, Any]] = [
    {"Name": "A", "Enabled": True, "Domains": ["a.example", "b.example"], "Comment": None},
    {"Name": "B[bold]", "Enabled": False, "Domains": [], "Comment": "two\nlines\x1b[31m"},
]


def shown(fmt: Format, records: list[dict[str, Any]], **how: Any) -> str:
    out = io.StringIO()
    emit(records, fmt, file=out, **how)
    return out.getvalue()


def test_list() -> None:
    assert shown(Format.LIST, RECORDS) == (
        "Name    : A\nEnabled : True\nDomains : {a.example, b.example}\nComment :\n\n"
        "Name    : B[bold]\nEnabled : False\nDomains : {}\nComment : two\n          lines\\x1b[31m\n\n"
    )
    assert shown(Format.LIST, []) == ""


def test_table() -> None:
    assert shown(Format.TABLE, RECORDS, columns=("Name", "Domains")) == (
        "Name     Domains\nA        {a.example, b.example}\nB[bold]  {}\n"
    )
    assert shown(Format.TABLE, RECORDS[:1]).splitlines()[0].split() == ["Name", "Enabled", "Domains", "Comment"]
    assert shown(Format.TABLE, []) == ""


def test_a_table_cuts_long_lists_and_a_list_does_not() -> None:
    assert shown(Format.TABLE, [{"A": [1, 2, 3, 4, 5]}]).splitlines()[1] == "{1, 2, 3, 4, 5}"
    assert shown(Format.TABLE, [{"A": [1, 2, 3, 4, 5, 6]}]).splitlines()[1] == "{1, 2, 3, 4, ... 2 more}"
    assert shown(Format.LIST, [{"A": [1, 2, 3, 4, 5, 6]}]) == "A : {1, 2, 3, 4, 5, 6}\n\n"


def test_table_in_a_pipe_is_not_cut_and_on_a_terminal_is_coloured() -> None:
    assert "x" * 500 in shown(Format.TABLE, [{"A": "x" * 500}])
    screen = Terminal()
    emit([{"A": "b"}], Format.TABLE, file=screen)
    assert "A" in screen.getvalue()
    assert "b" in screen.getvalue()


def test_json() -> None:
    assert json.loads(shown(Format.JSON, RECORDS)) == RECORDS
    assert json.loads(shown(Format.JSON, RECORDS[:1], single=True)) == RECORDS[0]
    assert shown(Format.JSON, []) == "[]\n"


def test_json_to_an_ascii_terminal_is_escaped() -> None:
    raw = io.BytesIO()
    ascii_out = io.TextIOWrapper(raw, encoding="ascii")
    emit([{"A": "ü"}], Format.JSON, file=ascii_out)
    ascii_out.flush()
    assert json.loads(raw.getvalue()) == [{"A": "ü"}]


def test_small_words() -> None:
    assert text_of({"a": [1, None], "b": True}) == "{a: {1, }, b: True}"
    assert printable("a\tb\x07ü\n") == "a\\tb\\x07ü\n"
    out = io.StringIO()
    warn(["careful"], file=out)
    assert out.getvalue() == "WARNING: careful\n"


def test_choosing_a_format() -> None:
    assert choose_format(None, False, Format.LIST) is Format.LIST
    assert choose_format(Format.TABLE, False, Format.LIST) is Format.TABLE
    assert choose_format(None, True, Format.LIST) is choose_format(Format.JSON, True, Format.LIST) is Format.JSON
    with pytest.raises(OperatorError):
        choose_format(Format.LIST, True, Format.LIST)


# ----------------------------------------------------------------------------------------------------- Exchange's cmdlets

BANK = Connector(guid=guid(1), name="Contoso Bank", recipient_domains=("contoso.com",), when_created=NOW)
LAB = Connector(guid=guid(2), name="Lab", recipient_domains=("lab.example",), test_mode=True, when_created=NOW)
OURS = Connector(
    guid=guid(3), name="Ours", all_accepted_domains=True, connector_type=ConnectorType.ON_PREMISES, when_created=NOW
)


@pytest.fixture
def context() -> FakeContext:
    return FakeContext(FakeStore(BANK, LAB, OURS))


def run(context: CliContext, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = run_cmdlet(argv, context)
    out, err = capsys.readouterr()
    return code, out, err


def test_new_shows_the_connector_it_made(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    argv = (
        "new-outboundconnector",
        "Fabrikam",
        "-RecipientDomains",
        "fabrikam.com,",
        "*.fabrikam.com",
        "-SmtpDane",
        "MANDATORY",
    )
    code, out, err = run(context, capsys, *argv, "-IsTransportRuleScoped", "$true")
    assert code == 0
    assert "RecipientDomains              : {fabrikam.com, *.fabrikam.com}\n" in out
    assert out.startswith("Enabled                       : True\nUseMXRecord                   : True\n")
    assert err.startswith("WARNING: IsTransportRuleScoped: the connector is never chosen by domain.")
    made = context.connectors.get("default", "fabrikam")
    assert made is not None
    assert made.smtp_dane_mode is SmtpDaneMode.MANDATORY


def test_new_json_and_what_if(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("New-OutboundConnector", "F", "-RecipientDomains", "f.example", "-Json")
    code, out, _ = run(context, capsys, *argv, "-WhatIf")
    assert code == 0
    assert json.loads(out)["whatIf"] is True
    assert context.connectors.version() == 0
    code, out, _ = run(context, capsys, *argv)
    assert (code, json.loads(out)["RecipientDomains"]) == (0, ["f.example"])


def test_new_declined(context: FakeContext, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    code, out, _ = run(context, capsys, "New-OutboundConnector", "F", "-RecipientDomains", "f.example", "-Confirm")
    assert (code, out, context.connectors.version()) == (0, "", 0)


def test_set_shows_what_changed(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("Set-OutboundConnector", "CONTOSO BANK", "-SmtpDaneMode", "Mandatory")
    changes = "Parameter     Before         After\nSmtpDaneMode  Opportunistic  Mandatory\n"
    code, out, err = run(context, capsys, *argv, "-WhatIf")
    assert (code, out, err) == (0, "What if: would change connector 'Contoso Bank'.\n" + changes, "")
    assert context.connectors.version() == 0
    code, out, err = run(context, capsys, *argv)
    assert (code, out, err) == (0, "Changed connector 'Contoso Bank'.\n" + changes, "")
    code, out, err = run(context, capsys, *argv)
    assert (code, out, err) == (0, "'Contoso Bank' is so already; nothing changes.\n", "")
    assert [change.actor for change in context.connectors.changes("default")] == ["admin"]


def test_set_refuses_with_every_problem(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("-SmtpDaneMode", "strict", "-UseMXRecord", "false", "-Name", "Lab")
    code, out, err = run(context, capsys, "set-outboundconnector", "contoso bank", *argv)
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == ["SmtpDaneMode", "SmartHosts", "Name"]
    assert err.startswith("Set-OutboundConnector: SmtpDaneMode: 'strict' is not one of its values.")
    assert context.connectors.version() == 0


def test_get(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(context, capsys, "Get-OutboundConnector")
    assert (code, [line.split("  ")[0] for line in out.splitlines()]) == (0, ["Name", "Contoso Bank", "Ours"])
    code, out, _ = run(context, capsys, "Get-OutboundConnector", "-IncludeTestModeConnectors", "$true", "-Json")
    assert [record["Name"] for record in json.loads(out)] == ["Contoso Bank", "Lab", "Ours"]
    code, out, _ = run(context, capsys, "Get-OutboundConnector", "lab", "-Json")
    assert json.loads(out)["Guid"] == guid(2)
    code, out, _ = run(context, capsys, "Get-OutboundConnector", "-Identity", guid(1))
    assert "Name                          : Contoso Bank\nIdentity                      : Contoso Bank\n" in out
    code, out, err = run(context, capsys, "Get-OutboundConnector", "Contoso Bnk")
    assert (code, out) == (2, "")
    assert err == ("Get-OutboundConnector: Identity: there is no connector 'Contoso Bnk'. Did you mean 'Contoso Bank'?\n")


def test_remove(context: FakeContext, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("Remove-OutboundConnector", "Lab", "-Confirm:$false")
    assert run(context, capsys, *argv, "-WhatIf") == (0, "What if: would remove connector 'Lab'.\n", "")
    assert run(context, capsys, *argv) == (0, "Removed connector 'Lab'.\n", "")
    assert context.connectors.get("default", "Lab") is None
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert run(context, capsys, "Remove-OutboundConnector", "Ours", "-Confirm") == (
        0, "", "Remove connector 'Ours'? [y/N] ",
    )  # fmt: skip
    assert context.connectors.get("default", "Ours") is not None


def test_help_names_every_parameter(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(context, capsys, "Set-OutboundConnector", "-?")
    assert code == 0
    for parameter in accepted_by(Verb.SET):
        assert f"    -{parameter.name}\n        {parameter.help}" in out
    assert "Set-OutboundConnector <Identity> [-Parameter value ...]" in out
    _, out, _ = run(context, capsys, "Get-OutboundConnector", "-Help")
    assert "Get-OutboundConnector [<Identity>] [-Parameter value ...]" in out
    assert "-WhatIf" not in out


def test_unknown_cmdlets(context: FakeContext, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(context, capsys, "Get-OutboundConector") == (
        2, "", "Get-OutboundConector: there is no such cmdlet. Did you mean Get-OutboundConnector?\n",
    )  # fmt: skip
    code, _, err = run(context, capsys, "Xyzzy-Q")
    assert code == 2
    assert "Known: " in err


def test_a_cmdlet_may_have_required_parameters_without_a_position(
    context: FakeContext, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cmdlets, "_REGISTRY", {})
    seen: list[Bound] = []

    def handler(bound: Bound, context: CliContext) -> int:
        seen.append(bound)
        return 1

    register(Cmdlet("Test-Probe", "Try.", (CmdletParameter("Domain", "Which.", required=True),), handler))
    assert run(context, capsys, "test-probe", "-Domain", "a.example")[0] == 1
    assert seen[0].get("Domain") == "a.example"
    assert "Test-Probe -Domain <value> [-Parameter value ...]" in run(context, capsys, "Test-Probe", "-?")[1]


# ------------------------------------------------------------------------------------------------------ sealroute connector


def kebab(context: FakeContext, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), obj=context)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_kebab_set(context: FakeContext) -> None:
    code, out, err = kebab(context, "set", "Contoso Bank", "--smtp-dane-mode", "mandatory")
    assert (code, err) == (0, "")
    assert (
        out == "Changed connector 'Contoso Bank'.\nParameter     Before         After\nSmtpDaneMode  Opportunistic  Mandatory\n"
    )
    bank = context.connectors.get("default", "contoso bank")
    assert bank is not None
    assert bank.smtp_dane_mode is SmtpDaneMode.MANDATORY


def test_kebab_new_with_lists_booleans_and_the_configured_schedule(context: FakeContext) -> None:
    context.default_connector = default_connector(retry_schedule=(timedelta(seconds=5),))
    argv = (
        "--recipient-domains",
        "a.example,b.example",
        "--recipient-domains",
        "c.example",
        "--no-use-mx-record",
        "--test-mode",
    )
    code, out, _ = kebab(context, "new", "F", *argv, "--smart-hosts", "[mx.f.example]", "--comment=-x", "--json")
    assert code == 0
    changes = {change["parameter"]: change["after"] for change in json.loads(out)["changes"]}
    assert changes["RecipientDomains"] == ["a.example", "b.example", "c.example"]
    assert (changes["UseMXRecord"], changes["TestMode"], changes["Comment"]) == (False, True, "-x")
    made = context.connectors.get("default", "F")
    assert made is not None
    assert made.retry_schedule == (timedelta(seconds=5),)


def test_kebab_edits_lists(context: FakeContext) -> None:
    argv = ("--add-recipient-domains", "*.contoso.com,x.example", "--remove-recipient-domains", "contoso.com")
    code, _, _ = kebab(context, "set", guid(1), *argv)
    bank = context.connectors.get("default", guid(1))
    assert bank is not None
    assert (code, bank.recipient_domains) == (0, ("*.contoso.com", "x.example"))


REFUSED_KEBAB: list[tuple[tuple[str, ...], str]] = [
    (
        ("set", "Lab", "--smart-hosts", "a.example", "--add-smart-hosts", "b.example"),
        "SmartHosts: it is set and edited at once.",
    ),
    (("set", "Lab", "--add-smart-hosts", "a.example,,"), "SmartHosts: 'a.example,,' has an empty item."),
    (("set", "Lab", "--smtp-dane-mode", "on"), "SmtpDaneMode: 'on' is not one of its values. Allowed: None, ReportOnly,"),
    (("set", "Lab", "--recipient-domains", ""), "RecipientDomains: the connector would never be used."),
    (("set", "Nobody"), "Identity: there is no connector 'Nobody'."),
    (("new", "lab", "--recipient-domains", "x.example"), "Name: there is already a connector 'lab'."),
    (("get", "Nobody"), "Identity: there is no connector 'Nobody'."),
    (("list", "--json", "--output", "table"), "--json: it contradicts --output."),
    (("match", "contoso.com"), "recipient: 'contoso.com' is not a mail address"),
    (("match", "a@b..c"), "has an empty label"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED_KEBAB, ids=[" ".join(case[0]) for case in REFUSED_KEBAB])
def test_kebab_refusals_exit_2(context: FakeContext, arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = kebab(context, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert context.connectors.version() == 0


def test_kebab_remove_get_and_list(context: FakeContext) -> None:
    assert kebab(context, "remove", "lab", "--what-if")[1] == "What if: would remove connector 'Lab'.\n"
    assert json.loads(kebab(context, "list", "--include-test-mode", "--json")[1])[1]["Name"] == "Lab"
    assert json.loads(kebab(context, "get", "lab", "--json")[1])["TestMode"] is True
    assert json.loads(kebab(context, "remove", "lab", "--json")[1]) == {
        "action": "Remove", "connector": "Lab", "guid": guid(2), "whatIf": False, "changes": [], "warnings": [],
    }  # fmt: skip
    assert [line.split("  ")[0] for line in kebab(context, "list")[1].splitlines()] == ["Name", "Contoso Bank", "Ours"]


MATCHES: list[tuple[str, str, str, str, list[str]]] = [
    ("user@Contoso.COM", "contoso.com", "Contoso Bank", "exact recipient domain contoso.com", ["Contoso Bank"]),
    ("a@example.org", "example.org", "Ours", "AllAcceptedDomains: example.org is an accepted domain", ["Ours"]),
    (
        "a@bücher.example",
        "xn--bcher-kva.example",
        "(default)",
        "no connector matches xn--bcher-kva.example; the default applies",
        [],
    ),
    ("a@lab.example", "lab.example", "(default)", "no connector matches lab.example; the default applies", []),
]


@pytest.mark.parametrize(("recipient", "domain", "name", "why", "considered"), MATCHES)
def test_match(context: FakeContext, recipient: str, domain: str, name: str, why: str, considered: list[str]) -> None:
    code, out, _ = kebab(context, "match", recipient, "--json")
    record = json.loads(out)
    assert code == 0
    found = context.connectors.get("default", name) or context.default_connector
    assert record == {
        "recipient": recipient, "domain": domain, "connector": name, "guid": found.guid, "why": why, "considered": considered,
        "byDomain": name, "smtpDaneMode": "Opportunistic", "mtaStsMode": "Opportunistic", "tlsSettings": None, "exception": None,
        "transportRules": [],
    }  # fmt: skip
    assert f"why          : {why}\n" in kebab(context, "match", recipient)[1]


def test_history(context: FakeContext) -> None:
    kebab(context, "set", "Lab", "--name", "Old lab", "--comment", "x")
    kebab(context, "new", "F", "--recipient-domains", "f.example")
    kebab(context, "remove", "Old lab")
    rows = json.loads(kebab(context, "history", "--json")[1])
    assert [(row["Actor"], row["Action"], row["Connector"]) for row in rows] == [
        ("admin", "Remove", "Old lab"), ("admin", "New", "F"), ("admin", "Set", "Old lab"),
    ]  # fmt: skip
    assert rows[2]["Changes"] == [
        {"parameter": "Comment", "before": "", "after": "x"},
        {"parameter": "Name", "before": "Lab", "after": "Old lab"},
    ]
    assert [row["Action"] for row in json.loads(kebab(context, "history", "LAB", "--json")[1])] == ["Set"]
    assert [row["Action"] for row in json.loads(kebab(context, "history", guid(2), "--json")[1])] == ["Remove", "Set"]
    assert len(json.loads(kebab(context, "history", "--limit", "1", "--json")[1])) == 1
    assert "Comment: $null -> x; Name: Lab -> Old lab" in kebab(context, "history", "Lab")[1]


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("--enabled", "--enabled=true"),
        ("--enabled false x", "--enabled false x"),
        ("--enabled $true", "--enabled $true"),
        ("--enabled --test-mode x", "--enabled=true --test-mode=true x"),
        ("--no-enabled", "--enabled=false"),
        ("--enabled=false", "--enabled=false"),
        ("--what-if --comment enabled", "--what-if --comment enabled"),
        ("x -- --enabled", "x -- --enabled"),
    ],
)
def test_booleans_spelled_out(words: str, spelled: str) -> None:
    assert spell_out_booleans(words.split()) == spelled.split()


def test_every_parameter_has_its_option(context: FakeContext) -> None:
    for command, verb in (("new", Verb.NEW), ("set", Verb.SET)):
        result = CliRunner().invoke(app, [command, "--help"], obj=context, terminal_width=300, env={"COLUMNS": "300"})
        for parameter in accepted_by(verb):
            assert f"--{parameter.option} " in result.output or (parameter.field, command) == ("name", "new")
