"""The gateway with a real Postfix on either side: as the destination that must get every octet, and as the mail server in front.

The settings in front of the gateway are the ones that docs/how-to/behind-postfix.md shows, read from that page.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from simnet.gateway import message
from simnet.internet import ELSEWHERE, Destination, Host, Internet, simple
from simnet.postfix import Postfix
from tests.real.gateway_world import GatewayWorld, gateway_world, hand_over, wait_until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

HOME = "home.test"
"""The domain whose mailboxes Postfix keeps."""
PAGE = Path(__file__).parents[2] / "docs/how-to/behind-postfix.md"
TRACE_FIELDS = re.compile(
    rb"(?:(?:Received|Delivered-To|Return-Path|X-Original-To):[^\n]*\n(?:[ \t][^\n]*\n)*)+", re.IGNORECASE
)


class World(GatewayWorld):
    """With a Postfix beside the gateway."""

    postfix: Postfix
    postfix_address: str


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    destinations = [
        simple(HOME, "Postfix itself", Host(("3 1 1",), profile=ELSEWHERE)),
        simple("dane.test", "a destination", Host(("3 1 1",), profile="chunking")),
        Destination("null-mx.test", "takes no mail", mx=((0, "."),)),
    ]

    def toml(net: Internet, port: int) -> str:
        chain, key = net.certificate("mx.dane.test")
        listener = f'port = {port}\ntls_certificate = "{chain}"\ntls_key = "{key}"\n'
        return net.gateway_toml(port).replace(f"port = {port}\n", listener, 1)

    async with gateway_world(tmp_path_factory.mktemp("postfix"), destinations, toml) as made:
        world = World(made.net, made.gateway, made.port)
        world.postfix_address = address = made.net.address_of[f"mx.{HOME}"]
        world.postfix = Postfix(address, made.net.smtp_port, _as_documented(1, made.port) | _receiving(made.net))
        world.postfix.receive_into_maildirs(HOME, unknown="nobody")
        try:
            await asyncio.to_thread(world.postfix.start)
            await world.gateway.start()
            yield world
        finally:
            world.store.close()
            await asyncio.to_thread(world.postfix.stop)


def _as_documented(number: int, port: int, fingerprint: str = "") -> dict[str, str]:
    """The page's nth main.cf, with this test's addresses in place of the page's."""
    blocks = re.findall(r"^```ini\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for line in blocks[number - 1].splitlines() if not line.startswith("#")]
    settings = dict(line.split(" = ", 1) for line in lines)
    settings["relayhost"] = re.sub(r"\[.*\]:10026$", f"[127.0.0.1]:{port}", settings["relayhost"])
    assert settings["relayhost"].endswith(f":{port}")
    if fingerprint:
        assert settings["smtp_tls_fingerprint_cert_match"] == "AA:BB:CC:DD"
        settings["smtp_tls_fingerprint_cert_match"] = fingerprint
    return settings


def _receiving(net: Internet) -> dict[str, str]:
    """What Postfix needs as a destination: TLS with the certificate that the TLSA record names, and no ideas about headers."""
    chain, key = net.certificate(f"mx.{HOME}")
    return {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": _combined(chain, key),
        "message_size_limit": "20000000",
        "local_header_rewrite_clients": "",
    }


def _combined(chain: Path, key: Path) -> str:
    """Key and chain in one file, as smtpd_tls_chain_files wants it, where Postfix's own user can reach it."""
    file = chain.with_name("postfix-both.pem")
    file.write_bytes(key.read_bytes() + chain.read_bytes())
    file.chmod(0o600)
    return str(file)


HEAD = b"From: alice@home.test\r\nTo: bob@dane.test\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%b@home.test>\r\n"
MESSAGES: dict[str, bytes] = {
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.leading\r\n...\r\nend.\r\n.\r\n",
    "long-lines": b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n" + b"z " * 499 + b"\r\n",
    "8-bit": b"Subject: 8 bit\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=latin-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n" + bytes(range(0xA0, 0x100)) + b"\r\n",
    "empty-body": b"Subject: nothing\r\n\r\n",
    "blank-lines": b"Subject: blank\r\n\r\n\r\n\r\n  \r\n\t\r\n\r\n",
    "odd-headers": b"Subject:\r\nX-Empty: \r\nX-Folded: one\r\n\ttwo\r\n   three   \r\nx-TwIcE:1\r\nX-Twice:  2\r\n"
    b"X-Long: " + b"w" * 900 + b"\r\nX-Tab:\tvalue\t\r\n\r\nFrom the start of a line\r\n>From here\r\n",
    "5-MB": b"Subject: large\r\n\r\n" + (b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/0123456789ab\r\n" * 64_000),
}  # fmt: skip


def _message(name: str) -> bytes:
    return HEAD % name.encode() + f"X-Sim-Id: {name}\r\n".encode() + MESSAGES[name]


def _without_trace_fields(content: bytes) -> bytes:
    match = TRACE_FIELDS.match(content)
    return content[match.end() :] if match else content


async def _in_mailbox(world: World, name: str) -> bytes:
    """The message with this id in Postfix's mailbox."""
    wanted = f"X-Sim-Id: {name}\r\n".encode()

    def found() -> list[bytes]:
        return [content for content in world.postfix.read_maildir(HOME) if wanted in content]

    await wait_until(lambda: bool(found()), f"{name} in the mailbox")
    return found()[0]


# ------------------------------------------------------------------------------------------- Postfix as the destination


@pytest.mark.parametrize("name", MESSAGES)
async def test_postfix_receives_every_octet(world: World, name: str) -> None:
    content = _message(name)
    mail = ("BODY=8BITMIME",) if not content.isascii() else ()
    story = await world.decided(await world.send(f"bob@{HOME}", name, content, mail=mail))
    assert story.statuses == {f"bob@{HOME}": "Delivered"}
    assert story.last["verdict"]["protection"] == "dane"
    assert _without_trace_fields(await _in_mailbox(world, name)) == content


async def test_postfix_refuses_one_of_two(world: World) -> None:
    story = await world.decided(await world.send([f"bob@{HOME}", f"nobody@{HOME}"], "refused"))
    assert story.statuses == {f"bob@{HOME}": "Delivered", f"nobody@{HOME}": "Failed"}
    assert f"550 5.1.1 <nobody@{HOME}>: Recipient address rejected: User unknown" in story.text("FAIL")


# ----------------------------------------------------------------------------------------- Postfix in front of the gateway


async def _through_postfix(world: World, to: list[str], content: bytes, **how: object) -> None:
    sender = f"alice@{HOME}"
    port, address = world.net.smtp_port, world.postfix_address
    await asyncio.to_thread(lambda: hand_over(to, content, host=address, port=port, sender=sender, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MESSAGES)
async def test_from_postfix_through_the_gateway_unchanged(world: World, name: str) -> None:
    content = _message(name).replace(f"X-Sim-Id: {name}".encode(), f"X-Sim-Id: from-{name}".encode())
    await _through_postfix(world, ["bob@dane.test"], content, mail=("BODY=8BITMIME",) if not content.isascii() else ())
    (copy,) = await world.received(f"from-{name}")
    assert _without_trace_fields(copy.content) == content
    assert copy.content.count(b"Received: ") == 2
    assert (copy.tls_version, copy.helo) == ("TLSv1.3", "gateway.test")


async def test_one_message_stays_one_and_wishes_are_passed_on(world: World) -> None:
    recipients = [f"user{number}@dane.test" for number in range(120)]
    content = message("users@dane.test", "many", sender=f"alice@{HOME}")
    wishes = {"mail": ("RET=HDRS", "ENVID=e1"), "rcpt": ("NOTIFY=SUCCESS,FAILURE",)}
    await _through_postfix(world, recipients, content, **wishes)
    copies = await world.received("many", 2)  # the gateway gives a server 100 recipients at a time
    assert sum(len(copy.recipients) for copy in copies) == 120
    assert all("NOTIFY=SUCCESS,FAILURE" in rcpt for copy in copies for rcpt in copy.recipients)
    assert all(copy.mail.endswith(" RET=HDRS ENVID=e1") for copy in copies)
    rows = await world.json("trace", "--message-id", "<many@sender.test>", "--json")
    assert len({row["message_trace_id"] for row in rows}) == 1


async def test_a_notice_comes_home(world: World) -> None:
    home = ("--use-mx-record", "false", "--smart-hosts", world.postfix_address)
    await world.run("connector", "new", "Own mail", "--recipient-domains", HOME, *home)
    await asyncio.sleep(1.5)  # a gateway sees a new connector within a second; home's MX would be as good
    await _through_postfix(world, ["bob@null-mx.test"], message("bob@null-mx.test", "to-return", sender=f"alice@{HOME}"))

    def notices() -> list[bytes]:
        return [content for content in world.postfix.read_maildir(HOME) if b"multipart/report" in content]

    await wait_until(lambda: bool(notices()), "the notice in the mailbox")
    (notice,) = notices()
    assert b"Return-Path: <>\r\n" in notice
    assert b"Delivered-To: alice@home.test\r\n" in notice
    assert b"Final-Recipient: rfc822; bob@null-mx.test\r\n" in notice
    assert b"Status: 5.1.10\r\n" in notice


async def test_postfix_waits_for_a_stopped_gateway(world: World) -> None:
    await world.gateway.stop()
    await _through_postfix(world, ["bob@dane.test"], message("bob@dane.test", "patient", sender=f"alice@{HOME}"))
    await wait_until(lambda: "Connection refused" in world.postfix.log.read_text(), "Postfix tries")
    assert world.net.mail.by_id("patient") == []
    await world.gateway.start()
    await asyncio.to_thread(world.postfix.command, "postqueue", "-f")
    assert len(await world.received("patient")) == 1


async def test_postfix_on_another_machine_knows_the_gateway_by_its_certificate(world: World) -> None:
    chain, _ = world.net.certificate("mx.dane.test")
    command = ["openssl", "x509", "-in", str(chain), "-noout", "-fingerprint", "-sha256"]
    printed = (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)).stdout
    fingerprint = printed.strip().partition("=")[2]
    await _reconfigure(world, _as_documented(2, world.port, fingerprint))
    await _through_postfix(world, ["bob@dane.test"], message("bob@dane.test", "fingerprint", sender=f"alice@{HOME}"))
    await world.received("fingerprint")
    (row,) = await world.json("trace", "--message-id", "<fingerprint@sender.test>", "--json")
    assert world.read(row["message_trace_id"]).text("RECEIVE") == "Received from postfix.test [127.0.0.1] over TLSv1.3"

    await _reconfigure(world, _as_documented(2, world.port, "00:" + fingerprint[3:]))
    await _through_postfix(world, ["bob@dane.test"], message("bob@dane.test", "imposter", sender=f"alice@{HOME}"))
    await wait_until(lambda: "Server certificate not verified" in world.postfix.log.read_text(), "Postfix finds it wrong")
    assert world.net.mail.by_id("imposter") == []


async def _reconfigure(world: World, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        await asyncio.to_thread(world.postfix.command, "postconf", "-e", f"{name} = {value}")
    await asyncio.to_thread(world.postfix.command, "postfix", "reload")
