"""Postfix's tables become connectors that are never weaker; what cannot be expressed is told."""

from __future__ import annotations

from typing import Any

import pytest

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.services import import_connectors
from sealroute.services.import_connectors import File, FileFormat
from sealroute.services.importing.model import Imported, Kept


def read(policies: str = "", transports: str = "") -> Imported:
    files = [File("tls_policy", policies.encode(), FileFormat.TLS_POLICY)] if policies else []
    files += [File("transport", transports.encode(), FileFormat.TRANSPORT)] if transports else []
    return import_connectors.read(files, default_connector())


def only(policies: str = "", transports: str = "") -> Connector:
    (draft,) = read(policies, transports).drafts
    return draft.connector


@pytest.mark.parametrize(
    ("level", "dane", "tls"),
    [
        ("may", SmtpDaneMode.REPORT_ONLY, None),
        ("encrypt", SmtpDaneMode.REPORT_ONLY, TlsSettings.ENCRYPTION_ONLY),
        ("dane", SmtpDaneMode.OPPORTUNISTIC, None),
        ("dane-only", SmtpDaneMode.MANDATORY, None),
    ],
)
def test_levels(level: str, dane: SmtpDaneMode, tls: TlsSettings | None) -> None:
    connector = only(f"# partners\nFabrikam.com\t{level}\n")
    assert connector.recipient_domains == ("fabrikam.com",)
    assert (connector.smtp_dane_mode, connector.mta_sts_mode) == (dane, MtaStsMode.REPORT_ONLY)
    assert (connector.tls_settings, connector.use_mx_record) == (tls, True)


@pytest.mark.parametrize(
    ("policies", "transports", "tls_domain"),
    [
        ("fabrikam.com secure", "", "*.fabrikam.com"),
        ("fabrikam.com secure match=mx.fabrikam.com", "", "mx.fabrikam.com"),
        ("fabrikam.com secure match=.mail.fabrikam.com", "", "*.mail.fabrikam.com"),
        ("[mx.fabrikam.com] verify", "fabrikam.com smtp:[mx.fabrikam.com]", "mx.fabrikam.com"),
        ("[mx.fabrikam.com] secure", "fabrikam.com relay:[mx.fabrikam.com]:25", "mx.fabrikam.com"),
    ],
)
def test_the_name_in_the_certificate(policies: str, transports: str, tls_domain: str) -> None:
    connector = only(policies, transports)
    assert (connector.tls_settings, connector.tls_domain) == (TlsSettings.DOMAIN_VALIDATION, tls_domain)


@pytest.mark.parametrize(
    ("policies", "transports", "said"),
    [
        ("fabrikam.com fingerprint match=3D:95|EC:19", "", "cannot be pinned by its fingerprint"),
        ("fabrikam.com verify", "", "the MX host's own"),
        ("fabrikam.com secure tafile=/etc/ca.pem", "", "tafile limits whom to trust"),
        ("[mx.fabrikam.com]:587 encrypt", "", "no transport leads to"),
        ("", "fabrikam.com smtp:[mx.fabrikam.com]:587", "a port of its own"),
        ("", "fabrikam.com discard:", "discard: is not SMTP"),
        ("", "fabrikam.com error:5.1.2 no mail, please", "error: is not SMTP"),
        ("", "bob@fabrikam.com smtp:[mx.fabrikam.com]", "by domain, not by user"),
        ("[a.example] encrypt", "fabrikam.com smtp:[a.example], [b.example]", "different TLS policies"),
    ],
)
def test_nothing_weaker_is_made(policies: str, transports: str, said: str) -> None:
    found = read(policies, transports)
    assert found.drafts == ()
    (note,) = [note for note in found.notes if said in note.what]
    assert note.kept is Kept.LOST
    assert note.what.startswith("no connector is made: ")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("* smtp:[192.0.2.1]", {"recipient_domains": ("*",), "smart_hosts": ("192.0.2.1",), "use_mx_record": False}),
        (".fabrikam.com relay:hub.example", {"recipient_domains": ("*.fabrikam.com",), "smart_hosts": ("hub.example",)}),
        ("fabrikam.com :", {"smart_hosts": (), "use_mx_record": True}),
        ("fabrikam.com smtp:[ipv6:2001:db8::1],\n  [mx.example]", {"smart_hosts": ("2001:db8::1", "[mx.example]")}),
    ],
)
def test_transports(line: str, values: dict[str, Any]) -> None:
    connector = only("", line)
    assert {field: getattr(connector, field) for field in values} == values


def test_a_policy_of_the_domain_is_not_that_of_its_next_hop() -> None:
    found = read("fabrikam.com dane-only", "fabrikam.com smtp:[mx.example]")
    (draft,) = found.drafts
    assert draft.connector.smtp_dane_mode is SmtpDaneMode.OPPORTUNISTIC
    assert any("Postfix did not use it either" in note.what for note in found.notes)


def test_attributes_without_counterpart_are_told() -> None:
    found = read("fabrikam.com encrypt protocols=>=TLSv1.2 ciphers=high")
    assert [note.what.split()[0] for note in found.notes] == ["protocols", "ciphers"]


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ("a.example encrypt\na.example may\n", "line 2: 'a.example' is on line 1 already"),
        ("a.example sometimes", "line 1: 'sometimes' is not a TLS security level"),
        ("a.example", "line 1: 'a.example' has no value"),
        ("  a.example may", "line 1: it continues a line"),
        ("/^a/ may", "line 1: '/^a/' is a pattern"),
        ("a.example encrypt high", "line 1: 'high' is not name=value"),
    ],
)
def test_problems_name_file_and_line(policies: str, said: str) -> None:
    with pytest.raises(OperatorError) as caught:
        read(policies)
    assert f"tls_policy: {said}" in str(caught.value)


def test_files_are_told_apart() -> None:
    assert import_connectors.format_of(b"# x\n[mx.example]:25 encrypt\n") is FileFormat.TLS_POLICY
    assert import_connectors.format_of(b"a.example smtp:[b.example]\n") is FileFormat.TRANSPORT
