"""Opening sessions over real TCP and TLS: what each kind of server leads to, as the dialler reports it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import uvloop

from sealroute.net.dial import SmtpDialer
from sealroute.net.smtp_connection import DialSettings
from sealroute.ports import Dialer, DialFailed, DialTarget, Session
from simnet.mailhost import PROFILES, Behaviour, MailHost
from simnet.pki import Ca, Entity
from tests.busy import busy_loop

GOOD = PROFILES["tls"]
PATIENT = DialSettings(helo_name="gw.example.com")
IMPATIENT = {
    # Only the silence in question is to run into a time limit, however busy the machine.
    "CONNECT": replace(PATIENT, greeting_timeout_seconds=0.4),
    "EHLO": replace(PATIENT, command_timeout_seconds=0.4),
    "STARTTLS": replace(PATIENT, command_timeout_seconds=0.4),
    "HANDSHAKE": replace(PATIENT, tls_timeout_seconds=0.4),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Overriding the"),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated"),
]


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


@pytest.fixture
async def host() -> AsyncIterator[MailHost]:
    host = MailHost()
    yield host
    await host.close()


@pytest.fixture(scope="module")
def entity() -> Entity:
    return Ca("Root").ca("Upper").ca("Issuing").leaf("mx.example.com")


@pytest.fixture(scope="module")
def files(entity: Entity, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    chain, key = entity.write(tmp_path_factory.mktemp("keys"), "mx", root=True)
    return str(chain), str(key)


async def dial(
    host: MailHost, behaviour: Behaviour, files: tuple[str, str], settings: DialSettings, *, starttls: bool = True
) -> Session | DialFailed:
    port = await host.listen("127.0.0.1", 0, behaviour, *files)
    target = DialTarget("mx.example.com", "127.0.0.1", port, "mx.example.com", starttls)
    dialer: Dialer = SmtpDialer(settings)
    return await dialer.dial(target)


def summary(result: Session | DialFailed) -> str:
    """What an administrator would read."""
    if isinstance(result, DialFailed):
        return f"failed: {result.finding.queued()}"
    facts = result.facts
    how = facts.tls_version or (f"no TLS: {facts.handshake_error}" if facts.handshake_error else "plaintext")
    return f"{'usable' if result.usable else 'unusable'}, offered {facts.starttls_offered}, {facts.starttls_reply}, {how}"


GRANTED = "220 2.0.0 Go ahead"
# The TLS library's words differ between its versions: * stands for what does.
CASES = {
    "tls": (GOOD, f"usable, offered True, {GRANTED}, TLSv1.3"),
    "tls12": (PROFILES["tls12"], f"usable, offered True, {GRANTED}, TLSv1.2"),
    "tls11": (PROFILES["tls11"], f"unusable, offered True, {GRANTED}, no TLS: * alert protocol version"),
    "plain": (PROFILES["plain"], "usable, offered False, None, plaintext"),
    "minimal": (PROFILES["minimal"], "usable, offered False, None, plaintext"),
    "helo only": (
        replace(GOOD, replies={"EHLO": "502 5.5.1 What?"}),
        "usable, offered False, None, plaintext",
    ),
    "starttls454": (
        PROFILES["starttls454"],
        "usable, offered True, 454 4.7.0 TLS not available due to local problem, plaintext",
    ),
    "starttls421": (
        replace(GOOD, replies={"STARTTLS": "421 4.3.2 Closing"}),
        "unusable, offered True, 421 4.3.2 Closing, plaintext",
    ),
    "handshake alert": (
        PROFILES["handshake-alert"],
        f"unusable, offered True, {GRANTED}, no TLS: * alert handshake failure",
    ),
    "handshake garbage": (
        PROFILES["handshake-garbage"],
        f"unusable, offered True, {GRANTED}, no TLS: wrong version number",
    ),
    "handshake dropped": (
        replace(GOOD, drop_at="HANDSHAKE"),
        f"unusable, offered True, {GRANTED}, no TLS: the server closed the connection during the TLS handshake",
    ),
    "handshake silent": (
        replace(GOOD, silent_at="HANDSHAKE"),
        f"unusable, offered True, {GRANTED}, no TLS: the TLS handshake was not finished after 0.4 s",
    ),
    "injection": (
        PROFILES["inject"],
        "failed: 450 4.5.0 The destination mail server broke the SMTP protocol: the server sent '250 2.0.0 injected' in "
        "plaintext after its reply to STARTTLS, which answers no command",
    ),
    "greeting 554": (
        replace(GOOD, replies={"CONNECT": "554 5.7.1 Not you"}),
        "failed: 450 4.7.1 The destination mail server does not take mail from us: 554 5.7.1 Not you",
    ),
    "greeting 421": (
        replace(GOOD, replies={"CONNECT": "421 4.3.2 Full"}),
        "failed: 421 4.3.2 The destination mail server asked to try again later: 421 4.3.2 Full",
    ),
    "no SMTP": (
        replace(GOOD, replies={"CONNECT": "SSH-2.0-x"}),
        "failed: 450 4.5.0 The destination mail server broke the SMTP protocol: line 1 of the reply does not begin with a "
        "reply code of 200 to 599: 'SSH-2.0-x'",
    ),
    "greeting dropped": (
        replace(GOOD, drop_at="CONNECT"),
        "failed: 450 4.4.318 Connection was closed abruptly: the server closed the connection before its greeting",
    ),
    "greeting silent": (
        replace(GOOD, silent_at="CONNECT"),
        "failed: 450 4.4.315 Connection timed out: no greeting within 0.4 s",
    ),
    "EHLO dropped": (
        replace(GOOD, drop_at="EHLO"),
        "failed: 450 4.4.318 Connection was closed abruptly: the server closed the connection before its reply to "
        "EHLO gw.example.com",
    ),
    "EHLO silent": (
        replace(GOOD, silent_at="EHLO"),
        "failed: 450 4.4.315 Connection timed out: no reply to EHLO gw.example.com within 0.4 s",
    ),
    "STARTTLS dropped": (
        replace(GOOD, drop_at="STARTTLS"),
        "failed: 450 4.4.318 Connection was closed abruptly: the server closed the connection before its reply to STARTTLS",
    ),
    "STARTTLS silent": (
        replace(GOOD, silent_at="STARTTLS"),
        "failed: 450 4.4.315 Connection timed out: no reply to STARTTLS within 0.4 s",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_a_server_leads_to(host: MailHost, files: tuple[str, str], name: str) -> None:
    behaviour, expected = CASES[name]
    result = await dial(host, behaviour, files, IMPATIENT.get(behaviour.silent_at, PATIENT))
    assert fnmatchcase(summary(result), expected), summary(result)
    if not isinstance(result, DialFailed):
        await result.close()


async def test_findings_name_the_host_and_address(host: MailHost, files: tuple[str, str]) -> None:
    result = await dial(host, PROFILES["inject"], files, PATIENT)
    assert isinstance(result, DialFailed)
    assert (result.finding.host, result.finding.ip) == ("mx.example.com", "127.0.0.1")
    assert [said for said, _ in result.replies] == ["(connect)", "EHLO gw.example.com", "STARTTLS"]


@pytest.mark.parametrize("version", ["tls", "tls12"])
async def test_the_chain_comes_as_presented_every_time(
    host: MailHost, entity: Entity, files: tuple[str, str], version: str
) -> None:
    """Also the second time: a resumed session would present nothing."""
    for _ in range(2):
        session = await dial(host, PROFILES[version], files, PATIENT)
        assert not isinstance(session, DialFailed)
        assert session.facts.chain == tuple(entity.chain(root=True))
        await session.close()


async def test_a_chain_in_odd_order_stays_so(host: MailHost, entity: Entity, tmp_path: Path) -> None:
    stranger = Ca("Stranger")
    root, upper, issuing = reversed(entity.issuers(root=True))
    order = [entity, root, stranger, upper, issuing]
    chain, key = tmp_path / "odd.pem", tmp_path / "odd.key"
    chain.write_bytes(b"".join(item.pem for item in order))
    key.write_bytes(entity.key_pem)
    session = await dial(host, GOOD, (str(chain), str(key)), PATIENT)
    assert not isinstance(session, DialFailed)
    assert session.facts.chain == tuple(item.der for item in order)
    await session.close()


async def test_nothing_is_said_between_handshake_and_transaction(host: MailHost, files: tuple[str, str]) -> None:
    session = await dial(host, GOOD, files, PATIENT)
    await asyncio.sleep(0.05)
    (connection,) = host.connections
    assert connection.verbs == ["EHLO", "STARTTLS"]
    assert not isinstance(session, DialFailed)
    assert [said for said, _ in session.replies] == ["(connect)", "EHLO gw.example.com", "STARTTLS"]
    assert session.connect_ms > 0
    assert session.tls_ms is not None
    await session.close()


async def test_plaintext_on_request(host: MailHost, files: tuple[str, str]) -> None:
    session = await dial(host, GOOD, files, PATIENT, starttls=False)
    assert summary(session) == "usable, offered True, None, plaintext"
    assert not isinstance(session, DialFailed)
    assert session.tls_ms is None
    await session.close()


async def test_a_name_that_cannot_be_sni_is_a_failed_handshake(host: MailHost, files: tuple[str, str]) -> None:
    port = await host.listen("127.0.0.1", 0, GOOD, *files)
    session = await SmtpDialer(PATIENT).dial(DialTarget("mx", "127.0.0.1", port, ".example.com"))
    assert not isinstance(session, DialFailed)
    assert session.facts.handshake_error.startswith("'.example.com' cannot be sent as a server name")
    assert not session.usable


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = await SmtpDialer(PATIENT).dial(DialTarget("mx.example.com", "127.0.0.1", taken.getsockname()[1], None))
    assert summary(result).startswith("failed: 450 4.4.316 Connection refused: by 127.0.0.1 port ")


async def test_nobody_answers() -> None:
    """A listener whose queue is full drops connection requests."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        settings = replace(PATIENT, connect_timeout_seconds=0.4)
        result = await SmtpDialer(settings).dial(DialTarget("mx", "127.0.0.1", full.getsockname()[1], None))
    assert summary(result) == ("failed: 450 4.4.315 Connection timed out: no answer to the connection request within 0.4 s")


