"""Transport rules as administrators meet them: both command lines, files, the dry run; and what must not be saved."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.mail import Envelope, Message, Recipient
from sealroute.faces.cli.context import Context
from sealroute.faces.cli.main import run
from sealroute.faces.cli.rule_show import show_trials, trial_record
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.transport import kinds
from sealroute.policy.transport.checks import SENTENCES, check
from sealroute.policy.transport.json import read_record, rule_from_json, rule_to_json, to_record
from sealroute.policy.transport.parameters import BY_NAME, TABLE
from sealroute.policy.transport.rule import MAX_RULES, Conditions, RuleMode, RuleState, TransportRule, value_of
from sealroute.ports import TraceEvent, TraceQuery, TraceRow
from sealroute.services.apply_rules import MAX_MADE, MAX_MESSAGES, RulesInForce
from sealroute.services.try_rules import Around, Trials
from sealroute.settings import Settings
from sealroute.store.store import AdminStore, open_store
from tests.store_making import url_in
from tests.unit.test_store_rules import EVERYTHING, GATE, guid, rule

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Cli:
    """Commands on one store."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._url = url_in(folder)
        self.change(lambda store: store.connectors.add(GATE, "anna"))

    def change(self, do: Any) -> None:
        store = open_store(self._url).admin
        do(store)
        store.close()

    def spoil(self, statement: str) -> None:
        with closing(sqlite3.connect(make_url(self._url).database or "")) as connection, connection:
            connection.execute(statement)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        store: AdminStore = open_store(self._url).admin
        code = run(list(arguments), lambda asked: Context(asked, Settings(), store, NOW))
        out, err = self._capsys.readouterr()
        return code, out, err

    def ok(self, *arguments: str) -> str:
        code, out, err = self(*arguments)
        assert code == 0, err
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json" if "-" not in arguments[0] else "-Json"))

    def refused(self, *arguments: str) -> str:
        code, out, err = self(*arguments)
        assert (code, out) == (2, "")
        return err


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, capsys)


# ---------------------------------------------------------------------------------------------------- both command lines


def test_a_rule_from_its_making_to_its_end(cli: Cli) -> None:
    assert cli.ok("rule", "list").startswith("No transport rules: the recipient's domain alone")
    assert cli.json("rule", "list") == []
    made = cli.json(
        "New-TransportRule", "Label", "-HeaderContainsMessageHeader", "msip_labels", "-HeaderContainsWords", "a b,'c, d'",
        "-SmtpDaneMode", "Mandatory", "-StopRuleProcessing", "$true", "-MessageSizeOver", "10MB",
    )  # fmt: skip
    assert (made["Name"], made["Identity"], made["Priority"], made["State"]) == ("Label", "Label", 0, "Enabled")
    assert (made["HeaderContainsWords"], made["MessageSizeOver"]) == (["a b", "c, d"], "10 MB (10,485,760 bytes)")
    out = cli.ok("rule", "new", "Gate", "--route-message-outbound-connector", "gATE", "--from", "a@example.org", "--priority", "0",
                 "--except-if-from", "b@example.org", "--stop-rule-processing")  # fmt: skip
    assert out.startswith("Created rule 'Gate'.")
    assert [line.split()[:1] for line in out.splitlines()[2:]][:2] == [["Name"], ["Priority"]]
    listed = cli.ok("Get-TransportRule").splitlines()
    assert listed[0].split() == ["Priority", "Name", "State", "Mode", "When", "Then"]
    assert "From {a@example.org}; ExceptIfFrom {b@example.org}" in listed[1]
    assert "RouteMessageOutboundConnector Gate; stop" in listed[1]
    assert cli.json("rule", "get", "gate")["RouteMessageOutboundConnector"] == "Gate"
    changed = cli.json(
        "rule", "set", "Gate", "--add-from", "c@example.org", "--no-stop-rule-processing", "--allow-weaker=false"
    )
    assert changed["changes"] == [
        {"parameter": "From", "before": ["a@example.org"], "after": ["a@example.org", "c@example.org"]},
        {"parameter": "StopRuleProcessing", "before": True, "after": False},
    ]
    assert cli.ok("rule", "set", "Gate", "--mode", "enforce") == "'Gate' is so already; nothing changes.\n"
    what = cli.ok("Set-TransportRule", "Gate", "-Priority", "1", "-WhatIf")
    assert what.startswith("What if: would change rule 'Gate'.")
    assert cli.json("rule", "get", "Gate")["Priority"] == 0
    assert cli.json("Disable-TransportRule", "Gate", "-Confirm:$false")["action"] == "Disable"
    assert [item["Name"] for item in cli.json("Get-TransportRule", "-State", "Disabled")] == ["Gate"]
    assert "Enabled rule 'Gate'" in cli.ok("rule", "enable", "Gate")
    assert "Disabled rule 'Gate'" in cli.ok("rule", "disable", "Gate")
    assert cli.ok("Enable-TransportRule", "Gate", "-WhatIf").startswith("What if: would enable rule 'Gate'.")
    assert cli.ok("Remove-TransportRule", "Gate", "-WhatIf") == "What if: would remove rule 'Gate'.\n"
    assert "Removed rule 'Gate'" in cli.ok("rule", "remove", "Gate")
    assert "Removed rule 'Label'" in cli.ok("Remove-TransportRule", "Label", "-Confirm:$false")
    history = cli.json("rule", "history")
    assert [item["Action"] for item in history] == ["Remove", "Remove", "Set", "Set", "Set", "Set", "New", "New"]
    assert [item["Rule"] for item in cli.json("rule", "history", "Label")] == ["Label", "Label"]
    state = next(change for change in history[4]["Changes"] if change["parameter"] == "State")
    assert (state["before"], state["after"]) == ("Enabled", "Disabled")
    assert "StopRuleProcessing: True -> $null" in cli.ok("rule", "history", "Gate").replace("False", "$null")
    assert cli.ok("connector", "history").count("\n") == 2, "a head and the one connector"


