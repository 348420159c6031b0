"""Exchange's exports, as PowerShell writes them, become connectors; what cannot be read is refused whole."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.times import rfc3339
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.modes import ConnectorType, SmtpDaneMode, TlsSettings
from sealroute.proto.exchange.clixml import read_clixml
from sealroute.proto.exchange.csv_export import read_csv
from sealroute.proto.exchange.json_export import read_json
from sealroute.services import import_connectors
from sealroute.services.import_connectors import File, FileFormat
from sealroute.services.importing.model import Imported, Kept
from tests.unit.connector_fakes import NOW, FakeStore

GUID = "6b0d8f0e-1111-4222-8333-000000000001"
RECORD: dict[str, Any] = {
    "Enabled": True, "UseMXRecord": False, "Comment": "pinned since 2019", "ConnectorType": "Partner",
    "ConnectorSource": "AdminUI", "RecipientDomains": ["fabrikam.com", "*.fabrikam.com"], "SmartHosts": ["192.0.2.10"],
    "TlsDomain": "mx.fabrikam.com", "TlsSettings": "DomainValidation", "IsTransportRuleScoped": False,
    "RouteAllMessagesViaOnPremises": False, "CloudServicesMailEnabled": True, "AllAcceptedDomains": False,
    "SenderRewritingEnabled": False, "MtaStsMode": "Opportunistic", "SmtpDaneMode": "None", "TestMode": False,
    "ValidationRecipients": ["bob@fabrikam.com"], "IsValidated": True, "LastValidationTimestamp": "/Date(1700000000000)/",
    "AdminDisplayName": "", "Name": "To Fabrikam", "Identity": "To Fabrikam", "WhenChangedUTC": "2024-05-02T08:00:00Z",
    "WhenCreatedUTC": "2019-02-01T09:10:11.1234567Z", "Guid": GUID, "IsValid": True, "ObjectState": "Unchanged",
}  # fmt: skip
CLIXML = f"""\
<?xml version="1.0"?>
<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><TN RefId="0"><T>Deserialized.
Connector</T></TN><ToString>To Fabrikam</ToString><Props><B N="Enabled">true</B><B N="UseMXRecord">false</B>
<S N="Comment">two_x000A_lines</S><Nil N="AdminDisplayName" /><S N="Name">To Fabrikam</S><G N="Guid">{GUID}</G>
<Obj N="RecipientDomains" RefId="1"><TN RefId="1"><T>System.String[]</T></TN><LST><S>fabrikam.com</S></LST></Obj>
<Obj N="SmartHosts" RefId="2"><TNRef RefId="1" /><LST><S>192.0.2.10</S></LST></Obj><Ref N="ValidationRecipients" RefId="3" />
<Obj N="TlsSettings" RefId="4"><ToString>EncryptionOnly</ToString><I32>1</I32></Obj>
<DT N="WhenCreatedUTC">2019-02-01T09:10:11.1234567Z</DT></Props><MS>
<Obj N="Extra" RefId="3"><LST><S>bob@fabrikam.com</S></LST></Obj></MS></Obj></Objs>
"""
CSV = """\
#TYPE Selected.System.Management.Automation.PSCustomObject
"Name","Enabled","UseMXRecord","RecipientDomains","SmartHosts","TlsSettings","ValidationRecipients"
"To Fabrikam","True","False","{fabrikam.com, *.fabrikam.com}","192.0.2.10 192.0.2.11","EncryptionOnly","System.String[]"
"""


def imported(raw: bytes | str, format_: FileFormat | None = None) -> Imported:
    octets = raw.encode() if isinstance(raw, str) else raw
    return import_connectors.read([File("export", octets, format_)], default_connector())


def only(raw: bytes | str) -> Connector:
    (draft,) = imported(raw).drafts
    return draft.connector


def refused(raw: bytes | str, format_: FileFormat | None = None) -> str:
    with pytest.raises(OperatorError) as caught:
        imported(raw, format_)
    return str(caught.value)


def changed(**values: Any) -> str:
    return json.dumps(RECORD | values)


def test_every_field_of_a_json_record_is_kept() -> None:
    connector = only(json.dumps([RECORD]))
    assert (connector.name, connector.guid, connector.comment) == ("To Fabrikam", GUID, "pinned since 2019")
    assert (connector.connector_type, connector.connector_source) == (ConnectorType.PARTNER, "AdminUI")
    assert connector.recipient_domains == ("fabrikam.com", "*.fabrikam.com")
    assert (connector.smart_hosts, connector.use_mx_record) == (("192.0.2.10",), False)
    assert (connector.tls_settings, connector.tls_domain) == (TlsSettings.DOMAIN_VALIDATION, "mx.fabrikam.com")
    assert connector.smtp_dane_mode is SmtpDaneMode.NONE
    assert (connector.validation_recipients, connector.is_validated) == (("bob@fabrikam.com",), True)
    assert connector.cloud_services_mail_enabled
    assert connector.last_validation_timestamp is not None
    assert rfc3339(connector.last_validation_timestamp) == "2023-11-14T22:13:20Z"
    assert connector.when_created is not None
    assert rfc3339(connector.when_created) == "2019-02-01T09:10:11.123456Z"


def test_what_has_no_place_is_named() -> None:
    (note,) = imported(json.dumps(RECORD)).notes
    assert (note.kept, note.where) == (Kept.LOST, "object 1: To Fabrikam")
    assert "ObjectState" in note.what


@pytest.mark.parametrize(
    ("values", "field", "value"),
    [
        ({"TlsSettings": {"value": 3, "Value": "DomainValidation"}}, "tls_settings", TlsSettings.DOMAIN_VALIDATION),
        ({"RecipientDomains": {"value": ["fabrikam.com"], "Count": 1}}, "recipient_domains", ("fabrikam.com",)),
        ({"RecipientDomains": "fabrikam.com"}, "recipient_domains", ("fabrikam.com",)),
        ({"SmartHosts": [{"Address": "mx.fabrikam.com", "IsIPAddress": False}]}, "smart_hosts", ("mx.fabrikam.com",)),
        ({"Guid": {"Guid": GUID.upper()}}, "guid", GUID),
        ({"TestMode": None}, "test_mode", False),
        ({"Comment": None}, "comment", ""),
    ],
)
def test_shapes_that_powershell_writes(values: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(only(changed(**values)), field) == value


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"TlsSettings": 3}, "object 1: TlsSettings: 3 is a bare number; its meaning is not guessed"),
        ({"SmtpDaneMode": "Always"}, "object 1: SmtpDaneMode: 'Always' is not one of its values"),
        ({"RecipientDomains": "System.String[]"}, "wrote the list's type in place of its items"),
        ({"RecipientDomains": "{a.example, b.example...}"}, "was cut short"),
        ({"Guid": "nonsense"}, "'nonsense' is not a GUID"),
        ({"WhenCreatedUTC": "yesterday"}, "WhenCreatedUTC: 'yesterday' is not a date and time"),
        ({"Name": ["a"]}, "Name: it is a list where one value belongs"),
        ({"Comment": "\ud800"}, "half of one"),
        ({"Name": None}, "Name: the record has none"),
    ],
)
def test_what_cannot_be_read_is_told_with_object_and_property(values: dict[str, Any], said: str) -> None:
    assert said in refused(changed(**values))


def test_clixml_is_read_like_json() -> None:
    connector = only(CLIXML)
    assert (connector.name, connector.guid, connector.comment) == ("To Fabrikam", GUID, "two\nlines")
    assert (connector.recipient_domains, connector.smart_hosts) == (("fabrikam.com",), ("192.0.2.10",))
    assert connector.validation_recipients == ("bob@fabrikam.com",)
    assert (connector.tls_settings, connector.use_mx_record) == (TlsSettings.ENCRYPTION_ONLY, False)
    wide = CLIXML.replace('version="1.0"', 'version="1.0" encoding="utf-16"').encode("utf-16")
    assert only(wide) == connector


def test_xml_with_a_document_type_is_refused_before_its_entities_mean_anything() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><Objs>&c;</Objs>'
    assert "document type declaration" in refused(bomb)
    assert "nested more than" in refused("<Objs>" + "<Obj>" * 100)
    loop = '<Objs><Obj RefId="1"><Props><Ref N="Name" RefId="2"/><Obj N="X" RefId="2"><LST><Ref RefId="2"/></LST></Obj></Props></Obj></Objs>'
    assert "round in a circle" in refused(loop)


def test_csv_lists_are_split_and_lost_ones_told() -> None:
    found = imported(CSV)
    connector = found.drafts[0].connector
    assert connector.recipient_domains == ("fabrikam.com", "*.fabrikam.com")
    assert connector.smart_hosts == ("192.0.2.10", "192.0.2.11")
    assert [(note.kept, note.where) for note in found.notes] == [
        (Kept.LOST, "row 1: To Fabrikam: ValidationRecipients"),
        (Kept.EXACT, "row 1: To Fabrikam"),
    ]
    assert "row 1: SmartHosts" in refused(CSV.replace("192.0.2.10 192.0.2.11", "System.String[]"))
    assert "row 2 has 1 values" in refused(CSV + '"odd"\n')


def test_an_import_is_all_or_nothing() -> None:
    store = FakeStore()
    good, bad = RECORD, RECORD | {"Name": "Broken", "Guid": GUID[:-1] + "2", "SmartHosts": []}
    with pytest.raises(OperatorError, match="object 2: Broken: SmartHosts"):
        import_connectors.plan(store, imported(json.dumps([good, bad])), NOW)
    assert store.all("default") == []
    plan = import_connectors.plan(store, imported(json.dumps([good])), NOW)
    assert any(note.kept is Kept.INERT and "CloudServicesMailEnabled" in note.where for note in plan.notes)
    import_connectors.save(store, plan, "alice")
    assert [(item.actor, item.action) for item in store.changes("default")] == [("alice", "New")]
    with pytest.raises(OperatorError, match="already"):
        import_connectors.plan(store, imported(json.dumps([good])), NOW)
    again = import_connectors.plan(store, imported(changed(Comment="new")), NOW, replacing=True)
    assert [(before.comment, after.comment) for before, after in again.replaced] == [("pinned since 2019", "new")]
    with pytest.raises(OperatorError, match="twice"):
        import_connectors.plan(FakeStore(), imported(json.dumps([good, good])), NOW)


_SEEDS = [json.dumps(RECORD).encode(), CLIXML.encode(), CSV.encode(), CLIXML.encode("utf-16"), b"<Objs><Obj/></Objs>", b"[]"]


@given(st.data())
def test_any_octets_are_records_or_an_input_error(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.one_of(st.sampled_from(_SEEDS), st.binary(max_size=80))))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(octets)))
        octets[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=6))
    for reader in (read_json, read_clixml, read_csv):
        with contextlib.suppress(InputError):
            assert reader(bytes(octets))
    for format_ in (None, *FileFormat):
        with contextlib.suppress(OperatorError):
            assert isinstance(imported(bytes(octets), format_), Imported)
