"""Transport rules: what is met, what cannot be told, and that mail never becomes weaker by either."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.unseen import Unseen
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException
from sealroute.policy.exceptions import apply as apply_exception
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings, Wishes
from sealroute.policy.transport.apply import Hit, RuledConnector, apply_rules, hits
from sealroute.policy.transport.facts import MessageFacts, TracedFacts
from sealroute.policy.transport.match import NO, WORK_UNITS, YES, Judged, Truth, Work, judge
from sealroute.policy.transport.patterns import compiled, has_word, matches_pattern, pattern_cost, words_cost
from sealroute.policy.transport.rule import Conditions, RuleMode, RuleState, SenderAddressLocation, TransportRule
from sealroute.policy.transport.strictness import mode_rank, tls_rank
from sealroute.services.plan import _key

LABEL = "MSIP_Label_2096f6a2-d2f7-48be-b329-b73aaa526e5d_Enabled=true"
OWN = Connector(guid="00000000-0000-4000-8000-000000000001", name="Partners", recipient_domains=("contoso.com",))
GATE = Connector(
    guid="00000000-0000-4000-8000-000000000002", name="Gate", is_transport_rule_scoped=True, use_mx_record=False,
    smart_hosts=("gate.example.net",), tls_settings=TlsSettings.DOMAIN_VALIDATION, tls_domain="gate.example.net",
)  # fmt: skip
MUST = SmtpDaneMode.MANDATORY


def rule(**values: object) -> TransportRule:
    given = {"guid": "00000000-0000-4000-8000-00000000000a", "name": "Secret", "smtp_dane_mode": MUST} | values
    return TransportRule(**given)  # type: ignore[arg-type]


def message(head: str = "", body: str | bytes = "hello\r\n", sender: str = "alice@fabrikam.com") -> MessageFacts:
    octets = body if isinstance(body, bytes) else body.encode()
    content = f"From: Alice <alice@fabrikam.com>\r\n{head}\r\n".encode() + octets
    return MessageFacts(sender, len(content), content)


def told(conditions: Conditions, facts: MessageFacts, domain: str = "contoso.com", **values: object) -> Judged:
    return judge(rule(when=conditions, **values), facts, Work(), domain)


WORDS = Conditions(subject_or_body_contains_words=("geheim",))
PDF = Conditions(attachment_extension_matches_words=("pdf",))

# ------------------------------------------------------------------------------- what cannot be told is never "no match"

UNREADABLE = {
    "S/MIME enveloped": ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n", b"MIIB"),
    "S/MIME under another type": ('Content-Type: application/octet-stream; name="smime.p7m"\r\n', b"MIIB"),
    "PGP/MIME": ('Content-Type: multipart/encrypted; boundary="b"\r\n', b"--b\r\n\r\n1\r\n--b--\r\n"),
    "PGP in the text": ("", b"-----BEGIN PGP MESSAGE-----\r\n\r\nabc\r\n"),
    "TNEF": ("Content-Type: application/ms-tnef; name=winmail.dat\r\n", b"x"),
    "a part's head without end": (
        "Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\nX: " + b"x" * 70_000 + b"\r\n\r\nhello\r\n--b--\r\n",
    ),
    "an empty boundary": ('Content-Type: multipart/mixed; boundary=""\r\n', b"--\r\n\r\nhello\r\n----\r\n"),
    "a delimiter in every line": ("Content-Type: multipart/mixed; boundary=b\r\n", b"\r\n--bc" * 30_000),
    "message/partial": ("Content-Type: message/partial; id=a; number=1\r\n", b"x"),
    "no boundary": ("Content-Type: multipart/mixed\r\n", b"--b\r\n\r\nhello\r\n--b--\r\n"),
    "a boundary that is not there": ("Content-Type: multipart/mixed; boundary=c\r\n", b"--b\r\n\r\nhello\r\n--b--\r\n"),
    "no closing delimiter": ("Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n\r\nhello\r\n"),
    "two boundaries": ("Content-Type: multipart/mixed; boundary=b; boundary=c\r\n", b"--b\r\n\r\nhello\r\n--b--\r\n"),
    "two types": ("Content-Type: text/plain\r\nContent-Type: text/html\r\n", b"hello"),
    "a type that is none": ("Content-Type: text\r\n", b"hello"),
    "unknown charset": ("Content-Type: text/plain; charset=x-secret\r\n", b"hello"),
    "not a charset of Python's": ("Content-Type: text/plain; charset=punycode\r\n", b"hello"),
    "broken UTF-8": ("Content-Type: text/plain; charset=utf-8\r\n", b"gehe\xffim"),
    "base64 that is none": ("Content-Transfer-Encoding: base64\r\n", b"a=\r\n"),
    "base64 with a letter": ("Content-Transfer-Encoding: base64\r\n", b"aGVsbG8=A===\r\n"),
    "broken base64": ("Content-Transfer-Encoding: base64\r\n", b"!!!!aGVsbG8=\r\n"),
    "unknown encoding": ("Content-Transfer-Encoding: x-uuencode\r\n", b"hello"),
    "an encoded multipart": (
        "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n", b"--b\r\n\r\nx\r\n--b--\r\n",
    ),
    "too deep": (
        "Content-Type: multipart/mixed; boundary=b0\r\n",
        b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(14)),
    ),
    "more text than is looked at": ("", b"a " * 600_000),
    "too many parts": ("Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n\r\n" * 1200 + b"--b--"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_not_taken_for_free_of_the_words(case: str) -> None:
    head, body = UNREADABLE[case]
    judged = told(WORDS, message(head, body))
    assert judged.truth is Truth.UNKNOWN
    assert judged.unseen
    found = hits([rule(when=WORDS)], message(head, body), "contoso.com", Work())
    ruled = apply_rules(OWN, found, {})
    assert ruled.smtp_dane_mode is MUST
    assert ruled.rule_effects[0].uncertain


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_lowers_nothing(case: str) -> None:
    head, body = UNREADABLE[case]
    own = replace(OWN, smtp_dane_mode=MUST)
    lower = rule(when=WORDS, smtp_dane_mode=SmtpDaneMode.NONE, allow_weaker=True)
    but_for = rule(unless=WORDS)
    for tried in (lower, but_for):
        ruled = apply_rules(own, hits([tried], message(head, body), "contoso.com", Work()), {})
        assert ruled.smtp_dane_mode is MUST, tried


CLOSED = [case for case in UNREADABLE if case not in (
    "base64 that is none", "base64 with a letter", "unknown charset", "not a charset of Python's", "broken UTF-8", "broken base64", "unknown encoding",
    "more text than is looked at",
)]  # fmt: skip


@pytest.mark.parametrize("case", CLOSED)
def test_attachments_that_cannot_be_seen_are_not_taken_for_none(case: str) -> None:
    assert told(PDF, message(*UNREADABLE[case])).truth is Truth.UNKNOWN


def test_a_uuencoded_file_in_the_text_is_an_attachment_that_cannot_be_seen() -> None:
    assert told(PDF, message("", "begin 644 a.pdf\r\n#86)C\r\n`\r\nend\r\n")).truth is Truth.UNKNOWN


def test_an_attachment_without_name_may_have_any_extension_of_its_type() -> None:
    assert told(PDF, message("Content-Type: application/pdf\r\n", b"%PDF")) == YES
    assert told(PDF, message("Content-Type: image/png\r\n", b"x")) == NO
    assert told(PDF, message("Content-Type: application/octet-stream\r\n", b"x")).truth is Truth.UNKNOWN
    assert told(PDF, message("Content-Type: application/x-unheard-of\r\n", b"x")).truth is Truth.UNKNOWN


def test_more_senders_than_are_looked_at() -> None:
    asked = Conditions(sender_domain_is=("last.test",))
    many = ", ".join(f"a{number}@b.test" for number in range(30))
    long = f'"{"x" * 9000}" <a@b.test>'
    for said in (f"{many}, a@last.test", f"{long}, a@last.test"):
        facts = MessageFacts("", 1, f"From: {said}\r\n\r\n".encode())
        assert told(asked, facts).truth is Truth.UNKNOWN
    assert told(Conditions(sender_domain_is=("b.test",)), MessageFacts("", 1, f"From: {many}\r\n\r\n".encode())) == YES


def test_a_sender_with_a_domain_that_is_none() -> None:
    facts = MessageFacts("", 1, b"From: a@-b.test, c@[192.0.2.1]\r\n\r\n")
    assert told(Conditions(sender_domain_is=("*.test",)), facts) == YES
    assert told(Conditions(sender_domain_is=("example.org",)), facts) == NO


def test_a_header_asked_for_twice_is_read_once() -> None:
    facts = message("X-Class: secret\r\n")
    seen = facts.header("X-Class")
    assert facts.header("X-Class") is seen
    assert seen.texts == ("secret",)


def test_more_fields_of_a_name_than_are_looked_at() -> None:
    asked = Conditions(header_contains_message_header="X-Class", header_contains_words=("secret",))
    assert told(asked, message("X-Class: open\r\n" * 40)) == NO
    assert told(asked, message("X-Class: open\r\n" * 60)).truth is Truth.UNKNOWN
    assert told(asked, message(f"X-Class: {'x ' * 40_000}\r\n")).truth is Truth.UNKNOWN


def test_a_sender_that_nobody_can_read() -> None:
    asked = Conditions(sender_domain_is=("fabrikam.com",))
    for line in (
        "From: nobody\r\n",
        'From: "Alice <alice@contoso.com>\r\n',
        "X-No-From: 1\r\n",
        "From: =?x-no?q?a?= <b@c.test>\r\n",
    ):
        content = f"{line}\r\n".encode()
        facts = MessageFacts("alice@contoso.com", len(content), content)
        assert told(asked, facts).truth is Truth.UNKNOWN, line
        assert told(asked, facts, sender_address_location=SenderAddressLocation.ENVELOPE) == NO, line


def test_the_budget_of_a_message() -> None:
    assert WORK_UNITS == 33_554_432
    work = Work(10)
    assert [work.allow(units) for units in (4, 6, 1)] == [True, True, False]
    assert Work(0).allow(0)
    assert not Work(10).allow(11)


def test_a_size_is_exceeded_from_the_next_octet_on() -> None:
    facts = MessageFacts("", 100, b"")
    assert told(Conditions(message_size_over=100), facts) == NO
    assert told(Conditions(message_size_over=99), facts) == YES
    assert told(Conditions(message_size_over=0), MessageFacts("", 1, b"")) == YES
    assert told(Conditions(message_size_over=0), MessageFacts("", 0, b"")) == NO


def test_conditions_that_rules_share_are_judged_for_each() -> None:
    """The same conditions of two rules that look for the sender in different places."""
    asked = Conditions(sender_domain_is=("envelope.test",))
    facts, work = message(sender="a@envelope.test"), Work()
    places = [rule(guid=str(place), when=asked, sender_address_location=place) for place in SenderAddressLocation]
    assert [judge(item, facts, work, "contoso.com").truth for item in places] == [Truth.NO, Truth.YES, Truth.YES]
    both = rule(guid="both", when=asked, unless=asked, sender_address_location=SenderAddressLocation.ENVELOPE)
    assert judge(both, facts, work, "contoso.com") == NO


def test_when_there_was_too_much_to_look_at_it_is_unknown() -> None:
    judged = judge(rule(when=WORDS), message("", "hello " * 100), Work(50), "contoso.com")
    assert (judged.truth, judged.unseen) == (Truth.UNKNOWN, frozenset({Unseen.BOUND}))
    patterns = rule(when=Conditions(subject_or_body_matches_patterns=("geheim",)))
    assert judge(patterns, message("", "hello " * 100), Work(50), "contoso.com").truth is Truth.UNKNOWN
    assert judge(patterns, message("", "hello " * 100), Work(100_000), "contoso.com") == NO


# ---------------------------------------------------------------------------------------------------- what is met

B64 = base64.encodebytes("Das ist GEHEIM, ja".encode("utf-16")).replace(b"\n", b"\r\n")
UNREADABLE_LINES = [
    "Subject: =?utf-8?B?!!!!?=", "Subject: =?x-no?Q?a?=", "Subject: =?utf-8?B?Z2VoZ?=", "Subject: caf\xe9", "Subject: =?utf-8?Q?a",
]  # fmt: skip


@pytest.mark.parametrize("line", UNREADABLE_LINES)
def test_a_subject_that_cannot_be_read(line: str) -> None:
    facts = MessageFacts("", 1, f"{line}\r\n\r\n".encode("latin-1"))
    assert told(Conditions(subject_contains_words=("geheim",)), facts).truth is Truth.UNKNOWN


@pytest.mark.parametrize(
    "parameters",
    ['name="a.txt"; name=b.txt', "name*0=a; name*2=b", "name*=x-no''a", "name=a; ???", "name=a.pdf (a comment)", "name=a b", "name=\"a", "name=\"=?x-no?q?a?=\"",
     "name=" + "a" * 9000],
)  # fmt: skip
def test_a_file_name_that_cannot_be_read(parameters: str) -> None:
    assert told(PDF, message(f"Content-Type: application/octet-stream; {parameters}\r\n", b"x")).truth is Truth.UNKNOWN


def test_a_file_name_in_many_spellings() -> None:
    for parameters in ('name="a.pdf" (a comment)', "name=a; name*=utf-8''a.pdf", 'name="a\\.pdf"', "NAME = a.pdf ;"):
        assert told(PDF, message(f"Content-Type: application/octet-stream; {parameters}\r\n", b"x")) == YES, parameters
    two = "Content-Type: text/plain; name=a.pdf\r\nContent-Disposition: inline; filename=b.txt\r\n"
    assert told(PDF, message(two, b"x")) == YES, "either of two names counts"
    parts = b"--b\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: x\r\n\r\ny\r\n--d--\r\n--b--\r\n"
    attached = Conditions(attachment_extension_matches_words=("eml",))
    assert told(attached, message("Content-Type: multipart/mixed; boundary=b\r\n", parts)) == YES


def test_words_of_several_parts_and_encodings() -> None:
    parts = (
        b'--b\nContent-Type: text/plain; charset=iso-8859-1\n\ncaf\xe9\n--bb\n--b\t\nContent-Type: text/html;\n charset="utf-8"\n'
        b"Content-Transfer-Encoding: BASE64 (so)\n\n" + base64.b64encode("<i>Größe</i>".encode()) + b"\n--b--\n"
    )
    facts = message("Content-Type: multipart/alternative; boundary=b\r\n", parts)
    for word in ("café", "GRÖSSE", "größe"):
        answer = told(Conditions(subject_or_body_contains_words=(word,)), facts)
        assert answer == (NO if word == "GRÖSSE" else YES), word


def test_a_text_cut_at_the_bound_is_read_as_far_as_it_goes() -> None:
    for encoding, body in (
        ("8bit", "geheim äöü ".encode() * 60_000),
        ("base64", base64.encodebytes("geheim äöü ".encode() * 60_000)),
    ):
        head = f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
        assert told(WORDS, message(head, body)) == YES
        judged = told(Conditions(subject_or_body_contains_words=("anders",)), message(head, body))
        assert (judged.truth, judged.unseen) == (Truth.UNKNOWN, frozenset({Unseen.BOUND}))


MET: list[tuple[Conditions, str, str | bytes]] = [
    (Conditions(recipient_domain_is=("contoso.com",)), "", ""),
    (Conditions(recipient_domain_is=("*",)), "", ""),
    (Conditions(sender_domain_is=("*.com", "x.test")), "", ""),
    (Conditions(from_=("ALICE@fabrikam.com",)), "", ""),
    (Conditions(from_address_contains_words=("alice",)), "", ""),
    (Conditions(from_address_matches_patterns=("^al.*@fabrikam",)), "", ""),
    (Conditions(subject_contains_words=("top secret",)), "Subject: =?utf-8?B?VE9Q?=\r\n =?utf-8?Q?=20Secret!?=\r\n", ""),
    (Conditions(subject_matches_patterns=(r"ticket \d+$",)), "Subject: Ticket 17\r\n", ""),
    (Conditions(header_contains_message_header="msip_labels", header_contains_words=(LABEL,)),
     f"msip_labels: {LABEL};\r\n MSIP_Label_2096f6a2_SetDate=2026-11-24\r\n", ""),
    (Conditions(header_contains_message_header="X-Class", header_contains_words=("nato",)), "x-class : a, NATO\r\n", ""),
    (Conditions(header_matches_message_header="X-Class", header_matches_patterns=("^s[ei]",)), "X-CLASS:\r\n secret\r\n", ""),
    (Conditions(message_size_over=100), "", "x" * 100),
    (WORDS, "Subject: Geheim\r\n", ""),
    (WORDS, "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n", B64),
    (WORDS, "Content-Transfer-Encoding: quoted-printable\r\n", "a ge=\r\nhei=6D b"),
    (WORDS, "Content-Type: text/html\r\n", "<p>ge<b>hei</b>&#109;</p>"),
    (WORDS, "Content-Type: text/html\r\n", "<td>x</td><td>geheim</td><td>y</td>"),
    (WORDS, "Content-Type: text/html\r\n", "1 < 2, geheim > 3"),
    (WORDS, "", "ge\u00adheim"),
    (Conditions(subject_or_body_contains_words=("top secret",)), "", "this is top\r\n   secret"),
    (Conditions(subject_or_body_matches_patterns=(r"\b\d{4} \d{4}\b",)), "", "card 1234 5678."),
    (Conditions(attachment_name_matches_patterns=("^plan-",)),
     "Content-Disposition: attachment; filename=\"PLAN-9.pdf\"\r\nContent-Type: application/pdf\r\n", ""),
    (PDF, "Content-Disposition: attachment; filename*0=\"a very lo\"; filename*1=\"ng name.pdf\"\r\n"
          "Content-Type: application/pdf\r\n", ""),
    (PDF, "Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf\r\n", ""),
    (PDF, "Content-Type: application/octet-stream; name=\"=?utf-8?B?YS5wZGY=?=\"\r\n", ""),
    (PDF, "Content-Type: multipart/mixed; boundary=b\r\n",
     "pre\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n"
     "Content-Type: application/pdf; name=x.PDF\r\n\r\nx\r\n--bb--\r\n--b--\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "head", "body"), MET)
def test_it_is_met(asked: Conditions, head: str, body: str | bytes) -> None:
    assert told(asked, message(head, body)) == YES


UNMET: list[tuple[Conditions, str, str | bytes]] = [
    (Conditions(recipient_domain_is=("fabrikam.com", "*.contoso.com")), "", ""),
    (Conditions(sender_domain_is=("rikam.com",)), "", ""),
    (Conditions(from_address_contains_words=("ali",)), "", ""),
    (Conditions(subject_contains_words=("secret",)), "Subject: secrets\r\n", ""),
    (Conditions(subject_contains_words=("secret",)), "X-Subject: secret\r\n", "Subject: secret"),
    (Conditions(header_contains_message_header="X-Class", header_contains_words=("a",)), "X-Classes: a\r\n", ""),
    (Conditions(message_size_over=10_000), "", "x"),
    (WORDS, "", "geheimnis"),
    (WORDS, "Content-Type: multipart/mixed; boundary=b\r\n",
     "--b\r\n\r\nhello\r\n--b\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\ngeheim\r\n--b--"),
    (WORDS, "Content-Type: multipart/mixed; boundary=b\r\n",
     "--b\r\n\r\nhello\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: geheim\r\n\r\ngeheim\r\n--b--"),
    (PDF, "", "see a.pdf"),
    (PDF, "Content-Disposition: attachment; filename=a.pdf.txt\r\n", ""),
    (Conditions(recipient_domain_is=("contoso.com",), message_size_over=10_000), "", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "head", "body"), UNMET)
def test_it_is_not_met(asked: Conditions, head: str, body: str | bytes) -> None:
    assert told(asked, message(head, body)) == NO


def test_no_place_of_the_sender_hides_that_there_was_too_much_to_look_at() -> None:
    asked = Conditions(from_address_contains_words=("nobody",))
    for place in SenderAddressLocation:
        item = rule(when=asked, sender_address_location=place)
        assert judge(item, message(), Work(), "contoso.com") == NO
        assert judge(item, message(), Work(5), "contoso.com").truth is Truth.UNKNOWN


def test_where_the_sender_is_looked_for() -> None:
    asked = Conditions(sender_domain_is=("envelope.test",))
    facts = message(sender="bounce@envelope.test")
    answers = [told(asked, facts, sender_address_location=where).truth for where in SenderAddressLocation]
    assert answers == [Truth.NO, Truth.YES, Truth.YES]


def test_a_header_that_only_one_reading_of_its_folds_has_is_uncertain() -> None:
    asked = Conditions(header_contains_message_header="msip_labels", header_contains_words=(LABEL,))
    assert told(asked, message(f"msip_labels: {LABEL[:30]}\r\n {LABEL[30:]}\r\n")).truth is Truth.UNKNOWN


def test_an_exception_that_is_met_ends_it_and_an_unknown_one_makes_it_unknown() -> None:
    both = rule(when=Conditions(recipient_domain_is=("contoso.com",)), unless=WORDS)
    assert judge(both, message("", "geheim"), Work(), "contoso.com") == NO
    assert judge(both, message("", "hello"), Work(), "contoso.com") == YES
    judged = judge(both, message(*UNREADABLE["TNEF"]), Work(), "contoso.com")
    assert (judged.truth, judged.conditions) == (Truth.UNKNOWN, ("except_if_subject_or_body_contains_words",))
    assert judge(both, message("", "hello"), Work(), "fabrikam.com") == NO


def test_the_same_message_to_another_domain_is_not_searched_again() -> None:
    asked = rule(when=replace(WORDS, recipient_domain_is=("contoso.com", "fabrikam.com")))
    facts, work = message("", "hello geheim"), Work(100)
    for _ in range(50):
        assert judge(asked, facts, work, "contoso.com") == YES
        assert judge(asked, facts, work, "fabrikam.com") == YES


def test_of_a_trace_only_what_it_keeps_is_told() -> None:
    facts = TracedFacts("alice@fabrikam.com", 5000, "geheim")
    assert told(Conditions(recipient_domain_is=("contoso.com",), message_size_over=4000), facts) == YES
    assert told(Conditions(subject_contains_words=("geheim",)), facts) == YES
    assert told(Conditions(subject_contains_words=("offen",)), facts) == NO
    assert told(Conditions(subject_contains_words=("offen",)), TracedFacts("a@b.test", 1, "x" * 256)).truth is Truth.UNKNOWN
    asked = Conditions(sender_domain_is=("fabrikam.com",))
    assert told(asked, facts, sender_address_location=SenderAddressLocation.ENVELOPE) == YES
    for lost in (asked, PDF, replace(WORDS, subject_or_body_contains_words=("offen",)),
                 Conditions(header_contains_message_header="X", header_contains_words=("a",)),
                 Conditions(attachment_name_matches_patterns=("a",))):  # fmt: skip
        judged = told(lost, facts)
        assert (judged.truth, judged.unseen) == (Truth.UNKNOWN, frozenset({Unseen.NOT_KEPT}))
    assert told(WORDS, facts) == YES, "the subject alone has the word"


# ---------------------------------------------------------------------------------------------- words and patterns


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [("a secret.", "secret", True), ("secrets secret", "secret", True), ("asecret", "secret", False), ("x=1;", "=1;", True),
     ("", "a", False), ("top_secret", "secret", True), ("émis", "mis", False)],
)  # fmt: skip
def test_words(text: str, word: str, found: bool) -> None:
    assert has_word(text, (word,)) is found


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [("xa=b", "a=b", False), ("a=bx", "a=b", False), (" a=b;", "a=b", True), ("axb", "a.b", False), ("c++", "c++", True),
     ("xc++x", "c++", False), ("(c++x", "c++", True), ("top SECRET", "top secret", True), ("topxsecret", "top secret", False),
     ("a\\b", "a\\b", True), ("*", "*", True), ("Ähre", "ähre", True), ("x", "*", False)],
)  # fmt: skip
def test_words_hold_any_characters(text: str, word: str, found: bool) -> None:
    assert has_word(text, (word,)) is found
    assert has_word(text, ("zebra", word, "-")) is found


def test_what_words_and_patterns_cost() -> None:
    assert [words_cost((("x" * length),)) for length in (1, 127, 128, 255, 256)] == [1, 1, 2, 2, 3]
    assert words_cost(("x" * 100, "y" * 28)) == 2
    assert pattern_cost("a{100}") > 100 > pattern_cost("abc")


def test_an_attachment_without_a_name_has_none() -> None:
    asked = Conditions(attachment_name_matches_patterns=("^",))
    assert told(asked, message("Content-Type: application/pdf\r\n", b"x")) == NO
    assert told(asked, message("Content-Type: application/pdf; name=a\r\n", b"x")) == YES
    unheard = Conditions(attachment_extension_matches_words=("webp",))
    assert told(unheard, message("Content-Type: image/webp\r\n", b"x")) == YES, "types in use, not only registered ones"


def test_patterns_never_backtrack() -> None:
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){20}"):
        assert matches_pattern("a" * 200_000 + "b", pattern) is (pattern == "(.*a){20}")


@pytest.mark.parametrize("pattern", ["(", "a{1", r"(a)\1", "(?=a)", "(a{1000}){1000}", "[a"])
def test_what_is_no_pattern_is_said(pattern: str) -> None:
    if pattern == "a{1":
        assert compiled(pattern) is not None  # a brace that begins no count stands for itself
        return
    with pytest.raises(InputError, match="is not a pattern: "):
        compiled(pattern)


# ------------------------------------------------------------------------------------------------- what rules make


def certain(*rules: TransportRule) -> list[Hit]:
    return [Hit(item, YES) for item in rules]


def test_it_names_the_rule_and_changes_nothing_else() -> None:
    ruled = apply_rules(OWN, certain(rule(version=3)), {})
    assert isinstance(ruled, RuledConnector)
    (effect,) = ruled.rule_effects
    assert effect.did == ("SmtpDaneMode Opportunistic -> Mandatory",)
    assert effect.identity == "Secret (version 3, 00000000-0000-4000-8000-00000000000a)"
    assert (ruled.guid, ruled.mta_sts_mode, ruled.recipient_domains) == (OWN.guid, OWN.mta_sts_mode, OWN.recipient_domains)
    assert apply_rules(OWN, [], {}) is OWN


def test_nothing_that_is_kept_is_shared() -> None:
    keys = {
        _key(connector, "contoso.com", Wishes())
        for connector in (
            OWN,
            apply_rules(OWN, certain(rule()), {}),
            apply_rules(OWN, certain(rule(version=2)), {}),
            apply_rules(replace(OWN, smtp_dane_mode=SmtpDaneMode.NONE), certain(rule(smtp_dane_mode=None)), {}),
            apply_rules(OWN, certain(rule(route_message_outbound_connector=GATE.guid)), {GATE.guid: GATE}),
        )
    }
    assert len(keys) == 5
    audited = apply_rules(OWN, certain(rule(mode=RuleMode.AUDIT)), {})
    assert _key(audited, "contoso.com", Wishes()) == _key(OWN, "contoso.com", Wishes()), "Audit changes nothing"
    assert audited.rule_effects[0].did
    assert audited.smtp_dane_mode is OWN.smtp_dane_mode


def test_a_route_takes_the_way_and_adds_its_demands() -> None:
    strict = replace(OWN, smtp_dane_mode=MUST, tls_settings=TlsSettings.DOMAIN_VALIDATION, tls_domain="contoso.com")
    route = rule(smtp_dane_mode=None, route_message_outbound_connector=GATE.guid)
    ruled = apply_rules(strict, certain(route), {GATE.guid: GATE})
    assert (ruled.guid, ruled.smart_hosts, ruled.smtp_dane_mode) == (GATE.guid, GATE.smart_hosts, MUST)
    assert ruled.tls_domain == "gate.example.net", "the name is that of where mail goes"
    plain = replace(GATE, tls_settings=None, tls_domain=None)
    assert apply_rules(strict, certain(route), {GATE.guid: plain}).tls_domain == "contoso.com"
    with pytest.raises(OperatorError, match="cannot be used"):
        apply_rules(strict, certain(route), {})


def test_the_first_route_takes_the_way_and_the_second_still_demands() -> None:
    other = replace(GATE, guid="00000000-0000-4000-8000-000000000003", name="Other", mta_sts_mode=MtaStsMode.MANDATORY)
    routes = [rule(smtp_dane_mode=None, route_message_outbound_connector=item.guid) for item in (GATE, other)]
    ruled = apply_rules(OWN, certain(*routes), {GATE.guid: GATE, other.guid: other})
    assert (ruled.name, ruled.mta_sts_mode) == ("Gate", MtaStsMode.MANDATORY)


def test_the_name_under_domain_validation_is_that_of_the_first_that_demands_it() -> None:
    named = [
        replace(GATE, guid=str(number), name=f"Gate {number}", tls_domain=f"{number}.test", tls_settings=settings)
        for number, settings in enumerate((None, TlsSettings.DOMAIN_VALIDATION, TlsSettings.DOMAIN_VALIDATION))
    ]
    named[0] = replace(named[0], tls_domain=None)
    targets = {item.guid: item for item in named}

    def name(*guids: str) -> tuple[str, str | None]:
        routes = [rule(smtp_dane_mode=None, route_message_outbound_connector=item) for item in guids]
        made = apply_rules(OWN, certain(*routes), targets)
        return made.name, made.tls_domain

    assert name("1", "2") == ("Gate 1", "1.test")
    assert name("0", "1", "2") == ("Gate 0", "1.test")
    assert name("1", "0") == ("Gate 1", "1.test")


def test_a_route_that_replaces_is_a_route_like_any_other() -> None:
    other = replace(GATE, guid="00000000-0000-4000-8000-000000000003", name="Other", mta_sts_mode=MtaStsMode.MANDATORY)
    routes = [
        rule(smtp_dane_mode=None, route_message_outbound_connector=GATE.guid, allow_weaker=True),
        rule(smtp_dane_mode=None, route_message_outbound_connector=other.guid),
    ]
    ruled = apply_rules(replace(OWN, smtp_dane_mode=MUST), certain(*routes), {GATE.guid: GATE, other.guid: other})
    assert (ruled.name, ruled.smtp_dane_mode, ruled.mta_sts_mode) == ("Gate", GATE.smtp_dane_mode, MtaStsMode.MANDATORY)


def test_the_exception_that_was_in_force_stays_named() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)

    def excepted(connector: Connector, identity: str) -> Connector:
        exception = TimedException(
            id=identity, organization="default", connector_guid=connector.guid, connector_name="", domain="contoso.com",
            smtp_dane_mode=SmtpDaneMode.NONE, created_at=now, until=now + timedelta(days=1), reason="x", author="y",
        )  # fmt: skip
        return apply_exception(connector, exception, "contoso.com", now)

    route = rule(route_message_outbound_connector=GATE.guid)
    own = excepted(OWN, "x1")
    assert apply_rules(own, certain(rule()), {}).exception_id == "x1"
    assert apply_rules(own, certain(rule()), {}).smtp_dane_mode is MUST, "an exception is no way around a rule"
    assert apply_rules(own, certain(route), {GATE.guid: GATE}).exception_id == "x1"
    assert apply_rules(OWN, certain(route), {GATE.guid: GATE}).exception_id == ""


def test_only_what_may_have_stopped_keeps_the_rest_from_replacing() -> None:
    lower = Hit(rule(smtp_dane_mode=SmtpDaneMode.NONE, allow_weaker=True), YES)
    maybe = Judged(Truth.UNKNOWN, frozenset({Unseen.BOUND}))
    assert apply_rules(OWN, [Hit(rule(), maybe), lower], {}).smtp_dane_mode is SmtpDaneMode.NONE
    stopping = rule(stop_rule_processing=True)
    assert apply_rules(OWN, [Hit(stopping, maybe), lower], {}).smtp_dane_mode is MUST
    audited = rule(stop_rule_processing=True, mode=RuleMode.AUDIT)
    assert apply_rules(OWN, [Hit(audited, maybe), lower], {}).smtp_dane_mode is SmtpDaneMode.NONE


def test_weaker_only_when_it_says_so() -> None:
    strict = replace(OWN, smtp_dane_mode=MUST, tls_settings=TlsSettings.DOMAIN_VALIDATION, tls_domain="contoso.com")
    lower = rule(smtp_dane_mode=SmtpDaneMode.NONE, tls_settings=TlsSettings.ENCRYPTION_ONLY)
    assert apply_rules(strict, certain(lower), {}).smtp_dane_mode is MUST
    ruled = apply_rules(strict, certain(replace(lower, allow_weaker=True)), {})
    assert (ruled.smtp_dane_mode, ruled.tls_settings, ruled.tls_domain) == (
        SmtpDaneMode.NONE, TlsSettings.ENCRYPTION_ONLY, None,
    )  # fmt: skip
    assert ruled.rule_effects[0].did[0] == "SmtpDaneMode Mandatory -> None"


def test_order_and_stop() -> None:
    first = rule(guid="1", name="first", smtp_dane_mode=SmtpDaneMode.OPPORTUNISTIC, stop_rule_processing=True)
    second = rule(guid="2", name="second")
    facts, own = message(), replace(OWN, smtp_dane_mode=SmtpDaneMode.NONE)

    def names(*rules: TransportRule) -> list[str]:
        return [hit.rule.name for hit in hits(rules, facts, "contoso.com", Work())]

    assert names(first, second) == ["first"]
    assert names(second, first) == ["second", "first"]
    assert names(replace(first, mode=RuleMode.AUDIT), second) == ["first", "second"], "Audit stops nothing"
    assert names(replace(first, when=WORDS), second) == ["second"]
    unsure = message(*UNREADABLE["TNEF"])
    found = hits([replace(first, when=WORDS), second], unsure, "contoso.com", Work())
    assert [hit.rule.name for hit in found] == ["first", "second"], "it may not have been meant to stop"
    lower = rule(guid="3", smtp_dane_mode=SmtpDaneMode.NONE, allow_weaker=True)
    maybe = hits([replace(second, when=WORDS, stop_rule_processing=True), lower], unsure, "contoso.com", Work())
    assert apply_rules(own, maybe, {}).smtp_dane_mode is MUST, "nothing is lowered behind what may have stopped it"


# ----------------------------------------------------------------------------------------------------- properties

daness, stss, tlss = (st.sampled_from([None, *kind]) for kind in (SmtpDaneMode, MtaStsMode, TlsSettings))
CONNECTORS = st.builds(
    lambda guid, dane, sts, tls: Connector(
        guid=guid, name=f"C {guid}", smtp_dane_mode=dane, mta_sts_mode=sts, tls_settings=tls,
        tls_domain=f"{guid}.example" if tls is TlsSettings.DOMAIN_VALIDATION else None,
    ),
    st.sampled_from(["a", "b", "c"]), st.sampled_from(SmtpDaneMode), st.sampled_from(MtaStsMode), tlss,
)  # fmt: skip
RULES = st.builds(
    TransportRule, guid=st.sampled_from(["r1", "r2", "r3"]), name=st.just("rule"), smtp_dane_mode=daness, mta_sts_mode=stss,
    tls_settings=st.sampled_from([None, TlsSettings.ENCRYPTION_ONLY, TlsSettings.CERTIFICATE_VALIDATION]),
    route_message_outbound_connector=st.sampled_from([None, None, "a", "b", "c"]), allow_weaker=st.booleans(),
    stop_rule_processing=st.booleans(), mode=st.sampled_from([RuleMode.ENFORCE, RuleMode.ENFORCE, RuleMode.AUDIT]),
)  # fmt: skip
TRUTHS = st.sampled_from([YES, NO, Judged(Truth.UNKNOWN, frozenset({Unseen.BOUND}))])
CASES = st.lists(st.tuples(RULES, TRUTHS), max_size=6)
TARGETS = st.lists(CONNECTORS, min_size=3, max_size=3).map(
    lambda made: {guid: replace(item, guid=guid) for guid, item in zip("abc", made, strict=True)}
)


def outcome(own: Connector, cases: Sequence[tuple[TransportRule, Judged]], targets: dict[str, Connector]) -> Connector:
    """What `hits` would hand on."""
    found: list[Hit] = []
    for item, judged in cases:
        if judged.truth is Truth.NO:
            continue
        found.append(Hit(item, judged))
        if item.stop_rule_processing and judged.truth is Truth.YES and item.mode is RuleMode.ENFORCE:
            break
    return apply_rules(own, found, targets)


def at_least(one: Connector, other: Connector) -> bool:
    """Whether every demand of `one` is at least as strict."""
    return (
        mode_rank(one.smtp_dane_mode) >= mode_rank(other.smtp_dane_mode)
        and mode_rank(one.mta_sts_mode) >= mode_rank(other.mta_sts_mode)
        and tls_rank(one.tls_settings) >= tls_rank(other.tls_settings)
    )


@given(CONNECTORS, CASES, TARGETS)
def test_without_allow_weaker_the_outcome_is_never_weaker(
    own: Connector, cases: list[tuple[TransportRule, Judged]], targets: dict[str, Connector]
) -> None:
    raising = [(replace(item, allow_weaker=False), judged) for item, judged in cases]
    made = outcome(own, raising, targets)
    assert at_least(made, own)
    assert (made.tls_domain is not None) == (made.tls_settings is TlsSettings.DOMAIN_VALIDATION)
    for item, judged in raising:
        if item.mode is RuleMode.AUDIT or judged.truth is Truth.NO:
            continue
        if item.smtp_dane_mode is not None:
            assert mode_rank(made.smtp_dane_mode) >= mode_rank(item.smtp_dane_mode)
        if (guid := item.route_message_outbound_connector) is not None:
            assert at_least(made, targets[guid])
        if item.stop_rule_processing and judged.truth is Truth.YES:
            break


@given(CONNECTORS, CASES, TARGETS)
def test_whatever_the_unknown_is_in_truth_the_outcome_is_as_strict(
    own: Connector, cases: list[tuple[TransportRule, Judged]], targets: dict[str, Connector]
) -> None:
    made = outcome(own, cases, targets)
    unknown = [number for number, (_, judged) in enumerate(cases) if judged.truth is Truth.UNKNOWN]
    for answers in product((YES, NO), repeat=len(unknown)):
        truth = list(cases)
        for number, answer in zip(unknown, answers, strict=True):
            truth[number] = (cases[number][0], answer)
        assert at_least(made, outcome(own, truth, targets))


@given(st.binary(max_size=400), st.sampled_from(["text/plain", "multipart/mixed; boundary=b", "message/rfc822", "text/html"]))
def test_any_octets_are_judged(octets: bytes, kind: str) -> None:
    facts = MessageFacts("a@b.test", 1, f"Content-Type: {kind}\r\n".encode() + octets)
    for asked in (WORDS, PDF, Conditions(sender_domain_is=("contoso.com",)), Conditions(subject_matches_patterns=("^a",))):
        assert told(asked, facts).truth in Truth


@given(st.text(alphabet='ab \t\r\n-=;:"<>@/?_.', max_size=300))
def test_any_field_is_judged(text: str) -> None:
    facts = message(f"X-Any: {text}\r\nContent-Type: {text}\r\nContent-Disposition: {text}\r\nFrom: {text}\r\n")
    for asked in (PDF, Conditions(from_address_contains_words=("a",)),
                  Conditions(header_contains_message_header="X-Any", header_contains_words=("a",))):  # fmt: skip
        assert told(asked, facts).truth in Truth


def test_disabled_is_disabled() -> None:
    assert not rule(state=RuleState.DISABLED).enabled
    assert rule().enabled
    assert rule().acts
    assert not rule(smtp_dane_mode=None).acts