def test_what_rules_will_do_to_mail_for_a_domain(cli: Cli) -> None:
    cli.ok("rule", "new", "Secret", "--header-contains-message-header", "msip_labels", "--header-contains-words", "secret",
           "--smtp-dane-mode", "mandatory", "--stop-rule-processing")  # fmt: skip
    cli.ok("rule", "new", "Partners", "--recipient-domain-is", "fabrikam.com", "--mta-sts-mode", "mandatory")
    cli.ok("rule", "new", "Watched", "--recipient-domain-is", "fabrikam.com", "--mta-sts-mode", "mandatory", "--mode", "audit")
    cli.ok("rule", "new", "Gate", "--message-size-over", "10MB", "--route-message-outbound-connector", "Gate")
    cli.ok("rule", "new", "Elsewhere", "--recipient-domain-is", "contoso.com", "--smtp-dane-mode", "mandatory")
    cli.ok("rule", "new", "Off", "--smtp-dane-mode", "mandatory", "--no-enabled")
    shown = cli.ok("connector", "match", "bob@fabrikam.com")
    assert "mtaStsMode   : Mandatory\n" in shown
    assert (
        shown[shown.index("Transport rules") :]
        == """\
Transport rules
  rule 'Secret' may apply: SmtpDaneMode Opportunistic -> Mandatory
    depends on HeaderContainsMessageHeader msip_labels; HeaderContainsWords {secret}
    leaves out the rules behind it
  rule 'Partners' applies: MtaStsMode Opportunistic -> Mandatory
    is left out where rule 'Secret' applies
  rule 'Watched' applies: demands nothing that is not demanded already
    Mode is Audit: it is only written into the trace, and changes nothing
    is left out where rule 'Secret' applies
  rule 'Gate' may apply: connector (default) -> Gate
    depends on MessageSizeOver 10 MB (10,485,760 bytes)
    is left out where rule 'Secret' applies
  Of rules that depend on the message, each is shown as if no other of them were met. sealroute rule test tries a message.
"""
    )
    record = cli.json("connector", "match", "bob@fabrikam.com")
    assert (record["connector"], record["byDomain"], record["mtaStsMode"]) == ("(default)", "(default)", "Mandatory")
    last = record["transportRules"][-1]
    assert (last["rule"], last["applies"], last["did"]) == (
        "Gate", "depending on the message",
        ["connector (default) -> Gate"],
    )  # fmt: skip
    assert (last["connector"], last["tlsSettings"], last["mtaStsMode"]) == ("Gate", None, "Mandatory")
    assert [item["leftOutBy"] for item in record["transportRules"]] == [[], ["Secret"], ["Secret"], ["Secret"]]

    # Rules of which none depends on the message need no remark, and one that stops ends the list.
    cli.ok("rule", "set", "Secret", "--recipient-domain-is", "contoso.com", "--header-contains-message-header", "",
           "--header-contains-words", "")  # fmt: skip
    shown = cli.ok("connector", "match", "bob@contoso.com")
    assert shown[shown.index("Transport rules") :].splitlines()[1:] == [
        "  rule 'Secret' applies: SmtpDaneMode Opportunistic -> Mandatory", "    leaves out the rules behind it",
    ]  # fmt: skip