async def test_the_source_address_is_used(host: MailHost, files: tuple[str, str]) -> None:
    settings = replace(PATIENT, source_ipv4="127.0.0.5")
    session = await dial(host, GOOD, files, settings)
    (connection,) = host.connections
    assert connection.peer == "127.0.0.5"
    assert not isinstance(session, DialFailed)
    await session.close()


async def test_ipv6(host: MailHost, files: tuple[str, str]) -> None:
    try:
        port = await host.listen("::1", 0, GOOD, *files)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    dialer = SmtpDialer(replace(PATIENT, source_ipv4="192.0.2.77", source_ipv6="::1"))
    session = await dialer.dial(DialTarget("mx.example.com", "::1", port, "mx.example.com"))
    assert summary(session) == f"usable, offered True, {GRANTED}, TLSv1.3"
    assert not isinstance(session, DialFailed)
    await session.close()


async def test_a_source_address_that_is_not_ours() -> None:
    settings = replace(PATIENT, source_ipv4="192.0.2.77")
    result = await SmtpDialer(settings).dial(DialTarget("mx", "127.0.0.1", 9, None))
    assert isinstance(result, DialFailed)
    assert "assign requested address" in result.finding.detail


async def test_close_does_not_wait_for_a_silent_server(host: MailHost, files: tuple[str, str]) -> None:
    session = await dial(host, replace(GOOD, silent_at="QUIT"), files, replace(PATIENT, quit_timeout_seconds=0.1))
    assert not isinstance(session, DialFailed)
    async with asyncio.timeout(5):
        await session.close()
    assert not session.usable


async def test_a_cancelled_dial_leaves_no_connection(host: MailHost, files: tuple[str, str]) -> None:
    task = asyncio.create_task(dial(host, replace(GOOD, silent_at="EHLO"), files, PATIENT))
    async with asyncio.timeout(5):
        while not any(connection.verbs for connection in host.connections):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while host.connections:
            await asyncio.sleep(0.01)


async def test_a_prompt_server_has_its_handshake_although_our_own_loop_is_late(host: MailHost, files: tuple[str, str]) -> None:
    with busy_loop(0.6):  # the clock runs out in every round
        result = await dial(host, GOOD, files, replace(PATIENT, tls_timeout_seconds=0.05))
    assert not isinstance(result, DialFailed)
    assert result.facts.encrypted, result.facts.handshake_error
    await result.close()
