"""Paths, parameters and xtext: each case as it stands, and with bytes behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import InputError
from sealroute.base.mail import BodyType, Notify, Recipient, Ret
from sealroute.base.status import Reply
from sealroute.proto.smtp import grammar
from sealroute.proto.smtp.commands import Mail, Offered, parse_mail, parse_rcpt

LOCAL_64 = "l" * 64
DOMAIN_187 = ".".join(["d" * 61] * 3) + ".x"

GOOD_PATHS = {
    "<>": ("", ""),
    "<joe@example.com>": ("joe", "example.com"),
    "<j.o-e+tag@mail.example.com>": ("j.o-e+tag", "mail.example.com"),
    "<!#$%&'*+-/=?^_`{|}~@example.com>": ("!#$%&'*+-/=?^_`{|}~", "example.com"),
    '<"joe bloggs"@example.com>': ('"joe bloggs"', "example.com"),
    '<"a@b>c"@example.com>': ('"a@b>c"', "example.com"),
    '<"quote\\"and\\\\slash"@example.com>': ('"quote\\"and\\\\slash"', "example.com"),
    '<""@example.com>': ('""', "example.com"),
    "<@relay.example.net:joe@example.com>": ("joe", "example.com"),
    "<@a.test,@b.test:joe@example.com>": ("joe", "example.com"),
    "<joe@[192.0.2.1]>": ("joe", "[192.0.2.1]"),
    "<joe@[IPv6:2001:db8::1]>": ("joe", "[IPv6:2001:db8::1]"),
    "<postmaster>": ("postmaster", ""),
    "<PostMaster>": ("PostMaster", ""),
    "<jörg@bücher.example>": ("jörg", "bücher.example"),
    "<用户@例子.test>": ("用户", "例子.test"),
    f"<{LOCAL_64}@{DOMAIN_187}>": (LOCAL_64, DOMAIN_187),
}

BAD_PATHS = {
    "": "angle brackets",
    "joe@example.com": "angle brackets",
    "<joe@example.com": "no closing",
    "<joe>": "no domain",
    "<@example.com>": "empty local part",
    "<joe@>": "empty domain",
    "<.joe@example.com>": "not of the form",
    "<joe.@example.com>": "not of the form",
    "<jo..e@example.com>": "not of the form",
    "<joe bloggs@example.com>": "not of the form",
    "<joe@exam ple.com>": "not of the form",
    "<joe@example.com> ": None,
    "<joe@[192.0.2.1>": "not of the form",
    '<"joe@example.com>': "not of the form",
    '<"joe\\"@example.com>': "not of the form",
    "<a@b@example.com>": "not of the form",
    "<jo\u0085e@example.com>": "not of the form",
    "<@relay.test joe@example.com>": "not of the form",
    f"<{LOCAL_64}l@example.com>": "65 octets, more than 64",
    f"<{'ö' * 33}@example.com>": "66 octets, more than 64",
    f"<joe@{'d' * 256}>": "256 octets, more than 255",
    f"<{LOCAL_64}@{DOMAIN_187}abc>": "257 octets, more than 256",
}


@pytest.mark.parametrize("text", GOOD_PATHS)
@pytest.mark.parametrize("behind", ["", " SIZE=1", ">", "@x>"])
def test_path(text: str, behind: str) -> None:
    path, end = grammar.parse_path("FROM:" + text + behind, 5)
    assert (path.local, path.domain) == GOOD_PATHS[text]
    assert end == 5 + len(text)


@pytest.mark.parametrize(("text", "why"), [(text, why) for text, why in BAD_PATHS.items() if why])
def test_bad_path(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        grammar.parse_path(text)


@given(st.text(alphabet='<>@."\\[]:,a1é ', max_size=40))
def test_parse_path_either_raises_input_error_or_rebuilds_to_what_it_read(text: str) -> None:
    try:
        path, end = grammar.parse_path(text)
    except InputError:
        return
    assert text[:end].endswith(f"{path.address}>")
    assert text[0] == "<"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (" SIZE=1000 body=8BITMIME SMTPUTF8", {"SIZE": "1000", "BODY": "8BITMIME", "SMTPUTF8": None}),
        (" X-1=a+2Bb", {"X-1": "a+2Bb"}),
        (" ORCPT=rfc822;a", {"ORCPT": "rfc822;a"}),
    ],
)
def test_parameters(text: str, found: dict[str, str | None]) -> None:
    assert grammar.parse_parameters(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" SIZE=", "form"),
        (" =1", "form"),
        (" -A=1", "form"),
        (" A=b=c", "form"),
        (" SIZE=1 size=2", "SIZE was given twice"),
        (" " + " ".join(f"P{n}" for n in range(33)), "more than 32"),
    ],
)
def test_bad_parameters(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        grammar.parse_parameters(text)


@given(st.text(alphabet=[chr(code) for code in range(0x20, 0x7F)], max_size=60))
def test_xtext_round_trip(text: str) -> None:
    assert grammar.decode_xtext(grammar.encode_xtext(text)) == text


@pytest.mark.parametrize("text", ["a=b", "a b", "+", "+4", "+4G", "a+", "+0D+0A", "+00", "+7F", "+E9", "a\x01"])
def test_bad_xtext(text: str) -> None:
    with pytest.raises(InputError):
        grammar.decode_xtext(text)


def test_lower_case_hexadecimal_is_tolerated() -> None:
    assert grammar.decode_xtext("a+2bb+3d") == "a+b="


# ------------------------------------------------------------------------------------------------------- MAIL and RCPT

PLAIN = Offered(message_bytes=1000)
OVER_TLS = Offered(message_bytes=1000, tls=True, auth=True, postmaster="post@example.com")

MAILS: dict[str, Mail | str] = {
    "FROM:<>": Mail(""),
    "from: <a@example.com>": Mail("a@example.com"),
    "FROM:<a@example.com> SIZE=1000": Mail("a@example.com"),
    "FROM:<a@example.com> BODY=8bitmime RET=hdrs ENVID=QQ+3D1": Mail(
        "a@example.com", BodyType.EIGHT_BIT, ret=Ret.HDRS, envid="QQ=1"
    ),
    "FROM:<ä@example.com> SMTPUTF8": Mail("ä@example.com", smtputf8=True),
    "FROM:<a@example.com> SIZE=1001": "552 5.3.4 Message of 1001 octets exceeds the limit of 1000",
    "FROM:<a@example.com> SIZE=x": "501 5.5.4 Bad parameter: SIZE must be a number of at most 20 digits",
    "FROM:<a@example.com> SIZE=" + "9" * 21: "501 5.5.4 Bad parameter: SIZE must be a number of at most 20 digits",
    "FROM:<a@example.com> BODY=BINARYMIME": "501 5.5.4 Bad parameter: BODY must be one of 7BIT, 8BITMIME",
    "FROM:<a@example.com> RET=SOME": "501 5.5.4 Bad parameter: RET must be one of FULL, HDRS",
    "FROM:<a@example.com> ENVID": "501 5.5.4 Bad parameter: ENVID must have 1 to 100 characters",
    "FROM:<a@example.com> ENVID=" + "e" * 101: "501 5.5.4 Bad parameter: ENVID must have 1 to 100 characters",
    "FROM:<a@example.com> ENVID=+0D+0A": (
        "501 5.5.4 Bad parameter: the value encodes a character that is not printable US-ASCII"
    ),
    "FROM:<a@example.com> SMTPUTF8 ENVID=ä": "501 5.5.4 Bad parameter: ENVID must be US-ASCII",
    "FROM:<a@example.com> SMTPUTF8=1": "501 5.5.4 Bad parameter: SMTPUTF8 takes no value",
    "FROM:<a@example.com> REQUIRETLS": "530 5.7.10 REQUIRETLS can be asked for over TLS only",
    "FROM:<a@example.com> AUTH=<>": "555 5.5.4 Parameter not recognized: AUTH",
    "FROM:<a@example.com> BY=1;R": "555 5.5.4 Parameter not recognized: BY",
    "FROM:<a@example.com>SIZE=1": "501 5.5.4 A blank must separate the address from its parameters",
    "FROM:<ä@example.com>": "553 5.6.7 Non-ASCII characters need the SMTPUTF8 parameter",
    "FROM:<a>": "501 5.1.7 Bad sender address: the address has no domain",
    "FROM:<postmaster>": "501 5.1.7 Bad sender address: the address has no domain",
    "FROM:<a@-x.test>": "553 5.1.7 Bad sender domain: '-x.test' has the label '-x', which cannot be part of a host name",
    "<a@example.com>": "501 5.5.4 Write it as MAIL FROM:<address>",
    "": "501 5.5.4 Write it as MAIL FROM:<address>",
}


@pytest.mark.parametrize("arguments", MAILS)
def test_mail(arguments: str) -> None:
    result = parse_mail(arguments, PLAIN)
    assert (str(result) if isinstance(result, Reply) else result) == MAILS[arguments]


def test_mail_over_tls_takes_requiretls_and_drops_auth() -> None:
    assert parse_mail("FROM:<a@example.com> REQUIRETLS AUTH=b+40c", OVER_TLS) == Mail("a@example.com", require_tls=True)
    assert str(parse_mail("FROM:<a@example.com> AUTH=+0", OVER_TLS)) == "501 5.5.4 Bad parameter: the value is not xtext"


RCPTS: dict[str, Recipient | str] = {
    "TO:<b@example.com>": Recipient("b@example.com"),
    "to:  <@r.test:b@Example.COM>": Recipient("b@Example.COM"),
    "TO:<b@example.com> NOTIFY=never": Recipient("b@example.com", Notify.NEVER),
    "TO:<b@example.com> NOTIFY=SUCCESS,DELAY": Recipient("b@example.com", Notify.SUCCESS | Notify.DELAY),
    "TO:<b@example.com> ORCPT=rfc822;b+2Bx@example.com": Recipient("b@example.com", orcpt="rfc822;b+x@example.com"),
    "TO:<b@[192.0.2.1]>": Recipient("b@[192.0.2.1]"),
    "TO:<b@example.com> NOTIFY=NEVER,SUCCESS": (
        "501 5.5.4 Bad parameter: NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY"
    ),
    "TO:<b@example.com> NOTIFY": "501 5.5.4 Bad parameter: NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY",
    "TO:<b@example.com> ORCPT=b@example.com": ("501 5.5.4 Bad parameter: ORCPT must be type;address of at most 500 characters"),
    "TO:<b@example.com> ORCPT=rfc822;b+0D+0ABcc:x": (
        "501 5.5.4 Bad parameter: the value encodes a character that is not printable US-ASCII"
    ),
    "TO:<b@example.com> SIZE=1": "555 5.5.4 Parameter not recognized: SIZE",
    "TO:<b@example.com>x": "501 5.5.4 A blank must separate the address from its parameters",
    "TO:<>": "501 5.1.3 Bad recipient address: it is empty",
    "TO:<postmaster>": "550 5.1.1 No mailbox here; write <postmaster@domain>",
    "TO:<b>": "501 5.1.3 Bad recipient address: the address has no domain",
    "TO:<b@ex..test>": "553 5.1.2 Bad recipient domain: 'ex..test' has an empty label",
    "TO:<b@[300.0.2.1]>": "553 5.1.2 Bad recipient domain: [300.0.2.1] is not an IP address literal",
    "TO:<bö@example.com>": "553 5.6.7 Non-ASCII characters need the SMTPUTF8 parameter of MAIL",
    "b@example.com": "501 5.5.4 Write it as RCPT TO:<address>",
}


@pytest.mark.parametrize("arguments", RCPTS)
def test_rcpt(arguments: str) -> None:
    result = parse_rcpt(arguments, PLAIN, smtputf8=False)
    assert (str(result) if isinstance(result, Reply) else result) == RCPTS[arguments]


def test_rcpt_under_smtputf8() -> None:
    assert parse_rcpt("TO:<bö@bücher.example>", PLAIN, smtputf8=True) == Recipient("bö@bücher.example")
    refused = parse_rcpt("TO:<b@\u2488.test>", PLAIN, smtputf8=True)
    assert isinstance(refused, Reply)
    assert str(refused).startswith("553 5.1.2 Bad recipient domain:")


def test_postmaster_stands_for_the_configured_address() -> None:
    assert parse_rcpt("TO:<Postmaster>", OVER_TLS, smtputf8=False) == Recipient("post@example.com")