@pytest.mark.parametrize("command", [("analyze", "contoso.com"), ("connector", "match", "b@contoso.com")])
def test_a_rule_that_cannot_be_read_is_not_taken_for_none(cli: Cli, command: tuple[str, ...]) -> None:
    cli.ok("rule", "new", "Partners", "--recipient-domain-is", "contoso.com", "--smtp-dane-mode", "mandatory")
    cli.spoil("UPDATE transport_rule SET parameters = json_insert(parameters, '$.Newer', 1)")
    said = cli.refused(*command)
    assert "this version of Sealroute does not know it" in said
    assert "default" not in said


def test_what_if_makes_nothing(cli: Cli) -> None:
    out = cli.ok("New-TransportRule", "Label", "-SmtpDaneMode", "Mandatory", "-WhatIf")
    assert out.startswith("What if: would create rule 'Label'.")
    assert cli.ok("rule", "new", "Label", "--smtp-dane-mode", "mandatory", "--what-if").startswith("What if")
    assert cli.json("rule", "list") == []


def test_warnings_go_to_stderr(cli: Cli) -> None:
    code, _, err = cli("rule", "new", "Weak", "--smtp-dane-mode", "none", "--allow-weaker", "--comments", "agreed with them")
    assert (code, err.splitlines()) == (0, [
        "WARNING: rule: it has no condition and no exception. It applies to all messages.",
        "WARNING: AllowWeaker: messages that meet the rule may travel less protected than their connector demands.",
    ])  # fmt: skip
    cli.change(
        lambda store: store.connectors.add(replace(GATE, guid=guid(7), name="Own", is_transport_rule_scoped=False), "anna")
    )
    _, _, err = cli("rule", "new", "Route", "--route-message-outbound-connector", "Own", "--from", "a@example.org")
    assert err == (
        "WARNING: RouteMessageOutboundConnector: connector 'Own' is also chosen by domain. "
        "With IsTransportRuleScoped only rules choose it.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("X",), "rule: it does nothing. Give RouteMessageOutboundConnector, SmtpDaneMode"),
        (("X", "--stop-rule-processing", "--allow-weaker"), "Comments: AllowWeaker needs a reason."),
        (("X", "--stop-rule-processing", "--allow-weaker", "--comments", "x"), "AllowWeaker: there is nothing that it could"),
        (("X", "--smtp-dane-mode", "reportonly"), "SmtpDaneMode: ReportOnly can raise nothing."),
        (("X", "--mta-sts-mode", "none"), "MtaStsMode: None can raise nothing."),
        (("X", "--tls-settings", "domainvalidation"), "TlsSettings: DomainValidation needs a name"),
        (("a\x07", "--smtp-dane-mode", "mandatory"), "is not a name."),
        (("x" * 65, "--smtp-dane-mode", "mandatory"), "is not a name. Not empty, at most 64"),
        ((guid(1), "--smtp-dane-mode", "mandatory"), "is not a name."),
        (("X", "--smtp-dane-mode", "mandatory", "--comments", "x" * 1025), "Comments: it has 1025 characters."),
        (("X", "--smtp-dane-mode", "mandatory", "--priority", "1"), "Priority: 1 is beyond the last rule."),
        (("X", "--smtp-dane-mode", "mandatory", "--from", ",".join(f"a{n}@b.test" for n in range(201))), "From: it has 201 entr"),
        (
            ("X", "--smtp-dane-mode", "mandatory", "--except-if-subject-contains-words", ",".join(f"{n:0100}" for n in range(41))),
            "ExceptIfSubjectContainsWords: its words have 4100 characters together.",
        ),
        (("X", "--smtp-dane-mode", "mandatory", "--header-contains-words", "a"), "HeaderContainsMessageHeader: HeaderContainsWo"),
        (("X", "--smtp-dane-mode", "mandatory", "--except-if-header-matches-message-header", "a"), "ExceptIfHeaderMatchesPatterns:"),
        (("X", "--route-message-outbound-connector", "nobody"), "there is no connector 'nobody'."),
        (("X", "--smtp-dane-mode", "mandatory", "--subject-matches-patterns", "("), "SubjectMatchesPatterns: '(' is not a pattern"),
        (("X", "--smtp-dane-mode", "mandatory", "--subject-matches-patterns", r"\d{1,3}"), "a pattern with a comma in it stands"),
        (("X", "--smtp-dane-mode", "mandatory", "--subject-matches-patterns", r"(\pL){9}"), "compiles to"),
        (("X", "--smtp-dane-mode", "mandatory", "--subject-matches-patterns", "x" * 513), "it has 513 characters, more than 512"),
        (("X", "--smtp-dane-mode", "mandatory", "--message-size-over", "10 XB"), "MessageSizeOver: '10 XB' is not a size."),
        (("X", "--smtp-dane-mode", "mandatory", "--message-size-over", "9999GB"), "is larger than any message"),
        (("X", "--smtp-dane-mode", "mandatory", "--header-contains-message-header", "a b"), "is not the name of a header field"),
        (("X", "--smtp-dane-mode", "mandatory", "--attachment-extension-matches-words", "a b"), "is not a file name's extension"),
        (("X", "--smtp-dane-mode", "mandatory", "--subject-contains-words", "x" * 129), "has 129 characters: from 1 to 128 are"),
        (("X", "--smtp-dane-mode", "mandatory", "--subject-contains-words", "a\x07b"), "has control characters"),
        (("X", "--smtp-dane-mode", "mandatory", "--mode", "watch"), "Mode: 'watch' is not one of its values"),
        (("X", "--smtp-dane-mode", "strict"), "SmtpDaneMode: 'strict' is not one of its values"),
    ],
)  # fmt: skip
def test_what_is_refused(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    assert said in cli.refused("rule", "new", *arguments)


def test_what_is_refused_of_names(cli: Cli) -> None:
    cli.ok("rule", "new", "Label", "--smtp-dane-mode", "mandatory", "--from", "a@example.org")
    assert "Name: there is already a rule 'LABEL'." in cli.refused("rule", "new", "LABEL", "--smtp-dane-mode", "mandatory")
    assert cli.refused("rule", "get", "Lable").endswith("there is no transport rule 'Lable'. Did you mean 'Label'?\n")
    assert cli.refused("rule", "get", "Other").endswith("there is no transport rule 'Other'.\n")
    cli.ok("rule", "remove", "Label")
    assert "There are no transport rules yet." in cli.refused("rule", "get", "Label")
    assert "Set-TransportRule: Enabled: Set-TransportRule does not take it." not in cli.refused("Set-TransportRule", "x")
    assert "there is no such parameter" in cli.refused("Set-TransportRule", "x", "-Enabled", "false")


def test_a_route_that_could_never_hold_is_refused(cli: Cli) -> None:
    by_address = replace(GATE, guid=guid(8), name="By address", use_mx_record=False, smart_hosts=("192.0.2.1",))
    cli.change(lambda store: store.connectors.add(by_address, "anna"))
    route = ("--route-message-outbound-connector", "By address", "--from", "a@example.org")
    assert "Mandatory can never hold for the smart host 192.0.2.1" in cli.refused(
        "rule", "new", "X", *route, "--smtp-dane-mode", "mandatory"
    )
    cli.ok("rule", "new", "X", *route)
    cli.ok("rule", "new", "Y", *route, "--smtp-dane-mode", "mandatory", "--mode", "audit")
    cli.change(lambda store: store.connectors.add(replace(GATE, guid=guid(9), name="Off", enabled=False), "anna"))
    assert "connector 'Off' is disabled or in test mode" in cli.refused(
        "rule", "new", "Z", "--route-message-outbound-connector", "Off"
    )
    cli.ok("rule", "new", "Z", "--route-message-outbound-connector", "Off", "--enabled", "false")
    assert "connector 'Off' is disabled or in test mode" in cli.refused("rule", "enable", "Z")


# -------------------------------------------------------------------------------------------------------------- files


EXPORT: Mapping[str, Any] = {
    "Name": "From Exchange", "Priority": 3, "State": "Enabled", "Mode": "AuditAndNotify", "Comments": None,
    "HeaderContainsMessageHeader": "msip_labels", "HeaderContainsWords": "a b, c", "SubjectContainsWords": {"value": ["x y"], "Count": 1},
    "MessageSizeOver": {"IsUnlimited": False, "Value": "5 MB (5,242,880 bytes)"}, "RouteMessageOutboundConnector": "Gate",
    "StopRuleProcessing": False, "SenderAddressLocation": "Header", "FromMemberOf": None, "ApplyOME": False, "SentTo": [],
    "Conditions": ["Microsoft.Exchange.MessagingPolicies.Rules.Tasks.HeaderContainsPredicate"], "Description": "If the message...",
    "Guid": "33333333-3333-4333-8333-333333333333", "WhenChanged": "/Date(1760000000000)/", "RuleVersion": {"Major": 14},
}  # fmt: skip


def test_import(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([EXPORT, dict(EXPORT) | {"Name": "Second", "Guid": None, "Priority": 1}]))
    dry = cli.ok("rule", "import", str(file), "--dry-run")
    assert "What if: would create rule 'From Exchange'." in dry
    assert cli.json("rule", "list") == []
    made = cli.json("rule", "import", str(file))
    assert [(item["action"], item["rule"]) for item in made] == [("New", "Second"), ("New", "From Exchange")]
    second, first = cli.json("rule", "list")
    assert (first["Name"], first["Priority"], first["Mode"], first["Guid"]) == ("From Exchange", 1, "Audit", EXPORT["Guid"])
    assert (first["HeaderContainsWords"], first["SubjectContainsWords"]) == (["a b, c"], ["x y"])
    assert (first["MessageSizeOver"], second["RouteMessageOutboundConnector"]) == ("5 MB (5,242,880 bytes)", "Gate")
    assert "there is a rule of this name already. Give --replace" in cli.refused("rule", "import", str(file))
    own = tmp_path / "own.json"
    own.write_text(json.dumps(cli.json("rule", "list")))
    assert [item["changes"] for item in cli.json("rule", "import", str(own), "--replace")] == [[], []], (
        "what was listed comes back"
    )
    assert [item["RuleVersion"] for item in cli.json("rule", "list")] == [1, 1]
    own.write_text(json.dumps(dict(EXPORT) | {"StopRuleProcessing": True}))
    assert cli.json("rule", "import", str(own), "--replace")[0]["changes"] == [
        {"parameter": "StopRuleProcessing", "before": False, "after": True}
    ]
    taken = dict(EXPORT) | {"Name": "Third"}
    own.write_text(json.dumps(taken))
    assert cli.json("rule", "import", str(own))[0]["guid"] != EXPORT["Guid"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SentTo": ["a@example.org"]}, "SentTo: Sealroute rules do not have it. Make the rule without it, if"),
        ({"ExceptIfFromMemberOf": "x"}, "ExceptIfFromMemberOf: Sealroute rules do not have it."),
        ({"ApplyOME": True}, "ApplyOME: Sealroute rules do not have it."),
        ({"ExpiryDate": "2026-01-01"}, "ExpiryDate: Sealroute rules do not have it."),
        ({"Mode": 2}, "Mode: 2 is of the wrong type."),
        ({"HeaderContainsWords": {"a": 1}}, "it is an object of a shape that is not known"),
        ({"Name": None}, "Name: the record has none."),
        ({"SubjectMatchesPatterns": ["("]}, "SubjectMatchesPatterns: '(' is not a pattern"),
        ({"RouteMessageOutboundConnector": "nobody"}, "there is no connector 'nobody'"),
        ({"from": "a@example.org", "From": "b@example.org"}, "is given twice"),
    ],
)  # fmt: skip
def test_a_file_that_says_more_than_we_can_do_is_refused(
    cli: Cli, tmp_path: Path, change: Mapping[str, Any], said: str
) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(dict(EXPORT) | dict(change)))
    assert said in cli.refused("rule", "import", str(file))
    assert cli.json("rule", "list") == []


