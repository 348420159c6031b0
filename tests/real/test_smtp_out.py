"""Transactions over real TCP and TLS: what arrives, and what a sender is told when the server stops in any state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import uvloop

from sealroute.base.mail import BodyType, Recipient
from sealroute.net.dial import SmtpDialer
from sealroute.net.smtp_connection import DialSettings
from sealroute.policy.attempt import Fate
from sealroute.ports import DialFailed, DialTarget, Session, Transaction, TransactionResult
from simnet.mailhost import PROFILES, Behaviour, MailHost
from simnet.pki import self_signed

GOOD = PROFILES["tls"]
PATIENT = DialSettings(helo_name="gw.example.com")
SMALL = b"X-Sim-Id: 1\r\nSubject: x\r\n\r\n.dot\r\n..two\r\n.\r\nend\r\n"
EIGHT_BIT = b"X-Sim-Id: 2\r\nSubject: x\r\n\r\n" + "Grüße\r\n".encode() * 50
LARGE = b"X-Sim-Id: 3\r\n\r\n" + (b"." * 76 + b"\r\n") * 40_000
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


@pytest.fixture
async def host() -> AsyncIterator[MailHost]:
    host = MailHost()
    yield host
    await host.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    chain, key = self_signed("mx.example.com").write(tmp_path_factory.mktemp("keys"), "mx")
    return str(chain), str(key)


async def connect(host: MailHost, behaviour: Behaviour, files: tuple[str, str], settings: DialSettings = PATIENT) -> Session:
    port = await host.listen("127.0.0.1", 0, behaviour, *files)
    session = await SmtpDialer(settings).dial(DialTarget("mx.example.com", "127.0.0.1", port, "mx.example.com"))
    assert not isinstance(session, DialFailed), session
    return session


def mail(content: bytes = SMALL, *addresses: str) -> Transaction:
    recipients = tuple(Recipient(address) for address in addresses or ("b@example.net",))
    return Transaction("a@example.com", recipients, content, body=BodyType.EIGHT_BIT)


def summary(result: TransactionResult) -> list[str]:
    """What an administrator would read, per recipient."""
    return [f"{item.fate.value}: {item.finding.queued() if item.finding else item.reply}" for item in result.recipients]


DELIVERED = ["delivered: 250 2.0.0 Message taken"]


@pytest.mark.parametrize("profile", ["tls", "tls12", "plain", "chunking", "no-pipelining"])
async def test_content_arrives_byte_identical(host: MailHost, files: tuple[str, str], profile: str) -> None:
    session = await connect(host, PROFILES[profile], files)
    for content in (SMALL, EIGHT_BIT, LARGE):
        assert summary(await session.transact(mail(content))) == DELIVERED
    assert [message.content for message in host.messages] == [SMALL, EIGHT_BIT, LARGE]
    assert [message.id for message in host.messages] == ["1", "2", "3"]
    assert host.dialled == 1
    await session.close()


async def test_what_the_server_learns(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, GOOD, files)
    await session.transact(mail())
    (message,) = host.messages
    assert (message.helo, message.sni, message.tls_version) == ("gw.example.com", "mx.example.com", "TLSv1.3")
    assert (message.mail, message.recipients) == (
        f"<a@example.com> SIZE={len(SMALL)} BODY=8BITMIME",
        ("<b@example.net>",),
    )
    await session.close()


STOPS = {
    "EHLO-TLS": "reply to EHLO gw.example.com",
    "MAIL": f"reply to MAIL FROM:<a@example.com> SIZE={len(SMALL)} BODY=8BITMIME",
    "RCPT": "reply to RCPT TO:<b@example.net>",
    "DATA": "reply to DATA",
    "END": "reply to (end of data)",
    "BDAT": f"reply to BDAT {len(SMALL)} LAST",
}
TWICE = "; the whole message had been sent, so it may arrive twice"


def behaviour_for(stage: str) -> Behaviour:
    return PROFILES["chunking"] if stage == "BDAT" else GOOD


@pytest.mark.parametrize("stage", STOPS)
async def test_a_server_that_hangs_up(host: MailHost, files: tuple[str, str], stage: str) -> None:
    session = await connect(host, replace(behaviour_for(stage), drop_at=stage), files)
    result = await session.transact(mail())
    what = f"the server closed the connection before its {STOPS[stage]}{TWICE if stage in ('END', 'BDAT') else ''}"
    assert summary(result) == [f"deferred: 450 4.4.318 Connection was closed abruptly: {what}"]
    assert (result.reusable, session.usable) == (False, False)
    await session.close()


@pytest.mark.parametrize("stage", STOPS)
async def test_a_server_that_falls_silent(host: MailHost, files: tuple[str, str], stage: str) -> None:
    final = stage in ("END", "BDAT")
    settings = replace(PATIENT, final_reply_timeout_seconds=0.4) if final else replace(PATIENT, command_timeout_seconds=0.4)
    settings = replace(settings, minimum_bytes_per_second=10**9)
    session = await connect(host, replace(behaviour_for(stage), silent_at=stage), files, settings)
    result = await session.transact(mail())
    what = f"no {STOPS[stage]} within 0.4 s{TWICE if final else ''}"
    assert summary(result) == [f"deferred: 450 4.4.315 Connection timed out: {what}"]
    assert not result.reusable


async def test_a_server_that_stops_in_the_middle_of_the_content(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, replace(GOOD, drop_at="CONTENT"), files)
    result = await session.transact(mail(LARGE))
    assert [(item.fate, item.finding and item.finding.reason.value) for item in result.recipients] == [
        (Fate.DEFERRED, "connection-lost")
    ]


async def test_a_server_that_reads_nothing(files: tuple[str, str]) -> None:
    """Content of any size waits for a slow reader outside our memory, and not for ever."""

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert hasattr(transport, "write")
            self.transport = transport
            self.answers = [b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
            transport.write(b"220 mx\r\n")

        def data_received(self, data: bytes) -> None:
            assert hasattr(self.transport, "write")
            assert hasattr(self.transport, "pause_reading")
            self.transport.write(self.answers.pop(0))
            if not self.answers:
                self.transport.pause_reading()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Deaf, "127.0.0.1", 0)
    settings = replace(PATIENT, final_reply_timeout_seconds=0.3, minimum_bytes_per_second=10**9)
    session = await SmtpDialer(settings).dial(DialTarget("mx", "127.0.0.1", server.sockets[0].getsockname()[1], None))
    assert not isinstance(session, DialFailed)
    result = await session.transact(mail(LARGE * 10))
    assert summary(result)[0].startswith("deferred: 450 4.4.315 Connection timed out: no reply to (end of data) within")
    server.close()


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"MAIL": "550 5.7.1 No"}, "failed: 450 4.7.1 The destination mail server rejected the message: 550 5.7.1 No"),
        (
            {"RCPT": "451 4.2.2 Busy"},
            "deferred: 451 4.2.2 The destination mail server asked to try again later: 451 4.2.2 Busy",
        ),
        ({"DATA": "554 5.6.0 No"}, "failed: 450 4.6.0 The destination mail server rejected the message: 554 5.6.0 No"),
        ({"END": "552 5.2.2 Full"}, "failed: 450 4.2.2 The destination mail server rejected the message: 552 5.2.2 Full"),
        ({"END": "250"}, "delivered: 250"),
        (
            {"EHLO-TLS": "550 5.7.1 Not you", "HELO": "550 5.7.1 Not you"},
            "deferred: 450 4.7.1 The destination mail server does not take mail from us: 550 5.7.1 Not you",
        ),
        (
            {"MAIL": "what?"},
            "deferred: 450 4.5.0 The destination mail server broke the SMTP protocol: line 1 of the reply does not begin with "
            "a reply code of 200 to 599: 'what?'",
        ),
    ],
)
async def test_what_the_server_says_is_what_the_sender_reads(
    host: MailHost, files: tuple[str, str], replies: dict[str, str], expected: str
) -> None:
    session = await connect(host, replace(GOOD, replies=replies), files)
    assert summary(await session.transact(mail())) == [expected]
    await session.close()


async def test_a_failed_mail_does_not_spoil_the_next(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, replace(GOOD, replies={"RCPT c@example.net": "550 5.1.1 Unknown"}), files)
    first = await session.transact(mail(SMALL, "c@example.net"))
    assert (first.recipients[0].fate, first.reusable) == (Fate.FAILED, True)
    assert summary(await session.transact(mail())) == DELIVERED
    both = await session.transact(mail(SMALL, "b@example.net", "c@example.net", "d@example.net"))
    assert [item.fate for item in both.recipients] == [Fate.DELIVERED, Fate.FAILED, Fate.DELIVERED]
    assert (host.dialled, len(host.messages)) == (1, 2)
    await session.close()


async def test_many_recipients_go_in_bounded_transactions(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, replace(GOOD, max_recipients=60), files, replace(PATIENT, max_recipients=100))
    addresses = [f"r{number}@example.net" for number in range(250)]
    result = await session.transact(mail(SMALL, *addresses))
    assert {item.fate for item in result.recipients} == {Fate.DELIVERED}
    assert [len(message.recipients) for message in host.messages] == [60, 60, 60, 60, 10]
    assert sorted(name for message in host.messages for name in message.recipients) == sorted(f"<{a}>" for a in addresses)
    await session.close()


@pytest.mark.parametrize(("profile", "passed_on"), [("tls", True), ("no-dsn", False)])
async def test_whether_success_notices_are_ours(host: MailHost, files: tuple[str, str], profile: str, passed_on: bool) -> None:
    session = await connect(host, PROFILES[profile], files)
    assert (await session.transact(mail())).recipients[0].dsn_passed_on is passed_on
    await session.close()


async def test_what_the_server_lacks_is_final_and_said(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, replace(GOOD, size_limit_bytes=100, eight_bit=False), files)
    large = await session.transact(mail(LARGE))
    (fate,) = large.recipients
    assert fate.finding is not None
    assert (fate.fate, str(fate.finding.code)) == (Fate.FAILED, "5.3.4")
    assert fate.finding.detail == f"the message has {len(LARGE)} octets and the server announces a limit of 100"
    (fate,) = (await session.transact(mail(b"\r\n\xff\r\n"))).recipients
    assert fate.finding is not None
    assert fate.finding.returned() == (
        "550 5.6.3 The destination mail server lacks a feature that this message needs: the message has 8-bit content and "
        "the server does not offer 8BITMIME"
    )
    (fate,) = (await session.transact(replace(mail(), require_tls=True))).recipients
    assert fate.finding is not None
    assert fate.finding.returned().startswith("550 5.7.30 REQUIRETLS support required")
    assert session.usable
    await session.close()


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 Idle too long\r\n", b"garbage\r\n"])
async def test_an_idle_session_notices_that_it_is_over(host: MailHost, files: tuple[str, str], farewell: bytes) -> None:
    session = await connect(host, GOOD, files)
    assert summary(await session.transact(mail())) == DELIVERED
    host.hang_up(farewell)
    async with asyncio.timeout(5):
        while session.usable:
            await asyncio.sleep(0.01)
    result = await session.transact(mail())
    assert ([item.fate for item in result.recipients], result.reusable) == ([Fate.DEFERRED], False)
    await session.close()


async def test_a_broken_tls_record_ends_the_session(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, GOOD, files)
    assert summary(await session.transact(mail())) == DELIVERED
    host.send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    async with asyncio.timeout(5):
        while session.usable:
            await asyncio.sleep(0.01)
    (line,) = summary(await session.transact(mail()))
    assert line.startswith("deferred: 450 4.4.318 Connection was closed abruptly: TLS failed: ")
    assert "bad record mac" in line


async def test_a_server_that_speaks_unasked_under_tls(host: MailHost, files: tuple[str, str]) -> None:
    """What stands ready before EHLO could only be taken for the answer to a later command."""
    session = await connect(host, replace(GOOD, after_handshake=b"250 2.0.0 all done\r\n"), files)
    async with asyncio.timeout(5):
        while session.usable:
            await asyncio.sleep(0.01)
    assert session.facts.tls_version == "TLSv1.3"
    (line,) = summary(await session.transact(mail()))
    assert line == (
        "deferred: 450 4.5.0 The destination mail server broke the SMTP protocol: the server sent '250 2.0.0 all done', "
        "which answers no command"
    )


async def test_a_cancelled_transaction_ends_the_session(host: MailHost, files: tuple[str, str]) -> None:
    session = await connect(host, replace(GOOD, silent_at="END"), files)
    task = asyncio.create_task(session.transact(mail()))
    async with asyncio.timeout(5):
        while not any("DATA" in connection.verbs for connection in host.connections):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not session.usable
