"""The table of connector parameters: reading values, the JSON form, the save-time rules, and the page made from them."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.base.errors import InputError, OperatorError
from sealroute.policy import parameter_kinds as kinds
from sealroute.policy.connector import MAX_EXPIRATION, Connector
from sealroute.policy.connector_docs import connectors_markdown
from sealroute.policy.connector_json import connector_from_json, connector_to_json, from_record, read_record, to_record
from sealroute.policy.connector_rules import MAX_BLOCK_ADDRESSES, RULES, check
from sealroute.policy.modes import ConnectorType, MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.parameters import BY_FIELD, TABLE, Given, ListEdit, Verb, accepted_by, parse_given
from tests.unit.connector_fakes import NOW, guid

ROOT = Path(__file__).parents[2]
GOOD = Connector(guid=guid(1), name="Contoso Bank", recipient_domains=("contoso.com", "*.contoso.com"), when_created=NOW)
SMART = replace(GOOD, use_mx_record=False, smart_hosts=("mx.contoso.com",))
MINUTES, HOURS, DAYS = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def read(name: str, value: Given, verb: Verb = Verb.SET, current: Connector | None = GOOD) -> Any:
    """The value, or the sentences an administrator reads."""
    parsed = parse_given({name: value}, verb, current)
    if parsed.problems:
        return [str(problem) for problem in parsed.problems]
    return parsed.values[BY_FIELD[next(iter(parsed.values))].field]


VALUES: list[tuple[str, Given, Any]] = [
    ("Enabled", "$TRUE", True),
    ("enabled", "0", False),
    ("Enabled", "false", False),
    ("Enabled", "1", True),
    ("SmtpDaneMode", "mandatory", SmtpDaneMode.MANDATORY),
    ("MtaStsMode", "REPORTONLY", MtaStsMode.REPORT_ONLY),
    ("MtaStsMode", "None", MtaStsMode.NONE),
    ("TlsSettings", "domainvalidation", TlsSettings.DOMAIN_VALIDATION),
    ("TlsSettings", "$null", None),
    ("TlsSettings", "", None),
    ("TlsDomain", "*.Contoso.COM.", "*.contoso.com"),
    ("TlsDomain", "$Null", None),
    ("ConnectorType", "onpremises", ConnectorType.ON_PREMISES),
    ("Comment", " two, words ", " two, words "),
    ("Comment", "$null", ""),
    ("Name", "  Fabrikam ", "Fabrikam"),
    ("RecipientDomains", "Contoso.com, *.bücher.example,*", ("contoso.com", "*.xn--bcher-kva.example", "*")),
    ("RecipientDomains", "@('a.example',\"b.example\")", ("a.example", "b.example")),
    ("RecipientDomains", "a.example,A.EXAMPLE", ("a.example",)),
    ("RecipientDomains", ["a.example", "b.example"], ("a.example", "b.example")),
    ("RecipientDomains", "$null", ()),
    ("RecipientDomains", "@{Add='x.example','y.example';Remove=contoso.com}", ("*.contoso.com", "x.example", "y.example")),
    ("RecipientDomains", "@{ remove = *.contoso.com; }", ("contoso.com",)),
    ("RecipientDomains", ListEdit(add=("contoso.com",)), ("contoso.com", "*.contoso.com")),
    ("SmartHosts", "MX.contoso.com,[mx2.contoso.com]", ("mx.contoso.com", "[mx2.contoso.com]")),
    ("SmartHosts", "192.0.2.1,[192.0.2.2],2001:DB8::1", ("192.0.2.1", "192.0.2.2", "2001:db8::1")),
    ("SmartHosts", "[IPv6:2001:db8::2],192.0.2.0/28,2001:db8::/120", ("2001:db8::2", "192.0.2.0/28", "2001:db8::/120")),
    ("ValidationRecipients", "Admin@Contoso.com", ("Admin@Contoso.com",)),
    ("LastValidationTimestamp", "2026-01-31T13:00:00+01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("LastValidationTimestamp", "$null", None),
    ("MaxMessagesPerMinute", " 600 ", 600),
    ("MaxMessagesPerMinute", "$null", None),
    ("RetrySchedule", "5s,15m,15m,1h", (timedelta(seconds=5), 15 * MINUTES, 15 * MINUTES, HOURS)),
    ("RetrySchedule", "00:15:00,1h30m,PT2H", (15 * MINUTES, 90 * MINUTES, 2 * HOURS)),
    ("RetrySchedule", "00:00:01.5", (timedelta(seconds=1.5),)),
    ("MessageExpiration", "1.00:00:00", DAYS),
    ("MessageExpiration", "24h", DAYS),
    ("MessageExpiration", "2D", 2 * DAYS),
    ("MessageExpiration", "p1dt12h", 36 * HOURS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "value"), VALUES, ids=[f"{name}={text}" for name, text, _ in VALUES])
def test_values(name: str, text: Given, value: Any) -> None:
    assert read(name, text) == value


_MODES = "Allowed: None, ReportOnly, Opportunistic, Mandatory."
_DOMAINS = "Allowed: contoso.com, *.contoso.com, or * for all domains."
_TIMES = "Allowed: 15m, 1h30m, 2d, 00:15:00, 1.00:00:00 or PT15M."
REFUSED: list[tuple[str, Given, str]] = [
    ("Enabled", "maybe", "Enabled: 'maybe' is neither true nor false. Allowed: true, false, '$true', '$false'."),
    ("Enabled", "", "Enabled: it cannot be empty. Allowed: true, false, '$true', '$false'."),
    ("SmtpDaneMode", "Enforced", f"SmtpDaneMode: 'Enforced' is not one of its values. {_MODES}"),
    ("SmtpDaneMode", "$null", f"SmtpDaneMode: it cannot be empty. {_MODES}"),
    ("SmtpDaneMode", ["None"], f"SmtpDaneMode: it takes one value, not a list. {_MODES}"),
    ("RecipientDomains", "domain.*.contoso.com", "has a * where none may stand: a wildcard is the whole first label"),
    ("RecipientDomains", "*contoso.com", f"as in *.contoso.com. {_DOMAINS}"),
    ("RecipientDomains", "a.example,,b.example", f"RecipientDomains: 'a.example,,b.example' has an empty item. {_DOMAINS}"),
    ("RecipientDomains", "a_b..example", "has an empty label"),
    ("RecipientDomains", "@{Add=}", "has an empty item"),
    ("RecipientDomains", "@{Add='a.example'", "is not an edit of the form @{Add='a','b';Remove='c'}"),
    ("RecipientDomains", "@{}", "is not an edit of the form"),
    ("RecipientDomains", "@{Put=a.example}", "'Put=a.example' is not Add=... or Remove=..., each once"),
    ("RecipientDomains", "@{Add=a.example;Add=b.example}", "'Add=b.example' is not Add=... or Remove=..., each once"),
    ("RecipientDomains", "@{Add}", "'Add' is not Add=... or Remove=..., each once"),
    ("RecipientDomains", "@{Remove=other.example}", "other.example is not in it and cannot be removed"),
    ("TlsDomain", "*", "'*' would accept the certificate of any server"),
    ("SmartHosts", "192.0.2.300", "SmartHosts: '192.0.2.300' looks like an IP address and is none."),
    ("SmartHosts", "mailhost", "SmartHosts: 'mailhost' is not a full name."),
    ("SmartHosts", "mx.contoso.com:25", "has the label 'com:25', which cannot be part of a host name"),
    ("SmartHosts", "192.0.2.1/28", "'192.0.2.1/28' has bits set beyond its prefix; the block is 192.0.2.0/28"),
    ("SmartHosts", "mx.contoso.com/28", "'mx.contoso.com/28' is not a CIDR block"),
    ("ValidationRecipients", "nobody", "'nobody' is not a mail address"),
    ("ValidationRecipients", "a\r\nTo: b@contoso.com", "has a space or a control character"),
    ("ValidationRecipients", "a b@contoso.com", "'a b@contoso.com' has a space or a control character"),
    ("LastValidationTimestamp", "2026-01-31T12:00:00", "has no time zone; write it as 2026-01-31T12:00:00Z"),
    ("MessageExpiration", "24", f"MessageExpiration: '24' is not a length of time. {_TIMES}"),
    ("MessageExpiration", "1.25:00:00", "hours go to 23, minutes and seconds to 59"),
    ("MessageExpiration", "P", "'P' is not a length of time"),
    ("MessageExpiration", "PT", "'PT' is not a length of time"),
    ("MessageExpiration", "h", "'h' is not a length of time"),
    ("MessageExpiration", "1h1d", "'1h1d' is not a length of time"),
    ("MaxMessagesPerMinute", "ten", "MaxMessagesPerMinute: 'ten' is not a whole number."),
    ("MaxMessagesPerMinute", "-1", "MaxMessagesPerMinute: '-1' is not a whole number."),
    ("MaxConnectionsPerDestination", "1234567890", "MaxConnectionsPerDestination: '1234567890' is not a whole number."),
    ("RetrySchedule", "$null", "RetrySchedule: it cannot be empty."),
    ("Guid", guid(2), "Guid: Set-OutboundConnector does not take it."),
    ("Colour", "red", "Colour: there is no such parameter."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "sentence"), REFUSED, ids=[f"{name}={text}" for name, text, _ in REFUSED])
def test_refused_values_say_what_was_given_and_what_is_allowed(name: str, text: Given, sentence: str) -> None:
    problems = read(name, text)
    assert len(problems) == 1
    assert sentence in problems[0]


def test_what_new_and_set_do_not_take() -> None:
    assert read("IsValidated", "true", Verb.NEW) == ["IsValidated: New-OutboundConnector does not take it."]
    assert read("LinkForModifiedConnector", "x") == ["LinkForModifiedConnector: Set-OutboundConnector does not take it."]
    assert read("RecipientDomains", "@{Add=a.example}", Verb.NEW, None) == [
        f"RecipientDomains: there is no list yet to add to or remove from. {_DOMAINS}"
    ]


def test_every_problem_is_named_at_once_and_a_name_given_twice_is_one() -> None:
    parsed = parse_given({"Enabled": "x", "ENABLED": "true", "TlsSettings": "y", "Comment": "z", "comment": ""}, Verb.NEW)
    assert [problem.where for problem in parsed.problems] == ["Enabled", "Enabled", "TlsSettings", "Comment"]
    assert parsed.failed == {"enabled", "tls_settings"}
    assert parsed.values == {"comment": "z"}


# ------------------------------------------------------------------------------------------------------------- the table


def test_the_table_has_every_field_once_and_exchanges_order() -> None:
    assert sorted(parameter.field for parameter in TABLE) == sorted(item.name for item in fields(Connector))
    assert list(to_record(GOOD))[:27] == [
        "Enabled", "UseMXRecord", "Comment", "ConnectorType", "ConnectorSource", "RecipientDomains", "SmartHosts",
        "TlsDomain", "TlsSettings", "IsTransportRuleScoped", "RouteAllMessagesViaOnPremises", "CloudServicesMailEnabled",
        "AllAcceptedDomains", "SenderRewritingEnabled", "MtaStsMode", "SmtpDaneMode", "TestMode", "ValidationRecipients",
        "IsValidated", "LastValidationTimestamp", "AdminDisplayName", "Name", "Identity", "WhenChangedUTC",
        "WhenCreatedUTC", "Guid", "IsValid",
    ]  # fmt: skip
    assert list(to_record(GOOD))[-4:] == [
        "RetrySchedule", "MessageExpiration", "MaxConnectionsPerDestination", "MaxMessagesPerMinute",
    ]  # fmt: skip


def test_defaults_are_the_connectors() -> None:
    assert BY_FIELD["smtp_dane_mode"].default is SmtpDaneMode.OPPORTUNISTIC
    assert BY_FIELD["name"].default is None
    assert BY_FIELD["use_mx_record"].option == "use-mx-record"


def test_rules_read_known_fields_only() -> None:
    assert {field for rule in RULES for field in rule.fields} <= set(BY_FIELD)


def test_the_reference_page_is_the_table() -> None:
    page = ROOT / "docs" / "reference" / "connectors.md"
    assert page.read_text() == connectors_markdown(), (
        "run: python -m sealroute.policy.connector_docs > docs/reference/connectors.md"
    )
    for parameter in accepted_by(Verb.NEW | Verb.SET):
        assert f"`--{parameter.option}`" in page.read_text()


# -------------------------------------------------------------------------------------------------------------- durations


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999)))
def test_a_duration_reads_back_as_it_is_shown(value: timedelta) -> None:
    assert kinds.parse_duration(kinds.show_duration(value)) == value


# ------------------------------------------------------------------------------------------------------------------- JSON

_labels = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
_domains = st.lists(_labels, min_size=2, max_size=4).map(".".join)
_patterns = st.one_of(_domains, _domains.map("*.{}".format), st.just("*"))
_hosts = st.one_of(_domains, _domains.map("[{}]".format), st.ip_addresses().map(str), st.just("192.0.2.0/28"))
_waits = st.timedeltas(min_value=timedelta(seconds=1), max_value=DAYS)
_moments = st.one_of(st.none(), st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
_words = st.text(st.characters(codec="utf-8"), max_size=20)
_connectors = st.builds(
    Connector, guid=st.uuids().map(str), organization=_labels, name=_words.map(str.strip).filter(bool), comment=_words,
    enabled=st.booleans(), use_mx_record=st.booleans(), connector_type=st.sampled_from(ConnectorType),
    connector_source=_words, recipient_domains=st.lists(_patterns, max_size=4).map(tuple),
    smart_hosts=st.lists(_hosts, max_size=4).map(tuple), tls_domain=st.one_of(st.none(), _domains),
    tls_settings=st.one_of(st.none(), st.sampled_from(TlsSettings)), is_transport_rule_scoped=st.booleans(),
    route_all_messages_via_on_premises=st.booleans(), cloud_services_mail_enabled=st.booleans(),
    all_accepted_domains=st.booleans(), sender_rewriting_enabled=st.booleans(), mta_sts_mode=st.sampled_from(MtaStsMode),
    smtp_dane_mode=st.sampled_from(SmtpDaneMode), test_mode=st.booleans(),
    validation_recipients=st.lists(_domains.map("a@{}".format), max_size=2).map(tuple), is_validated=st.booleans(),
    last_validation_timestamp=_moments, admin_display_name=_words, link_for_modified_connector=_words,
    retry_schedule=st.lists(_waits, min_size=1, max_size=5).map(tuple),
    message_expiration=st.timedeltas(min_value=HOURS, max_value=MAX_EXPIRATION), when_changed=_moments,
    max_connections_per_destination=st.one_of(st.none(), st.integers(1, 1000)),
    max_messages_per_minute=st.one_of(st.none(), st.integers(1, 10**6)),
    when_created=_moments, is_valid=st.booleans(),
)  # fmt: skip


@given(_connectors)
@settings(max_examples=60)
def test_json_says_everything(connector: Connector) -> None:
    assert connector_from_json(connector_to_json(connector)) == connector


def test_the_record_has_exact_types() -> None:
    record = to_record(replace(GOOD, tls_settings=TlsSettings.ENCRYPTION_ONLY))
    assert record["Enabled"] is True
    assert record["Identity"] == "Contoso Bank"
    assert record["RecipientDomains"] == ["contoso.com", "*.contoso.com"]
    assert (record["TlsSettings"], record["TlsDomain"]) == ("EncryptionOnly", None)
    assert record["RetrySchedule"] == ["00:15:00", "00:15:00", "01:00:00"]
    assert record["WhenCreatedUTC"] == "2026-03-01T12:00:00Z"


def test_reading_takes_names_in_any_case_defaults_for_what_is_missing_and_names_what_is_unknown() -> None:
    reading = read_record(
        {"NAME": "A", "smtpdanemode": "mandatory", "SmartHosts": "mx.example.com", "Comment": None, "OrgId": 1}, guid="g"
    )
    assert reading.connector == Connector(
        guid="g", name="A", smtp_dane_mode=SmtpDaneMode.MANDATORY, smart_hosts=("mx.example.com",)
    )
    assert reading.unknown == ("OrgId",)


def test_given_fields_replace_the_records() -> None:
    reading = read_record(to_record(GOOD), guid="other", organization="o")
    assert reading.connector == replace(GOOD, guid="other", organization="o")


BAD_RECORDS: list[tuple[str, list[str]]] = [
    ("[]", ["connector record: it is not a JSON object."]),
    ("{", ["connector record: it is not JSON"]),
    ("{}", ["Guid: the record has none.", "Name: the record has none."]),
    ('{"Guid":"g","Name":null}', ["Name: null is not a value here."]),
    (
        '{"Guid":"g","Name":"A","SmtpDaneMode":"Strict","Enabled":"yes"}',
        ["SmtpDaneMode: 'Strict'", "Enabled: 'yes' is neither"],
    ),
    ('{"Guid":"g","Name":"A","SmtpDaneMode":1}', ["SmtpDaneMode: 1 is of the wrong type"]),
    ('{"Guid":"g","Name":"A","Name":"B","name":"C"}', ["Name: it is given twice."]),
    ('{"Guid":"g","Name":"A","Comment":true}', ["Comment: True is of the wrong type"]),
    ('{"Guid":"g","Name":"A","SmtpDaneModus":"Mandatory"}', ["SmtpDaneModus: this version of Sealroute does not know it."]),
]


@pytest.mark.parametrize(("text", "problems"), BAD_RECORDS)
def test_a_stored_record_that_cannot_be_read_in_full_is_refused(text: str, problems: list[str]) -> None:
    with pytest.raises(OperatorError) as caught:
        connector_from_json(text)
    assert len(caught.value.problems) == len(problems)
    for problem, sentence in zip(caught.value.problems, problems, strict=True):
        assert str(problem).startswith(sentence)


def test_from_record_is_the_inverse_on_plain_values() -> None:
    assert from_record(json.loads(json.dumps(to_record(SMART)))) == SMART


def test_scalars_shown() -> None:
    shown = {parameter.name: parameter.show(SMART) for parameter in TABLE}
    assert shown["RecipientDomains"] == "{contoso.com, *.contoso.com}"
    assert (shown["Enabled"], shown["TlsSettings"], shown["MessageExpiration"]) == ("True", "", "1.00:00:00")


# ------------------------------------------------------------------------------------------------------------------ rules


def change(connector: Connector, **values: Any) -> Connector:
    return replace(connector, **values)


REFUSALS: list[tuple[str, Connector, str]] = [
    ("empty name", change(GOOD, name=" "), "Name: it is empty. Give the connector a name."),
    ("long name", change(GOOD, name="x" * 65), "Name: it has 65 characters. At most 64 are allowed."),
    ("control name", change(GOOD, name="a\x07b"), "Name: it has control characters. Use printable characters."),
    ("guid name", change(GOOD, name=guid(7)), f"Name: {guid(7)!r} could be taken for something else."),
    ("default name", change(GOOD, name="(Default)"), "Name: '(Default)' could be taken for something else."),
    ("long comment", change(GOOD, comment="x" * 2049), "Comment: it has 2049 characters. At most 2048 are allowed."),
    ("many", change(GOOD, validation_recipients=("a@b.example",) * 65), "ValidationRecipients: it has 65 entries."),
    ("no scope", change(GOOD, recipient_domains=()), "RecipientDomains: the connector would never be used."),
    ("no hosts", change(GOOD, use_mx_record=False), "SmartHosts: UseMXRecord is false, so there must be at least one."),
    ("hosts", change(SMART, use_mx_record=True), "SmartHosts: they are not used while UseMXRecord is true."),
    ("block", change(SMART, smart_hosts=("192.0.0.0/16",)), "SmartHosts: 192.0.0.0/16 has 65536 addresses. At most 256"),
    ("v6 block", change(SMART, smart_hosts=("2001:db8::/64",)), f"At most {MAX_BLOCK_ADDRESSES} are allowed in one block."),
    ("no TlsDomain", change(GOOD, tls_settings=TlsSettings.DOMAIN_VALIDATION), "TlsDomain: TlsSettings DomainValidation needs"),
    ("TlsDomain", change(GOOD, tls_domain="contoso.com"), "TlsDomain: it is only used with TlsSettings DomainValidation."),
    (
        "TlsDomain, chain only", change(GOOD, tls_domain="contoso.com", tls_settings=TlsSettings.CERTIFICATE_VALIDATION),
        "TlsDomain: it is only used with TlsSettings DomainValidation.",
    ),
    (
        "DANE address", change(SMART, smtp_dane_mode=SmtpDaneMode.MANDATORY, smart_hosts=("mx.contoso.com", "192.0.2.1")),
        "SmtpDaneMode: Mandatory can never hold for the smart host 192.0.2.1: an address has no TLSA records.",
    ),
    (
        "DANE v6", change(SMART, smtp_dane_mode=SmtpDaneMode.MANDATORY, smart_hosts=("2001:db8::1",)),
        "SmtpDaneMode: Mandatory can never hold for the smart host 2001:db8::1",
    ),
    (
        "STS block", change(SMART, mta_sts_mode=MtaStsMode.MANDATORY, smart_hosts=("192.0.2.0/28",)),
        "MtaStsMode: Mandatory can never hold for the smart host 192.0.2.0/28: an address has no policy.",
    ),
    ("on premises", change(GOOD, all_accepted_domains=True), "AllAcceptedDomains: true needs ConnectorType OnPremises."),
    ("empty schedule", change(GOOD, retry_schedule=()), "RetrySchedule: it is empty. Give at least one wait"),
    ("short wait", change(GOOD, retry_schedule=(HOURS, timedelta(0))), "RetrySchedule: a wait of 00:00:00 is out of bounds."),
    ("long wait", change(GOOD, retry_schedule=(25 * HOURS,), message_expiration=2 * DAYS), "1.01:00:00 is out of bounds."),
    ("short life", change(GOOD, message_expiration=59 * MINUTES), "MessageExpiration: 00:59:00 is out of bounds."),
    ("no connection", change(GOOD, max_connections_per_destination=0), "MaxConnectionsPerDestination: 0 is out of bounds."),
    ("connections", change(GOOD, max_connections_per_destination=1001), "Give a number from 1 to 1000, or clear it"),
    ("no message", change(GOOD, max_messages_per_minute=0), "MaxMessagesPerMinute: 0 is out of bounds. Give a number from 1 to"),
    ("messages", change(GOOD, max_messages_per_minute=1_000_001), "MaxMessagesPerMinute: 1000001 is out of bounds."),
    ("long life", change(GOOD, message_expiration=6 * DAYS), "Give a time from 1 hour to 5 days."),
]  # fmt: skip


@pytest.mark.parametrize(("connector", "sentence"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_refusals(connector: Connector, sentence: str) -> None:
    found = [str(problem) for problem in check(connector).problems]
    assert len(found) == 1
    assert sentence in found[0]


ALLOWED: list[tuple[str, Connector]] = [
    ("plain", GOOD),
    ("limits", change(GOOD, max_connections_per_destination=1, max_messages_per_minute=1)),
    ("high limits", change(GOOD, max_connections_per_destination=1000, max_messages_per_minute=1_000_000)),
    ("smart host", SMART),
    ("smart host addresses", change(SMART, smart_hosts=("192.0.2.1", "192.0.2.0/24", "2001:db8::/120"))),
    ("Mandatory, named host", change(SMART, smtp_dane_mode=SmtpDaneMode.MANDATORY, mta_sts_mode=MtaStsMode.MANDATORY)),
    ("Mandatory, name's addresses", change(SMART, smtp_dane_mode=SmtpDaneMode.MANDATORY, smart_hosts=("[mx.contoso.com]",))),
    ("Mandatory by MX", change(GOOD, smtp_dane_mode=SmtpDaneMode.MANDATORY)),
    ("domain validation", change(GOOD, tls_settings=TlsSettings.DOMAIN_VALIDATION, tls_domain="*.contoso.com")),
    ("accepted", change(GOOD, recipient_domains=(), all_accepted_domains=True, connector_type=ConnectorType.ON_PREMISES)),
    ("seconds", change(GOOD, retry_schedule=(timedelta(seconds=1), DAYS), message_expiration=5 * DAYS)),
    ("64 characters", change(GOOD, name="x" * 64)),
]


@pytest.mark.parametrize("connector", [case[1] for case in ALLOWED], ids=[case[0] for case in ALLOWED])
def test_allowed_without_a_word(connector: Connector) -> None:
    assert check(connector, [connector]) == check(GOOD)
    assert check(connector) == check(connector, [])
    assert not check(connector).problems
    assert not check(connector).warnings


_SILENT = change(GOOD, smtp_dane_mode=SmtpDaneMode.NONE, mta_sts_mode=MtaStsMode.REPORT_ONLY)
WARNINGS: list[tuple[str, Connector, str]] = [
    ("rule", change(GOOD, is_transport_rule_scoped=True), "IsTransportRuleScoped: the connector is never chosen by domain."),
    ("rule only", change(GOOD, is_transport_rule_scoped=True, recipient_domains=()), "Only a rule can send mail through it."),
    ("plain", _SILENT, "TlsSettings: nothing on this connector demands TLS. Mail may travel in plaintext"),
    (
        "one try",
        change(GOOD, retry_schedule=(HOURS,), message_expiration=HOURS),
        "Held mail is returned without a second attempt.",
    ),
    (
        "kept",
        change(GOOD, cloud_services_mail_enabled=True),
        "CloudServicesMailEnabled: it is kept, but Sealroute does not act on it.",
    ),
    (
        "disabled", change(GOOD, enabled=False, smtp_dane_mode=SmtpDaneMode.MANDATORY, mta_sts_mode=MtaStsMode.MANDATORY),
        "Enabled: mail for its domains goes by another connector or the default, "
        "without its SmtpDaneMode Mandatory, MtaStsMode Mandatory.",
    ),
    ("test mode", change(GOOD, test_mode=True, tls_settings=TlsSettings.ENCRYPTION_ONLY), "without its TlsSettings EncryptionOnly."),
]  # fmt: skip


@pytest.mark.parametrize(("connector", "sentence"), [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS])
def test_warnings_do_not_refuse(connector: Connector, sentence: str) -> None:
    findings = check(connector)
    assert not findings.problems
    assert [sentence in str(warning) for warning in findings.warnings] == [True]


def test_the_silent_connector_is_quiet_once_something_demands_tls() -> None:
    assert not check(change(_SILENT, tls_settings=TlsSettings.ENCRYPTION_ONLY)).warnings
    assert not check(change(_SILENT, mta_sts_mode=MtaStsMode.OPPORTUNISTIC)).warnings
    assert not check(change(GOOD, enabled=False)).warnings


OTHER = change(GOOD, guid=guid(2), name="Other")
SHARED = "is in connector 'Other' as well. Only the older of the two is used for it."


def test_a_name_is_taken_in_any_case_but_not_by_the_connector_itself() -> None:
    taken = check(change(GOOD, name="OTHER", recipient_domains=("x.example",)), [GOOD, OTHER])
    assert [str(problem) for problem in taken.problems] == [
        "Name: there is already a connector 'OTHER'. Names are compared without case."
    ]
    assert not check(change(GOOD, recipient_domains=("x.example",)), [GOOD, OTHER]).problems


@pytest.mark.parametrize(
    ("connector", "other", "warnings"),
    [
        (GOOD, OTHER, [f"RecipientDomains: *.contoso.com and 1 more {SHARED}"]),
        (change(GOOD, recipient_domains=("contoso.com",)), OTHER, [f"RecipientDomains: contoso.com {SHARED}"]),
        (GOOD, change(OTHER, enabled=False), []),
        (GOOD, change(OTHER, recipient_domains=("x.example",)), []),
        (change(GOOD, test_mode=True), OTHER, []),
    ],
)  # fmt: skip
def test_a_domain_in_two_connectors_is_warned_about(connector: Connector, other: Connector, warnings: list[str]) -> None:
    assert [str(warning) for warning in check(connector, [other]).warnings] == warnings


def test_rules_about_a_value_that_could_not_be_read_are_left_out() -> None:
    broken = change(GOOD, name="", use_mx_record=False, recipient_domains=())
    everything = check(broken, [OTHER])
    assert [problem.where for problem in everything.problems] == ["Name", "RecipientDomains", "SmartHosts"]
    assert not check(broken, [OTHER], unread={"name", "smart_hosts", "recipient_domains"}).problems


@given(st.text(max_size=30))
def test_parsers_answer_or_raise_input_error(text: str) -> None:
    """No text makes a parser raise anything but InputError."""
    for parameter in TABLE:
        with suppress(InputError):
            parameter.kind.parse(text)