def test_files_that_are_none(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text("{")
    assert f"{file}: line 1, column 2" in cli.refused("rule", "import", str(file))
    file.write_text("<Objs></Objs>")
    assert str(file) in cli.refused("rule", "import", str(file))
    assert "it cannot be read: No such file" in cli.refused("rule", "import", str(tmp_path / "none.json"))


# ------------------------------------------------------------------------------------------------------------ dry run


def test_on_a_message(cli: Cli, tmp_path: Path) -> None:
    eml = tmp_path / "a.eml"
    eml.write_bytes(b"From: a@example.org\nSubject: geheim\nContent-Type: application/pkcs7-mime\n\nx")
    cli.ok("rule", "new", "Words", "--subject-contains-words", "geheim", "--route-message-outbound-connector", "Gate",
           "--enabled", "false")  # fmt: skip
    cli.ok(
        "rule",
        "new",
        "Files",
        "--attachment-extension-matches-words",
        "pdf",
        "--smtp-dane-mode",
        "mandatory",
        "--mode",
        "audit",
    )
    message = ("--message", str(eml), "--from", "a@example.org", "--to", "b@contoso.com")
    out = cli.ok("rule", "test", "Words", "Files", *message)
    assert out == (
        "The message\n"
        "  a@example.org → b@contoso.com\n"
        "  (default) (DANE Opportunistic, MTA-STS Opportunistic) → Gate (DANE Mandatory, MTA-STS Opportunistic)\n"
        "  rule 'Words': connector (default) -> Gate\n"
        "  rule 'Files': SmtpDaneMode Opportunistic -> Mandatory (applies because it cannot be told whether the message meets it: "
        "it is encrypted, or in a container that is not opened)\n"
        "1 message tried: 1 would have changed, 0 not. Nothing was changed.\n"
    )
    (enforced,) = cli.json("rule", "test", *message)
    assert (enforced["changes"], enforced["would"]["smtp_dane_mode"]) == (True, "Mandatory"), "all enabled ones, Audit as well"
    assert "--to: it is required with --message" in cli.refused("rule", "test", "--message", str(eml))
    assert "--to: 'x' is not a mail address" in cli.refused("rule", "test", "--message", str(eml), "--to", "x")
    assert "--from, --to: they belong to --message" in cli.refused("rule", "test", "--to", "b@contoso.com")
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"Name": "One", "SubjectContainsWords": ["geheim"], "MtaStsMode": "Mandatory", "Priority": 9}))
    (tried,) = cli.json("rule", "test", "--file", str(file), *message)
    assert tried["rules"][0]["did"] == ["MtaStsMode Opportunistic -> Mandatory"]
    assert "--file: it stands beside names of rules" in cli.refused("rule", "test", "Words", "--file", str(file))
    file.write_text(json.dumps({"Name": "One", "MtaStsMode": "None"}))
    assert "MtaStsMode: None can raise nothing." in cli.refused("rule", "test", "--file", str(file), *message)
    exception = ("exception", "add", "--connector", "(default)", "--domain", "contoso.com", "--until", "1d", "--reason", "x")
    cli.ok(*exception, "--smtp-dane-mode", "reportonly")
    assert cli.json("rule", "test", "Words", *message)[0]["was"]["smtp_dane_mode"] == "ReportOnly"


