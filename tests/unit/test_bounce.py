"""Which notices a run calls for, and what the person who gets them reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sealroute.base.mail import BodyType, Message, Notify, Origin, Recipient, Ret
from sealroute.policy.modes import SmtpDaneMode
from sealroute.policy.reasons import Reason
from sealroute.policy.transport.apply import Hit, apply_rules
from sealroute.policy.transport.match import YES
from sealroute.policy.transport.rule import RuleMode, TransportRule
from sealroute.ports import Group
from sealroute.proto.dsn.parse import Parsed, parse
from sealroute.services.bounce import Bounce, BounceConfig, _span
from tests.unit.deliver_world import CONNECTOR, LONE, World
from tests.unit.fakes import CONTENT, NOW, OTHER_TLS, Peer, numbered

NEVER, SUCCESS, FAILURE, DELAY = Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY
REFUSES = Peer(rcpt={"*": "550 5.1.1 No such user"})
GREYLISTS = Peer(rcpt={"*": "450 4.2.0 Greylisted"})
NO_DSN = Peer(dsn=False)


class Office(World):
    """The delivery world, with real notices."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.deliver._notices = Bounce(BounceConfig("gw.example.com", "postmaster@example.com"), numbered("n"))

    async def after(self, peer: Peer | None, *, hours: float = 0.0, **changes: Any) -> list[tuple[Message, Group]]:
        self.dialer.peers = {LONE: peer} if peer is not None else {}
        self.clock.set(NOW + timedelta(hours=hours))
        settled = await self.run(attempts=int(hours) + 1 if hours else 0, **changes)
        return [(notice, group) for notice, (group,) in settled.notices]

    async def notice(self, peer: Peer | None, *, hours: float = 0.0) -> tuple[Message, Parsed]:
        ((notice, _),) = await self.after(peer, hours=hours)
        parsed = parse(notice.content)
        assert isinstance(parsed, Parsed)
        return notice, parsed


WISHES: list[tuple[Notify | None, Peer | None, float, str]] = [
    # (NOTIFY, what the server does, hours since acceptance, the notice's action)
    (None, REFUSES, 0, "failed"),
    (NEVER, REFUSES, 0, ""),
    (SUCCESS, REFUSES, 0, ""),
    (FAILURE, REFUSES, 0, "failed"),
    (DELAY, REFUSES, 0, ""),
    (None, None, 1, ""),
    (None, None, 4, "delayed"),
    (NEVER, None, 4, ""),
    (FAILURE, None, 4, ""),
    (DELAY, None, 4, "delayed"),
    (DELAY | FAILURE, None, 24, "failed"),
    (None, Peer(), 0, ""),
    (SUCCESS, Peer(), 0, ""),
    (SUCCESS, NO_DSN, 0, "relayed"),
    (None, NO_DSN, 0, ""),
    (FAILURE | DELAY, NO_DSN, 0, ""),
    (NEVER, NO_DSN, 0, ""),
]


@pytest.mark.parametrize(("wish", "peer", "hours", "action"), WISHES)
async def test_notify(wish: Notify | None, peer: Peer | None, hours: float, action: str) -> None:
    office = Office()
    office.to(recipients=(Recipient("bob@contoso.com", wish),))
    notices = await office.after(peer, hours=hours)
    parsed = [parse(notice.content) for notice, _ in notices]
    assert [item.recipients[0]["action"] for item in parsed if isinstance(item, Parsed)] == ([action] if action else [])


@pytest.mark.parametrize(
    "changes", [{"sender": ""}, {"origin": Origin.NOTIFICATION}, {"sender": "nobody"}, {"sender": "a@-bad-"}]
)
@pytest.mark.parametrize("hours", [0, 4, 24])
async def test_nobody_is_told_about_a_notice(changes: dict[str, Any], hours: int) -> None:
    office = Office()
    office.to("bob@contoso.com", **changes)
    assert await office.after(REFUSES if hours == 0 else None, hours=hours) == []


