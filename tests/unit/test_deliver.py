"""One run of a group through its hosts: each case is a small internet with one difference, and what the trace then says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sealroute.base.dnsdata import Mx, Security
from sealroute.base.errors import SealrouteError, StoreUnavailable
from sealroute.base.mail import Recipient
from sealroute.policy.attempt import Fate
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import Protection
from sealroute.ports import Settled
from sealroute.proto.mtasts.policy import StsMode, StsPolicy
from sealroute.services.deliver import DeliverRules, shown
from sealroute.services.order import Order
from tests.unit.deliver_world import CONNECTOR, HIGH, LONE, LONE6, LOW, MANDATORY, World
from tests.unit.fakes import (
    BROKEN_TLS,
    NO_STARTTLS,
    NOW,
    OTHER_TLS,
    Peer,
    group,
    turns,
)


def told(settled: Settled) -> list[str]:
    """What the administrator reads of it."""
    return [f"{event.event} {event.recipient}: {event.description}" for event in settled.events]


def story(settled: Settled) -> list[str]:
    """The attempts, one line each: where, and why not."""
    return [f"{item.host} {item.ip}: {item.finding.queued() if item.finding else 'ok'}" for item in settled.attempts]


async def test_a_message_is_delivered() -> None:
    world = World()
    settled = await world.run()
    assert told(settled) == [
        "SEND bob@contoso.com: Delivered to mx.contoso.com [192.0.2.1]:25, encrypted, not authenticated (TLSv1.3): "
        "250 2.6.0 Queued"
    ]
    (attempt,) = settled.attempts
    assert attempt.timings.resolve_ms is not None
    assert (attempt.timings.connect_ms, attempt.timings.tls_ms) == (1.0, 2.0)
    assert [said for said, _ in attempt.replies] == [
        "(connect)", "MAIL FROM:<ann@example.com>", "RCPT TO:<bob@contoso.com>", "(end of data)",
    ]  # fmt: skip
    assert attempt.rows == ("mx-found", "dane-absent", "sts-absent", "opportunistic-tls")


async def test_the_second_message_uses_the_plan_and_the_session_of_the_first() -> None:
    world = World()
    await world.run()
    asked = len(world.dns.asked)
    settled = await world.run()
    assert (len(world.dns.asked), world.dialer.addresses) == (asked, [LONE])
    assert settled.attempts[0].reused_connection
    assert settled.attempts[0].timings.connect_ms is None
    assert settled.attempts[0].replies[0][0] == "MAIL FROM:<ann@example.com>"


# --------------------------------------------------------------------------------------------------- order of trying

ORDERS: dict[str, tuple[list[tuple[str, int, list[str]]], list[float], list[str]]] = {
    "by preference": ([("b", 20, ["192.0.2.2"]), ("a", 10, ["192.0.2.1"])], [], ["192.0.2.1", "192.0.2.2"]),
    "equal ones shuffled, first by chance": (
        [("a", 10, ["192.0.2.1"]), ("b", 10, ["192.0.2.2"]), ("c", 20, ["192.0.2.3"])], [0.0, 0.0, 0.0],
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
    ),
    "equal ones shuffled, last by chance": (
        [("a", 10, ["192.0.2.1"]), ("b", 10, ["192.0.2.2"]), ("c", 20, ["192.0.2.3"])], [0.99, 0.0, 0.0],
        ["192.0.2.2", "192.0.2.1", "192.0.2.3"],
    ),
    "IPv6 before IPv4": ([("a", 10, ["192.0.2.1", "2001:db8::1"])], [], ["2001:db8::1", "192.0.2.1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
async def test_hosts_and_addresses_are_tried_in_order(name: str) -> None:
    hosts, chances, dialled = ORDERS[name]
    world = World(chances=chances)
    world.hosts(*((f"{host}.contoso.com", preference, ips) for host, preference, ips in hosts))
    world.dialer.peers = {}
    settled = await world.run()
    assert world.dialer.addresses == dialled
    assert settled.finding is not None
    assert settled.finding.queued() == "450 4.4.315 Connection timed out"


async def test_the_family_that_failed_last_goes_last() -> None:
    world = World()
    world.hosts(("mx.contoso.com", 10, [LONE, LONE6]))
    await world.run()
    assert world.dialer.addresses == [LONE6, LONE]
    await world.sessions.close()
    world.dialer.dialled.clear()
    world.dialer.peers = {}
    await world.run(attempts=1)
    assert world.dialer.addresses == [LONE, LONE6]


async def test_a_family_that_is_switched_off_is_named() -> None:
    world = World(rules=DeliverRules(allow_private_destinations=True, families=(4,)))
    world.hosts(("mx.contoso.com", 10, [LONE6]))
    settled = await world.run()
    assert world.dialer.addresses == []
    assert story(settled) == [
        "mx.contoso.com : 450 4.4.312 Our settings do not allow to connect to the mail host's address: mx.contoso.com has no "
        "address but of IPv6, which delivery.address_families leaves out"
    ]


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.0.1", "::1", "fe80::1", "::ffff:10.0.0.1", "224.0.0.1",
                                "2002:7f00:1::1", "100.64.0.1", "0.0.0.0"])  # fmt: skip
async def test_an_mx_that_points_inside_is_not_dialled(ip: str) -> None:
    world = World(rules=DeliverRules())
    world.hosts(("mx.contoso.com", 10, [ip]))
    settled = await world.run()
    assert world.dialer.addresses == []
    assert story(settled) == [
        f"mx.contoso.com {ip}: 450 4.4.312 Our settings do not allow to connect to the mail host's address: {ip} is not a "
        "public address, and delivery.allow_private_destinations is off"
    ]


async def test_a_public_address_is_dialled() -> None:
    world = World(rules=DeliverRules())
    world.hosts(("mx.contoso.com", 10, ["11.0.0.1", "2600::1"]))
    await world.run()
    assert world.dialer.addresses == ["2600::1", "11.0.0.1"]


async def test_a_run_tries_sixteen_addresses_and_in_time_every_one_of_a_block() -> None:
    block = replace(CONNECTOR, use_mx_record=False, smart_hosts=("192.0.2.0/24",), smtp_dane_mode=SmtpDaneMode.NONE)
    world = World(block, chances=[0.0])
    await world.run()
    assert world.dialer.addresses == [f"192.0.2.{number}" for number in range(1, 17)][: len(world.dialer.addresses)]
    world.dialer.peers, world.dialer.dialled = {}, []
    world.chances = [0.5]
    await world.run(attempts=1)
    assert world.dialer.addresses == [f"192.0.2.{number}" for number in range(128, 144)]


# ----------------------------------------------------------------------------------------- what one host says, and others

SCENES: dict[str, tuple[Peer, Peer, list[str], list[str]]] = {
    # (preferred host, spare host, addresses dialled, what the trace says)
    "DANE fails at the first, holds at the second": (
        Peer(OTHER_TLS), Peer(), [LOW, HIGH],
        ["SEND bob@contoso.com: Delivered to mx2.contoso.com [192.0.2.20]:25, authenticated by DANE (TLSv1.3): 250 2.6.0 Queued"],
    ),
    "DANE fails at both": (
        Peer(OTHER_TLS), Peer(NO_STARTTLS), [LOW, HIGH],
        ["DEFER bob@contoso.com: 450 4.7.323 tlsa-invalid: The domain failed DANE validation: TLSA 3 0 1 "
            "770e6076…08b7376c: it is not the digest or value of the server's certificate"],
    ),
    "security before network, whatever the preference": (
        Peer(unreachable=Reason.CONNECT_REFUSED), Peer(NO_STARTTLS), [LOW, HIGH],
        ["DEFER bob@contoso.com: 450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail: "
         "STARTTLS is not offered"],
    ),
    "the most preferred of equals": (
        Peer(unreachable=Reason.CONNECT_REFUSED), Peer(unreachable=Reason.CONNECT_TIMEOUT), [LOW, HIGH],
        ["DEFER bob@contoso.com: 450 4.4.316 Connection refused"],
    ),
    "a final no to MAIL is not tried elsewhere": (
        Peer(mail="550 5.7.1 Not you"), Peer(), [LOW],
        ["FAIL bob@contoso.com: 550 5.7.1 The destination mail server rejected the message: 550 5.7.1 Not you"],
    ),
    "a final no to RCPT is not tried elsewhere": (
        Peer(rcpt={"*": "550 5.1.1 No such user"}), Peer(), [LOW],
        ["FAIL bob@contoso.com: 550 5.1.1 The destination mail server rejected the message: 550 5.1.1 No such user"],
    ),
    "a final no to the content is not tried elsewhere": (
        Peer(content="554 5.7.1 Spam"), Peer(), [LOW],
        ["FAIL bob@contoso.com: 554 5.7.1 The destination mail server rejected the message: 554 5.7.1 Spam"],
    ),
    "a 5yz greeting rules the host out": (
        Peer(greeting="554 5.7.1 Listed"), Peer(), [LOW, HIGH],
        ["SEND bob@contoso.com: Delivered to mx2.contoso.com [192.0.2.20]:25, authenticated by DANE (TLSv1.3): 250 2.6.0 Queued"],
    ),
    "5yz greetings everywhere hold the mail": (
        Peer(greeting="554 5.7.1 Listed"), Peer(greeting="521 No mail here"), [LOW, HIGH],
        ["DEFER bob@contoso.com: 450 4.7.1 The destination mail server does not take mail from us: 554 5.7.1 Listed"],
    ),
    "4yz to RCPT: the next host": (
        Peer(rcpt={"*": "452 4.2.2 Mailbox full"}), Peer(), [LOW, HIGH],
        ["SEND bob@contoso.com: Delivered to mx2.contoso.com [192.0.2.20]:25, authenticated by DANE (TLSv1.3): 250 2.6.0 Queued"],
    ),
    "451 to MAIL is no greylisting: the next host": (
        Peer(mail="451 4.3.0 Try later"), Peer(), [LOW, HIGH],
        ["SEND bob@contoso.com: Delivered to mx2.contoso.com [192.0.2.20]:25, authenticated by DANE (TLSv1.3): 250 2.6.0 Queued"],
    ),
    "451 to the content is no greylisting: the next host": (
        Peer(content="451 4.3.0 Try later"), Peer(), [LOW, HIGH],
        ["SEND bob@contoso.com: Delivered to mx2.contoso.com [192.0.2.20]:25, authenticated by DANE (TLSv1.3): 250 2.6.0 Queued"],
    ),
    "greylisting stays with the route": (
        Peer(rcpt={"*": "450 4.2.0 Greylisted"}), Peer(), [LOW],
        ["DEFER bob@contoso.com: 450 4.2.0 The destination mail server asked to try again later: 450 4.2.0 Greylisted"],
    ),
    "the connection breaks in the middle": (
        Peer(lost="once"), Peer(), [LOW, HIGH],
        ["SEND bob@contoso.com: Delivered to mx2.contoso.com [192.0.2.20]:25, authenticated by DANE (TLSv1.3): 250 2.6.0 Queued"],
    ),
    "a message that the server cannot take": (
        Peer(lacks=Reason.FEATURE_UNSUPPORTED), Peer(), [LOW],
        ["FAIL bob@contoso.com: 550 5.6.7 The destination mail server lacks a feature that this message needs"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
async def test_what_one_host_says(name: str) -> None:
    low, high, dialled, expected = SCENES[name]
    world = World()
    world.two(low, high, tlsa=True)
    settled = await world.run()
    assert (world.dialer.addresses, told(settled)) == (dialled, expected)


async def test_a_5yz_greeting_at_the_only_host_never_returns_the_mail_before_its_time() -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(greeting="554 5.7.1 Listed")
    assert (await world.run()).next_attempt_at is not None
    world.clock.advance(hours=24)
    assert told(await world.run(attempts=20)) == [
        "FAIL bob@contoso.com: 554 5.7.1 The destination mail server does not take mail from us: 554 5.7.1 Listed"
    ]


async def test_421_in_the_greeting_goes_on_to_the_hosts_next_address() -> None:
    world = World()
    world.hosts(("mx.contoso.com", 10, ["192.0.2.1", "192.0.2.2"]))
    world.dialer.peers = {"192.0.2.1": Peer(greeting="421 4.3.2 Busy"), "192.0.2.2": Peer()}
    settled = await world.run()
    assert world.dialer.addresses == ["192.0.2.1", "192.0.2.2"]
    assert settled.fates[0].fate is Fate.DELIVERED


@pytest.mark.parametrize("text", ["450 4.7.1 Not you", "554 5.7.1 Listed"])
async def test_other_refusals_stand_for_every_address_of_the_host(text: str) -> None:
    world = World()
    world.hosts(("mx.contoso.com", 10, ["192.0.2.1", "192.0.2.2"]))
    world.dialer.peers = {"192.0.2.1": Peer(greeting=text), "192.0.2.2": Peer()}
    await world.run()
    assert world.dialer.addresses == ["192.0.2.1"]


# --------------------------------------------------------------------------------------------------------- greylisting


async def test_a_greylisting_route_is_tried_first_next_time() -> None:
    world = World()
    world.hosts(("mx1.contoso.com", 10, [LOW]), ("mx2.contoso.com", 20, ["192.0.2.20", "192.0.2.21"]))
    world.dialer.peers = {"192.0.2.21": Peer(rcpt={"*": "451 4.7.1 Greylisted, come back"})}
    first = await world.run()
    assert first.last_route == ("mx2.contoso.com", "192.0.2.21")
    await world.sessions.close()
    world.dialer.peers = {"192.0.2.21": Peer(), LOW: Peer()}
    world.dialer.dialled.clear()
    second = await world.run(attempts=1, last_route=first.last_route)
    assert (world.dialer.addresses, second.fates[0].fate) == (["192.0.2.21"], Fate.DELIVERED)


async def test_a_route_that_puts_us_off_twice_does_not_keep_the_mail_from_the_others() -> None:
    world = World()
    world.two(Peer(rcpt={"*": "451 4.3.5 Policy server broken"}), Peer())
    first = await world.run()
    assert (world.dialer.addresses, first.next_attempt_at is not None) == ([LOW], True)
    world.dialer.dialled.clear()
    second = await world.run(attempts=1, last_route=first.last_route)
    assert second.fates[0].fate is Fate.DELIVERED
    assert world.dialer.addresses == [HIGH]  # the session to the other was kept


async def test_each_recipient_is_told_what_was_said_about_it() -> None:
    world = World()
    world.to("a@contoso.com", "b@contoso.com", "c@contoso.com", "d@contoso.com")
    world.dialer.peers[LONE] = Peer(
        rcpt={"a@contoso.com": "450 4.2.0 Greylisted", "b@contoso.com": "452 4.2.2 Full", "c@contoso.com": "550 5.1.1 Unknown"}
    )
    settled = await world.run()
    later = "The destination mail server asked to try again later"
    assert sorted(told(settled)) == [
        f"DEFER a@contoso.com: 450 4.2.0 {later}: 450 4.2.0 Greylisted",
        f"DEFER b@contoso.com: 452 4.2.2 {later}: 452 4.2.2 Full",
        "FAIL c@contoso.com: 550 5.1.1 The destination mail server rejected the message: 550 5.1.1 Unknown",
        "SEND d@contoso.com: Delivered to mx.contoso.com [192.0.2.1]:25, encrypted, not authenticated (TLSv1.3): 250 2.6.0 Queued",
    ]


async def test_the_next_host_gets_only_who_is_left() -> None:
    world = World()
    world.to("a@contoso.com", "b@contoso.com")
    world.two(Peer(rcpt={"b@contoso.com": "452 4.2.2 Full"}), Peer())
    settled = await world.run()
    assert [[item.address for item in session.sent[0].recipients] for session in world.dialer.sessions] == [
        ["a@contoso.com", "b@contoso.com"], ["b@contoso.com"],
    ]  # fmt: skip
    assert {fate.fate for fate in settled.fates} == {Fate.DELIVERED}


# ------------------------------------------------------------------------------------------------------------ sessions


@pytest.mark.parametrize("lost", ["idle", "421"])
async def test_a_kept_session_that_died_is_dialled_again_once(lost: str) -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(lost=lost)
    await world.run()
    settled = await world.run()
    assert (settled.fates[0].fate, world.dialer.addresses) == (Fate.DELIVERED, [LONE, LONE])
    assert [attempt.reused_connection for attempt in settled.attempts] == [False]


async def test_a_new_session_that_dies_is_not_dialled_again() -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(lost="once")
    settled = await world.run()
    assert world.dialer.addresses == [LONE]
    assert story(settled) == ["mx.contoso.com 192.0.2.1: 450 4.4.318 Connection was closed abruptly"]


async def test_after_a_failed_handshake_plaintext_where_nothing_asks_for_tls() -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(BROKEN_TLS)
    settled = await world.run()
    assert [target.starttls for target in world.dialer.dialled] == [True, False]
    assert told(settled)[0].startswith("SEND bob@contoso.com: Delivered to mx.contoso.com [192.0.2.1]:25, in plaintext: 250")
    assert story(settled) == [
        "mx.contoso.com 192.0.2.1: 450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive "
        "mail: the TLS handshake failed: no shared cipher",
        "mx.contoso.com 192.0.2.1: ok",
    ]


@pytest.mark.parametrize(
    ("connector", "tlsa", "code"),
    [(replace(CONNECTOR, tls_settings=TlsSettings.ENCRYPTION_ONLY), False, "450 4.4.317"), (CONNECTOR, True, "450 4.7.321")],
)
async def test_after_a_failed_handshake_no_plaintext_where_tls_is_asked(connector: Connector, tlsa: bool, code: str) -> None:
    world = World(connector)
    world.hosts(("mx.contoso.com", 10, [LONE]), tlsa=tlsa)
    world.dialer.peers[LONE] = Peer(BROKEN_TLS)
    settled = await world.run()
    assert [target.starttls for target in world.dialer.dialled] == [True]
    assert settled.finding is not None
    assert settled.finding.queued().startswith(code)


async def test_a_session_of_a_weaker_requirement_is_not_used_for_a_stronger_one() -> None:
    world = World(replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.NONE))
    world.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    world.dialer.peers[LONE] = Peer(OTHER_TLS)
    assert (await world.run()).attempts[0].verdict is not None
    world.connector = MANDATORY
    settled = await world.run()
    assert world.dialer.addresses == [LONE, LONE]
    assert settled.finding is not None
    assert settled.finding.reason is Reason.TLSA_INVALID


# ---------------------------------------------------------------------------------------------------------- REQUIRETLS


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (Peer(lacks=Reason.REQUIRETLS_UNSUPPORTED), Peer(), "SEND bob@contoso.com: Delivered to mx2.contoso.com"),
        (
            Peer(lacks=Reason.REQUIRETLS_UNSUPPORTED), Peer(lacks=Reason.REQUIRETLS_UNSUPPORTED),
            "FAIL bob@contoso.com: 550 5.7.30 REQUIRETLS support required",
        ),
        (
            Peer(lacks=Reason.REQUIRETLS_UNSUPPORTED), Peer(unreachable=Reason.CONNECT_TIMEOUT),
            "DEFER bob@contoso.com: 450 4.4.315 Connection timed out",
        ),
        (Peer(NO_STARTTLS), Peer(lacks=Reason.REQUIRETLS_UNSUPPORTED), "DEFER bob@contoso.com: 450 4.7.321 starttls-not-supp"),
    ],
)  # fmt: skip
async def test_requiretls_is_final_only_when_every_host_lacks_it(low: Peer, high: Peer, expected: str) -> None:
    world = World()
    world.to("bob@contoso.com", require_tls=True)
    world.two(low, high, tlsa=True)
    (line,) = told(await world.run())
    assert line.startswith(expected)


# --------------------------------------------------------------------------------------------------- holding and plans


async def test_a_bogus_host_is_passed_over_and_recorded() -> None:
    world = World()
    world.two(Peer(), Peer())
    world.dns.fails("TLSA", "_25._tcp.mx1.contoso.com", Security.BOGUS, "signature expired")
    settled = await world.run()
    assert world.dialer.addresses == [HIGH]
    assert story(settled) == [
        "mx1.contoso.com : 450 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records: "
        "TLSA _25._tcp.mx1.contoso.com: signature expired",
        "mx2.contoso.com 192.0.2.20: ok",
    ]


async def test_no_host_at_all() -> None:
    world = World()
    world.dns.fails("MX", "contoso.com")
    settled = await world.run()
    assert story(settled) == [" : 450 4.4.312 DNS query failed: MX contoso.com: SERVFAIL"]
    assert settled.attempts[0].timings.resolve_ms is not None
    world.dns.has("MX", "contoso.com", Mx(0, ""))
    assert told(await world.run(attempts=1)) == [
        "FAIL bob@contoso.com: 556 5.1.10 Recipient domain does not accept mail (null MX)"
    ]


async def test_a_null_mx_beside_others_is_a_mistake_and_no_reason_to_return_mail() -> None:
    world = World()
    world.dns.has("MX", "contoso.com", Mx(0, ""), Mx(10, "mx.contoso.com"))
    assert (await world.run()).fates[0].fate is Fate.DELIVERED


@pytest.mark.parametrize(
    ("attempts", "age", "asks_dns", "rechecks"),
    [(0, timedelta(), False, False), (1, timedelta(minutes=15), True, False), (9, timedelta(hours=24), True, True),
     (0, timedelta(hours=30), True, True)],
)  # fmt: skip
async def test_first_tries_use_the_plan_at_hand_and_the_last_looks_at_everything(
    attempts: int, age: timedelta, asks_dns: bool, rechecks: bool
) -> None:
    world = World()
    await world.run()
    world.dns.asked.clear()
    world.sts.asked.clear()
    world.group = group(world.mail, queued_at=NOW - age, attempts=attempts)
    await world.run()
    assert (bool(world.dns.asked), ("contoso.com", True) in world.sts.asked) == (asks_dns, rechecks)


async def test_a_plan_whose_hosts_failed_is_dropped_but_not_for_what_a_server_said() -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(rcpt={"*": "450 4.2.0 Greylisted"})
    await world.run()
    world.dns.asked.clear()
    await world.run()
    assert world.dns.asked == []
    world.dialer.peers = {}
    await world.sessions.close()
    await world.run()
    assert world.dns.asked == []
    await world.run()
    assert world.dns.asked != []


async def test_expiry_the_last_try_is_made_at_the_end_and_then_the_mail_is_returned() -> None:
    world = World()
    world.dialer.peers = {}
    world.clock.set(NOW + timedelta(hours=23, minutes=30))
    almost = await world.run(attempts=24)
    assert almost.next_attempt_at == NOW + timedelta(hours=24)
    world.clock.set(NOW + timedelta(hours=24))
    last = await world.run(attempts=25)
    assert world.dialer.addresses == [LONE, LONE]
    assert told(last) == ["FAIL bob@contoso.com: 550 5.4.315 Connection timed out"]


async def test_a_run_that_outlasts_the_expiry_is_followed_by_a_last_try() -> None:
    world = World()
    world.dialer.gate = asyncio.Event()
    world.dialer.peers = {}
    world.clock.set(NOW + timedelta(hours=24, seconds=-1))
    task = asyncio.create_task(world.run(attempts=25))
    await turns()
    world.clock.advance(seconds=31)
    world.dialer.gate.set()
    settled = await task
    assert settled.next_attempt_at == NOW + timedelta(hours=24)
    assert settled.fates[0].fate is Fate.DEFERRED


async def test_expired_with_a_peers_reply_it_is_the_reply_that_is_shown() -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(rcpt={"*": "450 4.2.0 Greylisted"})
    world.clock.set(NOW + timedelta(hours=24))
    settled = await world.run(attempts=25)
    assert str(settled.fates[0].reply) == "450 4.2.0 Greylisted"
    assert told(settled) == [
        "FAIL bob@contoso.com: 550 5.2.0 The destination mail server asked to try again later: 450 4.2.0 Greylisted"
    ]


async def test_the_delay_notice_is_called_for_once() -> None:
    world = World()
    world.dialer.peers = {}
    world.clock.set(NOW + timedelta(hours=3, minutes=59))
    assert not (await world.run(attempts=5)).delay_notified
    world.clock.set(NOW + timedelta(hours=4))
    assert (await world.run(attempts=6)).delay_notified
    assert world.notices.runs[-1].delay_notice
    assert (await world.run(attempts=7, delay_notified=True)).delay_notified
    assert not world.notices.runs[-1].delay_notice


@pytest.mark.parametrize(("chance", "minutes"), [(0.0, 13.5), (0.5, 15.0), (1.0, 16.5)])
async def test_the_next_attempt_is_after_the_schedule_give_or_take_a_tenth(chance: float, minutes: float) -> None:
    world = World(chances=[chance])
    world.dialer.peers = {}
    assert (await world.run()).next_attempt_at == NOW + timedelta(minutes=minutes)


# ------------------------------------------------------------------------------------------------------ mail transport


async def test_an_enforced_policy_that_does_not_name_the_host_holds() -> None:
    world = World(replace(CONNECTOR, mta_sts_mode=MtaStsMode.OPPORTUNISTIC))
    world.sts.has("contoso.com", StsPolicy(StsMode.ENFORCE, 86400, ("other.contoso.com",)))
    settled = await world.run()
    assert world.dialer.addresses == []
    assert told(settled) == [
        "DEFER bob@contoso.com: 450 4.4.8 MX hosts of contoso.com failed MTA-STS validation: mx.contoso.com is not among: "
        "other.contoso.com"
    ]


async def test_a_store_that_cannot_be_read_sends_nothing() -> None:
    world = World()
    world.sts.known["contoso.com"] = StoreUnavailable("the disk is gone")
    with pytest.raises(StoreUnavailable):
        await world.run()
    assert world.dialer.addresses == []
    world.sts.known.clear()
    assert (await world.run()).fates[0].fate is Fate.DELIVERED


async def test_a_stored_policy_that_cannot_be_read_holds_and_says_so() -> None:
    world = World()
    world.sts.known["contoso.com"] = SealrouteError("The stored MTA-STS policy of contoso.com cannot be read.")
    settled = await world.run()
    assert world.dialer.addresses == []
    assert told(settled) == [
        "DEFER bob@contoso.com: 450 4.7.327 sts-policy-fetch-error: The destination's MTA-STS policy could not be fetched: "
        "The stored MTA-STS policy of contoso.com cannot be read."
    ]


# ------------------------------------------------------------------------------------------------------- breaking off


async def test_cancelled_before_anybody_has_it() -> None:
    world = World()
    world.dialer.peers[LONE] = Peer(gate=asyncio.Event())
    task = asyncio.create_task(world.run())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert (world.sessions._room._value, world.dialer.open) == (500, 0)


@pytest.mark.parametrize("how", ["cancelled", "a bug"])
async def test_broken_off_after_somebody_has_it_is_recorded(how: str) -> None:
    world = World()
    world.to("a@contoso.com", "b@contoso.com")
    second = Peer(gate=asyncio.Event()) if how == "cancelled" else Peer(explodes=True)
    world.two(Peer(rcpt={"b@contoso.com": "452 4.2.2 Full"}), second)
    task = asyncio.create_task(world.run())
    await turns()
    task.cancel()
    settled = await task
    assert [(fate.address, fate.fate) for fate in settled.fates] == [
        ("a@contoso.com", Fate.DELIVERED), ("b@contoso.com", Fate.DEFERRED),
    ]  # fmt: skip


async def test_a_notice_that_cannot_be_made_does_not_undo_a_delivery() -> None:
    world = World()
    world.notices.broken = True
    settled = await world.run()
    assert (settled.fates[0].fate, settled.notices) == (Fate.DELIVERED, ())


# --------------------------------------------------------------------------------------------------------- small parts


def test_the_reason_shown() -> None:
    network, security = Finding(Reason.CONNECT_TIMEOUT), Finding(Reason.TLSA_INVALID)
    final, later = Finding(Reason.REQUIRETLS_UNSUPPORTED), Finding(Reason.TRY_LATER)
    assert shown([]) is None
    assert shown([(0, network), (1, security)]) is security
    assert shown([(1, later), (0, network)]) is network
    assert shown([(0, final), (1, later)]) is later
    assert shown([(0, final), (1, final)]) is final


def test_remembered_families_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealroute.services.order.MAX_REMEMBERED_HOSTS", 3)
    order = Order(lambda: 0.0)
    for number in range(10):
        order.failed(f"mx{number}", LONE)
    assert len(order._last_failed) <= 3


async def test_smart_hosts_are_tried_and_their_private_addresses_need_leave_too() -> None:
    world = World(replace(CONNECTOR, use_mx_record=False, smart_hosts=("10.0.0.5",)), rules=DeliverRules())
    settled = await world.run()
    assert settled.finding is not None
    assert settled.finding.reason is Reason.ADDRESS_NOT_ALLOWED


async def test_protection_is_recorded() -> None:
    world = World(MANDATORY)
    world.hosts(("mx.contoso.com", 10, [LONE]), tlsa=True)
    (attempt,) = (await world.run()).attempts
    assert attempt.verdict is not None
    assert (attempt.verdict.protection, attempt.verdict.would_satisfy_dane) == (Protection.DANE, True)


async def test_an_address_twice_in_a_group_has_one_end() -> None:
    world = World()
    world.to(recipients=(Recipient("a@contoso.com"), Recipient("a@contoso.com")))
    world.dialer.peers = {}
    settled = await world.deliver.run(world.group, world.mail)
    assert {fate.fate for fate in settled.fates} == {Fate.DEFERRED}