def test_an_empty_trace(cli: Cli) -> None:
    assert cli.ok("rule", "test") == "0 messages tried: 0 would have changed, 0 not. Nothing was changed.\n"


class FakeTraces:
    """ports.Traces with one message per row, and attempts of some."""

    def __init__(self, attempts: Mapping[str, list[dict[str, Any]]]) -> None:
        self._attempts = attempts

    def search(self, query: TraceQuery) -> list[TraceRow]:
        raise NotImplementedError

    def events(self, message_trace_id: str, recipient: str | None = None) -> list[TraceEvent]:
        raise NotImplementedError

    def attempts(self, message_trace_id: str, recipient: str | None = None) -> list[dict[str, Any]]:
        return self._attempts.get(message_trace_id, [])


def row(identity: str, recipient: str = "b@contoso.com", subject: str = "geheim") -> TraceRow:
    return TraceRow(identity, f"<{identity}>", NOW, "a@example.org", recipient, subject, "Delivered", 5000, "", "")


def test_on_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    strict = Connector(guid=guid(5), name="Strict", recipient_domains=("fabrikam.com",), smtp_dane_mode=SmtpDaneMode.MANDATORY)
    rules = [
        rule(2, name="Label", when=Conditions(header_contains_message_header="msip_labels", header_contains_words=("x",)),
             smtp_dane_mode=None, mta_sts_mode=MtaStsMode.MANDATORY, state=RuleState.DISABLED),
        rule(1, name="Words", when=Conditions(subject_contains_words=("geheim",)), mode=RuleMode.AUDIT),
        rule(3, name="From", when=Conditions(from_=("c@example.org",)), unless=Conditions(from_=("a@example.org",))),
    ]  # fmt: skip
    trials = Trials(rules, Around([strict], default_connector()))
    went = {"connector_name": "(default)", "smtp_dane_mode": "Mandatory", "mta_sts_mode": "Opportunistic"}
    traces = FakeTraces({"2": [{}, went]})
    rows = [row("1"), row("2"), row("3", "b@fabrikam.com"), row("4", subject="hello"), row("5", "nobody")]
    found = [trial for item in rows if (trial := trials.traced(item, traces)) is not None]
    assert [(trial.changes, trial.would.connector, trial.would.smtp_dane_mode) for trial in found] == [
        (True, "(default)", "Mandatory"), (False, "(default)", "Mandatory"), (False, "Strict", "Mandatory"),
        (False, "(default)", "Opportunistic"),
    ]  # fmt: skip
    assert [item.rule for item in found[0].untold] == ["Label", "From"]
    assert found[0].untold[1].conditions == ("From", "ExceptIfFrom")
    assert found[0].would_if_met is not None
    assert found[0].would_if_met.mta_sts_mode == "Mandatory"
    show_trials(found, everything=False)
    shown = capsys.readouterr().out
    assert shown.splitlines()[:8] == [
        "2026-11-22 12:00:00Z  1", "  a@example.org → b@contoso.com", "  geheim",
        "  (default) (DANE Opportunistic, MTA-STS Opportunistic) → (default) (DANE Mandatory, MTA-STS Opportunistic)",
        "  rule 'Words': SmtpDaneMode Opportunistic -> Mandatory",
        "  rule 'Label': cannot be told from the trace (HeaderContainsWords: the trace does not keep it)",
        "  rule 'From': cannot be told from the trace (From, ExceptIfFrom: the trace does not keep it)",
        "  if met: (default) (DANE Mandatory, MTA-STS Mandatory)",
    ]  # fmt: skip
    assert shown.endswith("4 messages tried: 1 would have changed, 0 not; of 3 it cannot be told. Nothing was changed.\n")
    assert trial_record(found[0])["messageTraceId"] == "1"
    sure = [trial for item in rows[:4] if (trial := Trials(rules[1:2], Around([], default_connector())).traced(item, traces))]
    show_trials(sure, everything=False)
    assert "hello" not in capsys.readouterr().out
    show_trials(sure, everything=True)
    assert "hello\n  (default) (DANE Opportunistic, MTA-STS Opportunistic), as before\n" in capsys.readouterr().out