async def test_the_notice_as_a_message() -> None:
    notice, group = (await Office().after(REFUSES))[0]
    assert (notice.envelope.sender, notice.envelope.recipients) == ("", (Recipient("ann@example.com", NEVER),))
    assert (notice.origin, notice.subject, notice.header_message_id) == (
        Origin.NOTIFICATION, "Undeliverable: Figures", "<n-1@gw.example.com>",
    )  # fmt: skip
    assert (notice.envelope.body, notice.envelope.smtputf8, notice.envelope.require_tls) == (BodyType.SEVEN_BIT, False, False)
    assert (group.id, group.message_id, group.domain, group.recipients) == (
        "n-2", "n-1", "example.com", notice.envelope.recipients,
    )  # fmt: skip


async def test_refused_reads_well() -> None:
    _, parsed = await Office().notice(REFUSES)
    assert (
        parsed.human.replace("\r\n", "\n")
        == """\
Your message could not be delivered to the recipients below, and will
not be tried again.

Subject of your message: Figures

To: bob@contoso.com

What happened
  The destination mail server rejected the message: 550 5.1.1 No such
  user (server mx.contoso.com).

Who has to fix it
  The recipient's mail administrator (contoso.com).

How to fix it
  The server's own reply says why.

Details for mail administrators
  Generating server: gw.example.com
  Remote server: mx.contoso.com [192.0.2.1]:25
  Its last reply: 550 5.1.1 No such user
  Code: 550 5.1.1 The destination mail server rejected the message: 550
    5.1.1 No such user
  Decided by: mx-found, dane-absent, sts-absent, opportunistic-tls
  Attempts: 1
  Tried for: 0 min
  Message-ID: <1@example.com>
  Message trace ID: m1

Message hops, the newest first
  1. from client.example.com ([192.0.2.7]) by gw.example.com with ESMTP;
    Sun, 22 Nov 2026 12:00:00 +0000
"""
    )
    assert parsed.recipients[0] == {
        "final-recipient": "rfc822; bob@contoso.com",
        "action": "failed",
        "status": "5.1.1",
        "remote-mta": "dns; mx.contoso.com",
        "diagnostic-code": "smtp; 550 5.1.1 No such user",
        "last-attempt-date": "Sun, 22 Nov 2026 12:00:00 +0000",
    }


async def test_expired_reads_well() -> None:
    office = Office()
    office.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    _, parsed = await office.notice(Peer(OTHER_TLS), hours=24)
    human = " ".join(parsed.human.split())
    assert (
        "What happened The domain failed DANE validation: TLSA 3 0 1 770e6076…08b7376c: it is not the digest or value of the "
        "server's certificate (server mx.contoso.com). It was tried for 24 h 0 min; then its time was up. Who has to fix it "
        "The recipient's mail administrator (contoso.com)."
    ) in human
    assert "Code: 550 5.7.323 tlsa-invalid:" in human
    assert "Its last reply" not in human
    assert parsed.recipients[0]["status"] == "5.7.323"
    assert parsed.recipients[0]["diagnostic-code"].startswith(
        "smtp; 550 5.7.323 tlsa-invalid: The domain failed DANE validation"
    )


async def test_a_notice_names_the_transport_rules_and_so_does_the_trace() -> None:
    rules = [
        TransportRule(guid=f"g{number}", name=f"Rule {number}", version=2, smtp_dane_mode=SmtpDaneMode.MANDATORY, mode=mode)
        for number, mode in enumerate((RuleMode.ENFORCE, RuleMode.AUDIT))
    ]
    ruled = apply_rules(CONNECTOR, [Hit(rule, YES) for rule in rules], {})
    _, parsed = await Office(connector=ruled).notice(REFUSES, hours=24)
    assert "Transport rules: Rule 0 (version 2, g0)" in " ".join(parsed.human.split())
    assert "Rule 1" not in parsed.human
    office = Office(connector=ruled)
    office.dialer.peers = {LONE: REFUSES}
    (event,) = (await office.run()).events
    assert event.description.endswith(" [transport rule 'Rule 0']")
    assert event.data["transport_rules"] == ["Rule 0 (version 2, g0)"]
    only_audited = Office(connector=apply_rules(CONNECTOR, [Hit(rules[1], YES)], {}))
    only_audited.dialer.peers = {LONE: REFUSES}
    (event,) = (await only_audited.run()).events
    assert "transport_rules" not in event.data
    assert "Rule 1" not in event.description


