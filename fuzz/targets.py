"""One function for each parser that eats a peer's octets; its docstring is the invariant, in one sentence.

Each takes arbitrary octets and raises (AssertionError or anything) when the invariant breaks.  `make fuzz` drives them by
coverage, tests/unit/test_fuzz_targets.py with random and mutated input.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from fuzz import material
from sealroute.base import der, names
from sealroute.base.certnames import match_name, permits_name
from sealroute.base.certs import Certificate
from sealroute.base.chain import verify_pkix
from sealroute.base.dnsdata import Tlsa
from sealroute.base.errors import InputError, OperatorError, PeerError
from sealroute.base.mail import Envelope, Origin, Recipient
from sealroute.base.pem import read_pem, write_pem
from sealroute.base.status import Enhanced, Reply
from sealroute.net import dnswire
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.connector_json import connector_from_json, connector_to_json
from sealroute.ports import ConnectorStore
from sealroute.proto.dane.records import classify, parse
from sealroute.proto.dane.verify import DaneVerdict, verify
from sealroute.proto.dsn import parse as dsn
from sealroute.proto.mime import content, head, params
from sealroute.proto.mtasts.match import match
from sealroute.proto.mtasts.policy import MAX_AGE_SECONDS, PolicyInvalid, StsMode, parse_policy
from sealroute.proto.mtasts.txt import TxtStatus
from sealroute.proto.mtasts.txt import parse_txt as parse_sts_txt
from sealroute.proto.smtp import grammar, headers, replies, sasl
from sealroute.proto.smtp.capabilities import parse_capabilities
from sealroute.proto.smtp.commands import Mail, Offered, parse_mail, parse_rcpt
from sealroute.proto.smtp.conversation import format_reply
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import (
    Authenticate,
    AuthUnavailable,
    Close,
    MessageReceived,
    ServerLimits,
    SessionPolicy,
    StartTls,
)
from sealroute.proto.tlsrpt.txt import RptStatus
from sealroute.proto.tlsrpt.txt import parse_txt as parse_rpt_txt
from sealroute.services import import_connectors
from sealroute.services.import_connectors import FileFormat
from sealroute.services.importing.model import Imported

Target = Callable[[bytes], None]
TARGETS: dict[str, FuzzTarget] = {}
_WELL_FORMED = re.compile(rb"(?:[2-5][0-9][0-9][ -][ -~]{0,510}\r\n)*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_TEXT_FACTS = ("subject", "issuer", "problem", "fingerprint")
_FACTS = (
    "spki", "extensions", "subject_key", "issuer_key", "not_before", "not_after", "dns_names", "has_san_dns", "common_names",
    "is_ca", "may_serve_tls", "key_may_serve_tls", "key_may_sign_certificates", "parsed", "openssl",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FuzzTarget:
    """A parser with good input to start from."""

    name: str
    run: Target
    seeds: Callable[[], list[bytes]]

    @property
    def invariant(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


def target(*seeds: bytes, made: Callable[[], list[bytes]] | None = None) -> Callable[[Target], Target]:
    """Register a target under its function's name."""

    def register(run: Target) -> Target:
        name = run.__name__.replace("_", "-")
        TARGETS[name] = FuzzTarget(name, run, made or (lambda: list(seeds)))
        return run

    return register


def _texts(data: bytes) -> list[str]:
    """The octets as a few strings, as a TXT answer would give them."""
    return [part.decode("latin-1") for part in data.split(b"\xff\xff")[:4]]


def _pieces(data: bytes) -> Iterator[bytes]:
    """The octets cut up by what the first of them says."""
    size = data[0] % 61 + 1 if data else 1
    for start in range(0, len(data), size):
        yield data[start : start + size]


# --------------------------------------------------------------------------------------------------------------- DNS


@target(b"3 1 1 " + b"ab" * 32, b"2 0 0 3000", b"3 1 2 AB cd")
def tlsa_text(data: bytes) -> None:
    """Any text is a TLSA record that reads back as it is written, or an InputError."""
    try:
        record = parse(data.decode("utf-8", "replace"))
    except InputError:
        return
    assert not record.data or parse(str(record)) == record