# -------------------------------------------------------------------------------------------------------- in the gateway


def message(number: int, *recipients: str, content: bytes = b"From: a@example.org\r\n\r\ngeheim\r\n") -> Message:
    envelope = Envelope("a@example.org", tuple(map(Recipient, recipients)))
    return Message(id=str(number), organization="default", envelope=envelope, content=content, received_at=NOW)


def test_what_is_made_is_made_once_and_goes_with_the_set() -> None:
    own, rules = default_connector(), (rule(0, when=Conditions(subject_or_body_contains_words=("geheim",))),)
    force, connectors = RulesInForce(), (GATE,)
    first = force(message(1, "b@contoso.com"), "contoso.com", own, rules, connectors)
    assert first.smtp_dane_mode is SmtpDaneMode.MANDATORY
    assert force(message(2, "c@contoso.com"), "contoso.com", own, rules, connectors) is first
    plain = message(3, "c@contoso.com", content=b"From: a@example.org\r\n\r\nhello")
    assert force(plain, "contoso.com", own, rules, connectors) is own
    other = (replace(rules[0], version=2),)
    assert force(message(4, "c@contoso.com"), "contoso.com", own, other, connectors).rule_effects[0].version == 2
    for number in range(MAX_MADE + 1):
        force(message(5, "c@contoso.com"), "contoso.com", replace(own, comment=str(number)), other, connectors)
    gone = (rule(0, route_message_outbound_connector=GATE.guid),)
    with pytest.raises(OperatorError, match=r"routes through connector .*, which cannot be used"):
        force(message(6, "c@contoso.com"), "contoso.com", own, gone, (replace(GATE, enabled=False),))