async def test_expired_while_greylisted_shows_the_servers_words() -> None:
    _, parsed = await Office().notice(GREYLISTS, hours=24)
    assert parsed.recipients[0]["diagnostic-code"] == "smtp; 450 4.2.0 Greylisted"
    assert parsed.recipients[0]["status"] == "5.2.0"
    assert "Its last reply: 450 4.2.0 Greylisted" in parsed.human


async def test_a_refused_greeting_is_quoted_in_the_details() -> None:
    _, parsed = await Office().notice(Peer(greeting="554 5.7.1 Listed"), hours=24)
    assert "Its last reply: 554 5.7.1 Listed" in parsed.human
    assert parsed.recipients[0]["status"] == "5.7.1"


async def test_the_delay_notice_says_until_when() -> None:
    notice, parsed = await Office().notice(GREYLISTS, hours=4)
    human = " ".join(parsed.human.split())
    assert notice.subject == "Delivery delayed: Figures"
    assert (
        "you need not send the message again. If it cannot be delivered by 23 Nov 2026, 12:00 UTC, you will be told." in human
    )
    assert "Tried until: 2026-11-23T12:00:00Z" in human
    assert parsed.recipients[0]["will-retry-until"] == "Mon, 23 Nov 2026 12:00:00 +0000"
    assert (parsed.recipients[0]["status"], parsed.returned) == ("4.2.0", "headers")


async def test_no_host_is_somebodys_business_too() -> None:
    office = Office()
    office.dns.fails("MX", "contoso.com")
    _, parsed = await office.notice(None, hours=24)
    human = " ".join(parsed.human.split())
    assert "Who has to fix it Nobody in particular: the network between, usually passing. How to fix it" in human
    assert "Remote server" not in human
    assert "remote-mta" not in parsed.recipients[0]


async def test_relayed() -> None:
    office = Office()
    office.to(recipients=(Recipient("bob@contoso.com", SUCCESS | FAILURE, "rfc822;Bob@Contoso.com"),), ret=Ret.FULL, envid="E1")
    _, parsed = await office.notice(NO_DSN)
    assert parsed.recipients[0] == {
        "original-recipient": "rfc822; Bob@Contoso.com",
        "final-recipient": "rfc822; bob@contoso.com",
        "action": "relayed",
        "status": "2.6.0",
        "remote-mta": "dns; mx.contoso.com",
        "diagnostic-code": "smtp; 250 2.6.0 Queued",
        "last-attempt-date": "Sun, 22 Nov 2026 12:00:00 +0000",
    }
    assert parsed.per_message["original-envelope-id"] == "E1"
    assert parsed.returned == "headers"
    assert "Who has to fix it" not in parsed.human


@pytest.mark.parametrize(
    ("ret", "require_tls", "returned"),
    [(None, False, "full"), (Ret.FULL, False, "full"), (Ret.HDRS, False, "headers"), (Ret.FULL, True, "headers")],
)
async def test_what_is_returned(ret: Ret | None, require_tls: bool, returned: str) -> None:
    office = Office()
    office.to("bob@contoso.com", ret=ret, require_tls=require_tls)
    office.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    notice, parsed = await office.notice(REFUSES)
    assert parsed.returned == returned
    assert notice.envelope.require_tls == require_tls


async def test_one_notice_for_each_kind_of_outcome() -> None:
    office = Office()
    wishes = {"a": None, "b": None, "c": SUCCESS, "d": NEVER}
    office.to(recipients=tuple(Recipient(f"{name}@contoso.com", wish) for name, wish in wishes.items()))
    peer = Peer(
        rcpt={"a@contoso.com": "550 5.1.1 No a", "b@contoso.com": "550 5.1.1 No b", "d@contoso.com": "550 No d"}, dsn=False
    )
    notices = [parse(notice.content) for notice, _ in await office.after(peer)]
    assert [[item["final-recipient"] for item in parsed.recipients] for parsed in notices if isinstance(parsed, Parsed)] == [
        ["rfc822; a@contoso.com", "rfc822; b@contoso.com"], ["rfc822; c@contoso.com"],
    ]  # fmt: skip