@target(
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<b>x</b>\r\n--b\r\n"
    b"Content-Disposition: attachment; filename*0*=utf-8''a%2e; filename*1=pdf\r\n\r\nx\r\n--b--\r\n",
    b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=utf-16\r\n\r\naGVsbG8=\r\n",
)
def mime_content(data: bytes) -> None:
    """Any message gives text and attachments within their bounds, the text on one line."""
    found = content.read(data)
    assert len(found.text) <= 2 * content.MAX_TEXT_OCTETS
    assert len(found.attachments) <= 2 * content.MAX_PARTS
    assert found.text == " ".join(found.text.split())


@target(b'Subject: =?utf-8?Q?a=20b?=\r\n =?utf-8?B?Yw==?=\r\nX: a; b="c\\"d"; e*0*=utf-8\'\'f; e*1=g\r\n\r\n')
def mime_fields(data: bytes) -> None:
    """Any field gives at most so many values of bounded length, whose parameters are read or marked as unsure."""
    for name in ("subject", "x"):
        found = head.values(data, name)
        assert len(found) <= head.MAX_FIELDS + 1
        for value in found:
            assert max(len(value.text), len(value.joined)) <= head.MAX_VALUE_OCTETS
            said = params.parse(value)
            assert value.whole or not said.sure


@target(b"\x03\x01\x01" + bytes(32), b"\x02\x00\x00\x30\x00")
def tlsa_wire(data: bytes) -> None:
    """Any rdata is a record that keeps every octet and is sorted as usable or not, or an InputError."""
    try:
        (record,) = dnswire.read_tlsa([data])
    except InputError:
        assert len(data) < 3
        return
    assert bytes((record.usage, record.selector, record.matching)) + record.data == data
    sorted_out = classify([record])
    assert len(sorted_out.usable) + len(sorted_out.unusable) == 1
    assert not sorted_out.usable or (record.usage in (2, 3) and record.selector in (0, 1) and record.matching in (0, 1, 2))


@target(b"\x05hello\x01 ", b"\x00\x0a\x02mx\x07example\x00", bytes(4))
def rdata_wire(data: bytes) -> None:
    """Any rdata of any type is read into records or is an InputError, and a TXT record loses no octet."""
    for read in (dnswire.read_mx, dnswire.read_a, dnswire.read_aaaa, dnswire.read_target):
        with contextlib.suppress(InputError):
            assert len(read([data])) == 1
    try:
        (text,) = dnswire.read_txt([data])
    except InputError:
        return
    assert len(text) <= len(data)


@target(made=lambda: [material.packet()])
def alias_packet(data: bytes) -> None:
    """Any packet gives at most MAX_ALIAS_STEPS alias steps, each beginning where the last one led, or an InputError."""
    try:
        links = dnswire.alias_links(data, material.HOST)
    except InputError:
        return
    assert len(links) <= dnswire.MAX_ALIAS_STEPS
    owner = material.HOST
    for link in links:
        assert link.owner == owner
        owner = link.target


@target(material.STS_TXT, material.STS_TXT + b"\xff\xff" + b"v=spf1 -all")
def sts_txt(data: bytes) -> None:
    """Any TXT set is OK with an id of 1 to 32 letters and digits, or has a bounded reason, or is none."""
    judged = parse_sts_txt(_texts(data))
    assert (judged.status is TxtStatus.OK) == (judged.id is not None)
    assert (judged.status is TxtStatus.INVALID) == bool(judged.reason)
    assert judged.id is None or re.fullmatch(r"[A-Za-z0-9]{1,32}", judged.id)
    assert len(judged.reason or "") < 700