def test_a_message_to_many_is_looked_at_once_and_its_content_let_go() -> None:
    asked = Conditions(subject_or_body_contains_words=("geheim",))
    rules = (
        rule(0, when=replace(asked, recipient_domain_is=("contoso.com",))),
        rule(1, when=asked, smtp_dane_mode=None, mta_sts_mode=MtaStsMode.MANDATORY),
    )
    force, own = RulesInForce(), default_connector()
    many = [message(number, "b@contoso.com", "c@fabrikam.com") for number in range(MAX_MESSAGES + 2)]
    for item in many:
        for domain, dane in (("contoso.com", SmtpDaneMode.MANDATORY), ("fabrikam.com", SmtpDaneMode.OPPORTUNISTIC)):
            made = force(item, domain, own, rules, ())
            assert (made.smtp_dane_mode, made.mta_sts_mode) == (dane, MtaStsMode.MANDATORY)
    kept = force._sets["default"].seen
    assert len(kept) == MAX_MESSAGES
    assert all(facts._content == b"" for facts, _ in kept.values())


# ------------------------------------------------------------------------------------------------------------- the table


def test_every_parameter_has_a_place_and_every_condition_an_exception() -> None:
    conditions = {item.name for item in TABLE if item.condition and not item.name.startswith("ExceptIf")}
    assert {f"ExceptIf{name}" for name in conditions} == {item.name for item in TABLE if item.name.startswith("ExceptIf")}
    for parameter in TABLE:
        assert parameter.value(EVERYTHING) == value_of(EVERYTHING, parameter.field)
    assert BY_NAME["from"].option == "from"
    assert BY_NAME["exceptiffrom"].option == "except-if-from"
    assert BY_NAME["mode"].default is RuleMode.ENFORCE
    assert BY_NAME["name"].default is None
    assert BY_NAME["subjectcontainswords"].default is None