async def test_an_address_twice_is_told_of_once() -> None:
    office = Office()
    office.to(recipients=(Recipient("a@contoso.com"), Recipient("a@contoso.com")))
    office.dialer.peers = {LONE: REFUSES}
    settled = await office.deliver.run(office.group, office.mail)
    ((notice, _),) = settled.notices
    parsed = parse(notice.content)
    assert isinstance(parsed, Parsed)
    assert len(parsed.recipients) == 1


# --------------------------------------------------------------------------------------------------- internationalized

UTF8 = CONTENT.replace(b"Subject: Figures", "Subject: Umsätze".encode())


@pytest.mark.parametrize(
    ("changes", "recipient", "global_form", "smtputf8"),
    [
        ({"smtputf8": True}, "bob@contoso.com", False, False),  # asked for and not used
        ({"smtputf8": True, "content": UTF8}, "bob@contoso.com", True, False),
        ({"smtputf8": True}, "jäne@contoso.com", True, False),
        ({"smtputf8": True, "sender": "ännchen@example.com"}, "bob@contoso.com", True, True),
        ({"content": UTF8, "subject": "Umsätze"}, "bob@contoso.com", False, False),  # raw 8-bit header, never asked
    ],
)
async def test_internationalized(changes: dict[str, Any], recipient: str, global_form: bool, smtputf8: bool) -> None:
    office = Office()
    office.to(recipient, **changes)
    notice, parsed = await office.notice(REFUSES)
    assert (b"message/global-delivery-status" in notice.content, notice.envelope.smtputf8) == (global_form, smtputf8)
    assert parsed.recipients[0]["final-recipient"].endswith(recipient)
    head = notice.content.split(b"\r\n\r\n")[0]
    assert head.isascii() != smtputf8
    assert notice.envelope.body is (BodyType.SEVEN_BIT if notice.content.isascii() else BodyType.EIGHT_BIT)


async def test_hostile_subjects_replies_and_ids() -> None:
    office = Office()
    evil = "x\r\nBcc: all@example.com\r\n\r\n"
    office.to("bob@contoso.com", subject=evil * 100, header_message_id=evil, envid=evil)
    notice, parsed = await office.notice(Peer(rcpt={"*": f"550 5.1.1 {evil}"}))
    assert b"\r\nBcc" not in notice.content
    assert len(notice.subject) <= 256
    assert len(parsed.recipients) == 1


async def test_without_a_subject() -> None:
    office = Office()
    office.to("bob@contoso.com", subject="")
    notice, parsed = await office.notice(REFUSES)
    assert notice.subject == "Undeliverable"
    assert "Subject of your message" not in parsed.human


@pytest.mark.parametrize(
    ("span", "words"),
    [(timedelta(seconds=-1), "0 min"), (timedelta(minutes=59), "59 min"), (timedelta(hours=23, minutes=59), "23 h 59 min"),
     (timedelta(days=2, hours=1), "2 days 1 h")],
)  # fmt: skip
def test_spans(span: timedelta, words: str) -> None:
    assert _span(span) == words


async def test_a_finding_of_no_attempt_is_told_with_the_last() -> None:
    office = Office()
    office.two(Peer(unreachable=Reason.CONNECT_REFUSED), Peer(unreachable=Reason.CONNECT_TIMEOUT))
    office.clock.set(NOW + timedelta(hours=24))
    settled = await office.run(attempts=25)
    parsed = parse(settled.notices[0][0].content)
    assert isinstance(parsed, Parsed)
    assert parsed.recipients[0]["remote-mta"] == "dns; mx1.contoso.com"  # the host of the reason shown, not the last tried