@target(material.RPT_TXT)
def rpt_txt(data: bytes) -> None:
    """Any TXT set is OK with mailto and https addresses only, or has a bounded reason, or is none."""
    judged = parse_rpt_txt(_texts(data))
    assert (judged.status is RptStatus.OK) == bool(judged.rua)
    assert all(uri[:7].lower() == "mailto:" or uri[:6].lower() == "https:" for uri in judged.rua)
    assert len(judged.reason or "") < 2000


@target(b"example.com", "bücher.example.".encode(), b"[IPv6:2001:db8::1]", b"a@example.com")
def domain_names(data: bytes) -> None:
    """Any text is an InputError or a domain in compared form, which is itself its compared form."""
    text = data.decode("utf-8", "replace")
    names.parse_ip(text)
    for read in (names.domain, names.address_domain, grammar.destination):
        try:
            name = read(text)
        except InputError:
            continue
        assert name.isascii() or name.startswith("[")
        assert len(name) <= names.MAX_DOMAIN_OCTETS or name.startswith("[")
        if read is names.domain:
            assert names.domain(name) == name


# ----------------------------------------------------------------------------------------------------------- MTA-STS


@target(material.POLICY)
def sts_policy(data: bytes) -> None:
    """Any body is a policy that reads the same again and whose every pattern covers a host, or one bounded sentence."""
    read = parse_policy(data)
    if isinstance(read, PolicyInvalid):
        assert read.reason.endswith(".")
        assert len(read.reason) < 900
        return
    assert parse_policy(read.text) == read
    assert 0 <= read.max_age_seconds <= MAX_AGE_SECONDS
    assert read.mx or read.mode is StsMode.NONE
    for pattern in read.mx:
        # An mx that looks like an IP address is a name by the grammar, but no host: it covers nothing.
        host = pattern.replace("*.", "x.")
        assert match(host, [pattern]) == (None if names.parse_ip(host) or len(host) > names.MAX_DOMAIN_OCTETS else pattern)


# -------------------------------------------------------------------------------------------------------------- SMTP


@target(material.REPLIES)
def smtp_replies(data: bytes) -> None:
    """Any octets give the same bounded replies without controls but tabs, then perhaps a PeerError, however they are cut."""
    whole, cut = _replies([data]), _replies(list(_pieces(data)))
    assert whole == cut
    for reply in whole[0]:
        assert 200 <= reply.code <= 599
        assert len(reply.lines) <= replies.MAX_LINES
        assert not any(_CONTROL.search(line) for line in reply.lines)
        parse_capabilities(reply)


def _replies(pieces: list[bytes]) -> tuple[list[Reply], bool]:
    parser, found = replies.ReplyParser(), []
    try:
        for piece in pieces:
            parser.feed(piece)
            while reply := parser.next_reply():
                found.append(reply)
    except PeerError:
        return found, True
    return found, False


@target(b" FROM:<a@example.com> SIZE=1 ENVID=+20", b" TO:<b@example.com> NOTIFY=DELAY,FAILURE ORCPT=rfc822;x")
def smtp_commands(data: bytes) -> None:
    """Any arguments of MAIL or RCPT are values with a domain in compared form, or a refusal that is one well-formed reply."""
    text = data.decode("utf-8", "surrogateescape") if data.isascii() else data.decode("utf-8", "replace")
    text = text.strip(" ")
    offered = Offered(1000, tls=True, auth=True, postmaster="postmaster@example.com")
    for given in (parse_mail(text, offered), parse_rcpt(text, offered, False), parse_rcpt(text, offered, True)):
        match given:
            case Mail():
                assert "\r" not in given.sender
                assert "\n" not in given.sender
            case Recipient():
                assert given.address
            case Reply():
                assert 500 <= given.code <= 559
                assert _WELL_FORMED.fullmatch(format_reply(given))