def test_json_gives_back_what_was_written() -> None:
    assert rule_from_json(rule_to_json(EVERYTHING)) == EVERYTHING
    record = to_record(EVERYTHING, {GATE.guid: "Gate"})
    assert record["RouteMessageOutboundConnector"] == "Gate"
    assert to_record(EVERYTHING, {})["RouteMessageOutboundConnector"] == GATE.guid
    for text, said in (("[]", "not a JSON object"), ("{", "not JSON"), ('{"Name":"a"}', "Guid: the record has none")):
        with pytest.raises(OperatorError, match=said):
            rule_from_json(text)
    with pytest.raises(OperatorError, match="Enabled: it is given twice"):
        read_record({"Name": "a", "Guid": "b", "State": "Enabled", "Enabled": "true"})
    with pytest.raises(OperatorError, match="Priority: 'x' is not a whole number"):
        read_record({"Name": "a", "Guid": "b", "Priority": "x"})


@pytest.mark.parametrize(
    ("text", "octets", "shown"),
    [
        ("0", 0, "0 B (0 bytes)"), ("1023", 1023, "1023 B (1,023 bytes)"), ("1KB", 1024, "1 KB (1,024 bytes)"),
        ("1.5 MB", 1572864, "1.5 MB (1,572,864 bytes)"), ("2gb", 1 << 31, "2 GB (2,147,483,648 bytes)"),
        ("10 MB (10,485,761 bytes)", 10485761, "10485761 B (10,485,761 bytes)"), ("7 B", 7, "7 B (7 bytes)"),
    ],
)  # fmt: skip
def test_sizes(text: str, octets: int, shown: str) -> None:
    assert kinds.parse_size(text) == octets
    assert kinds.show_size(octets) == shown
    assert kinds.parse_size(shown) == octets


def test_small_kinds() -> None:
    assert kinds.parse_extension("*.PDF") == "pdf"
    assert kinds.parse_field_name(" X-Class: ") == "X-Class"
    assert kinds.ENABLED.from_json("true") is RuleState.ENABLED
    assert kinds.ENABLED.to_json(RuleState.DISABLED) is False
    with pytest.raises(InputError):
        kinds.parse_word("  ")


def test_too_many_rules() -> None:
    others = [rule(number) for number in range(MAX_RULES)]
    (problem,) = check(rule(999, name="New"), others, None).problems[:1]
    assert problem.what == f"there are {MAX_RULES} rules already."
    assert all(sentence.endswith((".", "messages.")) for sentence in SENTENCES)


def test_a_rule_on_a_connector_that_demands_a_name() -> None:
    target = Connector(
        guid=GATE.guid,
        name="Gate",
        is_transport_rule_scoped=True,
        tls_settings=TlsSettings.DOMAIN_VALIDATION,
        tls_domain="a.test",
    )
    weaker = rule(
        0, allow_weaker=True, comments="x", tls_settings=TlsSettings.ENCRYPTION_ONLY, route_message_outbound_connector=GATE.guid
    )
    assert check(weaker, [], target).problems == ()


def test_the_rule_type_says_what_it_is() -> None:
    assert TransportRule(guid="a", name="b", stop_rule_processing=True).acts is False