@target(material.SESSION)
def smtp_server(data: bytes) -> None:
    """Any octets from a client give well-formed replies and messages with recipients and CRLF line ends only."""
    policy = SessionPolicy("gw.example.com", "192.0.2.7", Origin.SUBMISSION, may_relay=True, offers_tls=True, offers_auth=True)
    engine = ServerEngine(policy, ServerLimits(message_bytes=500, command_line_bytes=200, auth_line_bytes=200))
    engine.greet()
    for piece in _pieces(data):
        events = engine.receive_data(piece)
        while events:
            match events.pop(0):
                case MessageReceived(envelope, content, _):
                    assert isinstance(envelope, Envelope)
                    assert envelope.recipients
                    assert b"\n" not in content.replace(b"\r\n", b"")
                    events += engine.message_done(Reply(250, ("queued",), Enhanced(2, 6, 0)))
                case Authenticate():
                    events += engine.auth_done(AuthUnavailable())
                case StartTls():
                    engine.tls_started("TLSv1.3", "TLS_AES_256_GCM_SHA384")
                case Close():
                    pass
        assert _WELL_FORMED.fullmatch(engine.data_to_send())


@target(b"AGEAYg==", b"YQ==\nYg==")
def sasl_exchange(data: bytes) -> None:
    """Any responses end in a challenge, in credentials with a user and bounded parts, or in an InputError."""
    for mechanism in sasl.MECHANISMS:
        exchange = sasl.Exchange(mechanism)
        for line in data.split(b"\n")[:4]:
            try:
                step = exchange.step(line.decode("latin-1"))
            except InputError:
                break
            if isinstance(step, sasl.Credentials):
                assert step.user
                assert len(step.user) <= sasl.MAX_CREDENTIAL_OCTETS >= len(step.password)
                break
            assert step.startswith(b"334 ")


@target(material.HEAD)
def message_head(data: bytes) -> None:
    """Any message gives facts that are printable and bounded, and the body changes none of them."""
    head = headers.scan(data)
    assert head is not None or len(data) > headers.MAX_HEAD_OCTETS
    if head is None:
        return
    assert head.subject.isprintable()
    assert len(head.subject) <= headers.MAX_SUBJECT_CHARACTERS
    assert head.message_id.isprintable()
    assert len(head.message_id) <= headers.MAX_MESSAGE_ID_CHARACTERS
    end = data.find(b"\r\n\r\n")
    if end >= 0 and not data.startswith(b"\r\n"):
        assert headers.scan(data[: end + 4] + b"Subject: in the body\r\nTLS-Required: No\r\n") == head


@target(material.DSN)
def dsn_parse(data: bytes) -> None:
    """Any message is a notification with recipients that name one, or says in one sentence why it is none."""
    read = dsn.parse(data)
    if isinstance(read, dsn.NotADsn):
        assert read.reason
        return
    assert len(read.recipients) <= dsn.MAX_GROUPS
    assert all("final-recipient" in recipient for recipient in read.recipients)
    assert read.returned in ("full", "headers", "none")


# ------------------------------------------------------------------------------------------------------ certificates


@target(b"\x30\x03\x02\x01\x05", made=lambda: [material.server().der])
def der_elements(data: bytes) -> None:
    """Any octets are an element whose children make up its content exactly, or a DerError."""
    try:
        element = der.read(data)
        children = list(element.children())
    except der.DerError:
        return
    assert b"".join(child.octets for child in children) == element.value


@target(made=lambda: material.server().chain(root=True))
def certificate_facts(data: bytes) -> None:
    """Any octets give every fact as a value, and whatever is called intact has its key in its own octets."""
    certificate = Certificate(data)
    for fact in _FACTS:
        getattr(certificate, fact)
    assert all(isinstance(getattr(certificate, fact), str) for fact in _TEXT_FACTS)
    permits_name(certificate, material.HOST)
    match_name(certificate, [material.HOST], common_name=True)
    if not certificate.problem:
        assert certificate.spki is not None
        assert certificate.spki in data


@target(made=lambda: [material.server().chain_pem(root=True)])
def pem_text(data: bytes) -> None:
    """Any text is certificates that read back as written, or an InputError."""
    try:
        found = read_pem(data)
    except InputError:
        return
    assert found
    assert read_pem(write_pem(found)) == found


@target(made=lambda: [bytes([at % 256, at // 256, 1]) for at in range(0, 900, 45)])
def damaged_chain(data: bytes) -> None:
    """A chain of which octets were changed neither raises nor is trusted, by the web PKI or by a record that names the leaf."""
    chain = material.server().chain()
    octets = bytearray(b"".join(chain))
    for at in range(0, len(data) - 2, 3):
        octets[int.from_bytes(data[at : at + 2], "little") % len(octets)] ^= data[at + 2]
    sizes = [len(item) for item in chain]
    leaf, issuing = bytes(octets[: sizes[0]]), bytes(octets[sizes[0] :])
    intact_leaf, intact_issuing = leaf == chain[0], issuing == chain[1]
    trusted = verify_pkix([leaf, issuing], material.roots(), material.NOW, (material.HOST,)).ok
    assert trusted == (intact_leaf and intact_issuing)
    ee, ta, bare = material.records()
    verdicts = [verify([leaf, issuing], [item], [material.HOST], material.NOW).verdict for item in (ee, ta, bare)]
    assert (verdicts[0] is DaneVerdict.MATCH) == intact_leaf
    assert (verdicts[1] is DaneVerdict.MATCH) == (intact_leaf and intact_issuing)
    # A bare key vouches for the leaf also when its own certificate is damaged so far that it is not recognized.
    assert (intact_leaf and intact_issuing) <= (verdicts[2] is DaneVerdict.MATCH) <= intact_leaf


@target(made=lambda: [material.server().der, b"\x30\x00", b""])
def odd_tlsa(data: bytes) -> None:
    """No data of a record, in any usage, matches a chain that it does not name, and every record gets its answer."""
    chain = material.server().chain()
    true = {*chain, *(Certificate(item).spki for item in chain)}
    records = [Tlsa(usage, selector, matching, data) for usage in (2, 3) for selector in (0, 1) for matching in (0, 1, 2)]
    result = verify(chain, records, [material.HOST], material.NOW)
    assert len(result.records) == len(records)
    assert result.detail
    assert (result.verdict is DaneVerdict.MATCH) <= (data in true or len(data) in (32, 64))


# ---------------------------------------------------------------------------------------------------------- imports


def _imported(data: bytes, kind: FileFormat | None) -> Imported | None:
    """What a file of that kind is read as; None when it is refused with a sentence for each problem."""
    try:
        return import_connectors.read([import_connectors.File("file", data, kind)], default_connector())
    except OperatorError as error:
        problems = error.problems
    assert problems
    assert all(problem.where.startswith("file") and problem.what for problem in problems)
    return None


def _holds_what_was_read(imported: Imported | None) -> None:
    for draft in imported.drafts if imported is not None else ():
        assert draft.where
        assert connector_from_json(connector_to_json(draft.connector)) == draft.connector


@target(*material.EXCHANGE_EXPORTS)
def exchange_export(data: bytes) -> None:
    """Any file, taken for each of Exchange's exports, is connectors that the store gives back as they are, or is refused."""
    for kind in (None, FileFormat.JSON, FileFormat.CLIXML, FileFormat.CSV):
        _holds_what_was_read(_imported(data, kind))


class _NoConnectors:
    """The part of ports.ConnectorStore that an import's plan asks, empty."""

    def all(self, organization: str) -> list[Connector]:
        return []


@target(*material.POSTFIX_TABLES)
def postfix_tables(data: bytes) -> None:
    """Any file, taken for each of Postfix's tables, is connectors that the store gives back as they are, or is refused."""
    for kind in (None, FileFormat.TLS_POLICY, FileFormat.TRANSPORT):
        imported = _imported(data, kind)
        if imported is None:
            continue
        try:
            planned = import_connectors.plan(cast("ConnectorStore", _NoConnectors()), imported, material.NOW)
        except OperatorError:
            continue
        for connector in planned.added:
            assert connector_from_json(connector_to_json(connector)) == connector
