"""The gateway as a whole: mail in by SMTP, out to the simulated internet, and what trace, queue and notices say of it.

One internet and one gateway serve all tests of this file; each test uses destinations or ids of its own.
"""

from __future__ import annotations

import asyncio
import signal
import smtplib
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from simnet.gateway import Gateway, message
from simnet.internet import SENDER_DOMAIN, Cert, Destination, Host, Internet, simple
from simnet.nameserver import free_port
from simnet.signing import Signing
from tests.real.gateway_world import SENDER, GatewayWorld, Story, check, gateway_world, message_id, wait_until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

GOOD = ("3 1 1",)
USER, PASSWORD = "dora@sender.test", "correct horse battery staple"


def _dane(name: str, profile: str = "tls") -> Destination:
    return simple(f"{name}.test", f"DANE, profile {profile}", Host(GOOD, profile=profile))


DESTINATIONS = [
    _dane("dane", "chunking"),
    _dane("dane2"),
    simple("mismatch.test", "TLSA matches nothing", Host(("3 1 1 wrong",))),
    simple("unsigned.test", "no DNSSEC", Host(), signing=Signing.UNSIGNED),
    simple("steered.test", "TLSA matches nothing; for queue commands", Host(("3 1 1 wrong",))),
    simple("changed.test", "TLSA matches nothing; for a changed connector", Host(("3 1 1 wrong",))),
    simple("hup.test", "TLSA matches nothing; for SIGHUP", Host(("3 1 1 wrong",))),
    *(_dane(name, name) for name in ("greylist", "rcpt451", "rcpt550", "no-dsn", "no-smtputf8", "requiretls", "small")),
    simple("minimal.test", "an old server", Host(profile="minimal")),
    simple("web.test", "certificate of the web PKI, no MTA-STS", Host(cert=Cert.WEB)),
]


class World(GatewayWorld):
    """With what this file's gateway has besides."""

    fabrikam_port: int
    submission_port: int
    http_port: int


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("delivery")
    fabrikam, submission, http = (free_port("127.0.0.1") for _ in range(3))

    def toml(net: Internet, port: int) -> str:
        chain, key = net.certificate(f"mx.{SENDER_DOMAIN}")
        tls = f'tls_certificate = "{chain}"\ntls_key = "{key}"'
        plain = net.gateway_toml(port, retry='schedule = ["1h"]').replace("enabled = false", f"port = {http}")
        return plain.replace(
            f"port = {port}\n",
            f"port = {port}\n{tls}\n\n"
            f'[[listeners]]\nkind = "relay"\nport = {fabrikam}\norganization = "fabrikam"\n\n'
            f'[[listeners]]\nkind = "submission"\nport = {submission}\n{tls}\n',
            1,
        )

    async with gateway_world(folder, DESTINATIONS, toml) as made:
        world = World(made.net, made.gateway, made.port)
        world.fabrikam_port, world.submission_port, world.http_port = fabrikam, submission, http
        await _configure(world)
        await world.gateway.start()
        yield world
        world.store.close()


async def _configure(world: World) -> None:
    await world.run("organization", "add", "fabrikam")
    await world.run("New-OutboundConnector", "Greylisting", "-RecipientDomains", "greylist.test", "-RetrySchedule", "4s")
    await world.run("New-OutboundConnector", "Changed", "-RecipientDomains", "changed.test", "-SmtpDaneMode", "Mandatory")
    await world.run("New-OutboundConnector", "Hup", "-RecipientDomains", "hup.test", "-SmtpDaneMode", "Mandatory")
    other = world.gateway.config.with_name("fabrikam.toml")
    other.write_text('organization = "fabrikam"\n' + world.gateway.config.read_text())
    command = [*world.gateway.command[:-1], str(other)]
    words = ("New-OutboundConnector", "Strict", "-RecipientDomains", "*", "-SmtpDaneMode", "Mandatory")
    await asyncio.to_thread(subprocess.run, [*command, *words], check=True, capture_output=True)
    words = ("user", "add", USER, "--password-stdin", "--organization", "fabrikam")
    await asyncio.to_thread(subprocess.run, [*command, *words], check=True, capture_output=True, input=PASSWORD.encode())


# -------------------------------------------------------------------------------------------- what trace says of it


async def test_delivered_with_dane_and_the_trace_says_why(world: World) -> None:
    content = message("bob@dane.test", "why-dane", sender=SENDER, body=".dots\r\n..\r\nat line starts\r\n")
    trace_id = await world.send("bob@dane.test", "why-dane", content)
    story = await world.decided(trace_id)

    assert story.statuses == {"bob@dane.test": "Delivered"}
    assert story.steps == [("RECEIVE", ""), ("SEND", "bob@dane.test")]
    assert story.text("RECEIVE") == "Received from client.sender.test [127.0.0.1]"
    ip, port = world.net.address_of["mx.dane.test"], world.net.smtp_port
    assert story.text("SEND").startswith(f"Delivered to mx.dane.test [{ip}]:{port}, authenticated by DANE (TLSv1.3): 250 ")
    (attempt,) = story.attempts
    assert attempt["rows"] == ["mx-found", "dane-usable", "sts-absent"]
    assert attempt["verdict"]["protection"] == "dane"
    assert attempt["verdict"]["would_satisfy_dane"] is True
    assert attempt["verdict"]["would_satisfy_sts"] is False
    assert (attempt["connector_name"], attempt["number"], attempt["smtp_dane_mode"]) == ("(default)", 1, "Opportunistic")
    assert "tls_report" not in attempt
    assert _securities(attempt) == {
        ("MX", "secure"),
        ("A", "secure"),
        ("AAAA", "secure"),
        ("TLSA", "secure"),
        ("TXT", "secure"),
    }

    (copy,) = await world.received("why-dane")
    received = copy.content.removesuffix(content)
    assert received.startswith(b"Received: from client.sender.test ([127.0.0.1])")
    words = received.decode().split()
    assert words[words.index("id") + 1] == trace_id
    assert words[words.index("for") + 1] == "<bob@dane.test>;"
    assert received.count(b"\r\n") == received.count(b"\r\n\t") + received.count(b"\r\n ") + 1
    assert (copy.tls_version, copy.sni, copy.helo) == ("TLSv1.3", "mx.dane.test", "gateway.test")
    assert (await world.json("trace", trace_id, "--json"))["attempts"] == story.attempts


def _securities(attempt: dict[str, object]) -> set[tuple[str, str]]:
    """(record type, DNSSEC status) of every answer in an attempt's evidence, wherever it stands."""
    found: set[tuple[str, str]] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "security" in value and "rtype" in value:
                found.add((value["rtype"], value["security"]))
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(attempt["evidence"])
    return found


async def test_mismatch_is_held_and_the_queue_says_why(world: World) -> None:
    trace_id = await world.send("bob@mismatch.test", "held")
    story = await world.decided(trace_id)

    assert story.statuses == {"bob@mismatch.test": "Pending"}
    assert story.steps == [("RECEIVE", ""), ("DEFER", "bob@mismatch.test")]
    sentence = "450 4.7.323 tlsa-invalid: The domain failed DANE validation: TLSA 3 1 1 "
    assert story.text("DEFER").startswith(sentence)
    assert story.last["rows"] == ["mx-found", "dane-usable", "sts-absent"]
    assert story.last["finding"]["reason"] == "tlsa-invalid"
    assert story.last["tls_report"] == ["validation-failure"]
    assert story.last["verdict"]["dane"]["satisfied"] is False
    assert (story.last["verdict"]["protection"], story.last["verdict"]["would_satisfy_dane"]) == ("tls", False)
    assert [said for said, _ in story.last["replies"]] == ["(connect)", "EHLO gateway.test", "STARTTLS"]

    (item,) = await world.json("queue", "list", "--domain", "mismatch.test", "--json")
    assert (item["message_id"], item["state"], item["attempts"]) == (trace_id, "queued", 1)
    assert item["recipients"] == ["bob@mismatch.test"]
    assert item["text"].startswith(sentence)
    assert item["reason"]["side"] == "the recipient's mail administrator"
    assert world.net.mail.by_id("held") == []


async def test_one_message_for_several_domains(world: World) -> None:
    recipients = ["bob@dane.test", "eve@dane.test", "bob@dane2.test", "bob@rcpt550.test", "bob@rcpt451.test", "x@no.such.test"]
    trace_id = await world.send(recipients, "several")
    story = await world.decided(trace_id)

    assert story.statuses == dict.fromkeys(recipients[:3], "Delivered") | {
        "bob@rcpt550.test": "Failed",
        "bob@rcpt451.test": "Pending",
        "x@no.such.test": "Failed",
    }
    copies = await world.received("several", 2)
    assert sorted(sorted(rcpt.partition(" ")[0].strip(":") for rcpt in copy.recipients) for copy in copies) == [
        ["<bob@dane.test>", "<eve@dane.test>"],
        ["<bob@dane2.test>"],
    ]
    texts = {event.recipient: event.description for event in story.events}
    assert texts["bob@rcpt550.test"] == (
        "550 5.1.1 The destination mail server rejected the message: 550 5.1.1 No such user here"
    )
    assert texts["bob@rcpt451.test"].startswith("451 4.2.2 The destination mail server asked to try again later: 451 4.2.2")
    assert texts["x@no.such.test"].startswith("550 5.4.310 DNS domain does not exist")

    notice = message_from_bytes(await world.notice("rfc822; bob@rcpt550.test"), policy=policy.default)
    assert notice["To"] == SENDER
    assert notice.get_content_type() == "multipart/report"
    human, status, original = notice.iter_parts()
    assert "550 5.1.1 No such user here" in " ".join(human.get_content().split())
    assert status.get_content_type() == "message/delivery-status"
    assert "Message-ID: <several@sender.test>" in original.as_string()
    assert b"dane.test" not in status.as_bytes()


# ---------------------------------------------------------------------------------------------- how mail comes in


async def test_pipelined_client(world: World) -> None:
    ids = [f"pipelined-{number}" for number in range(20)]
    talk = b"EHLO client.sender.test\r\n"
    for sim_id in ids:
        content = message("bob@dane2.test", sim_id, sender=SENDER)
        talk += f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<bob@dane2.test>\r\nDATA\r\n".encode() + content + b".\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(talk + b"QUIT\r\n")
    said = (await asyncio.wait_for(reader.read(), 60)).decode().splitlines()
    writer.close()
    accepted = [line for line in said if line.startswith("250 2.6.0 ") and line.endswith(" Queued")]
    assert len(accepted) == len(ids)
    for sim_id in ids:
        assert len(await world.received(sim_id)) == 1


async def test_submission_needs_tls_and_login(world: World) -> None:
    content = b"Subject: from a user\r\nX-Sim-Id: submitted\r\n\r\nHello\r\n"
    port = world.submission_port
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        await world.send("bob@dane2.test", "", content, port=port, starttls=True)
    assert refused.value.smtp_code == 530
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await world.send("bob@dane2.test", "", content, port=port, starttls=True, login=(USER, "wrong password"))
    with pytest.raises(smtplib.SMTPNotSupportedError):
        await world.send("bob@dane2.test", "", content, port=port, login=(USER, PASSWORD))

    trace_id = await world.send("bob@dane2.test", "", content, port=port, starttls=True, login=(USER, PASSWORD))
    story = await world.decided(trace_id)
    assert story.statuses == {"bob@dane2.test": "Delivered"}
    assert story.text("RECEIVE") == f"Received from client.sender.test [127.0.0.1] as {USER} over TLSv1.3"
    assert story.last["connector_name"] == "Strict"  # the user's organisation is fabrikam
    (copy,) = await world.received("submitted")
    head = message_from_bytes(copy.content, policy=policy.default)
    assert head["Message-ID"] == f"<{trace_id}@gateway.test>"
    assert head["Date"] is not None
    assert "with ESMTPSA" in head["Received"]


async def test_listeners_have_organizations_of_their_own(world: World) -> None:
    lenient = await world.decided(await world.send("bob@unsigned.test", "org-default"))
    strict = await world.decided(await world.send("bob@unsigned.test", "org-fabrikam", port=world.fabrikam_port))
    assert (lenient.statuses, lenient.last["connector_name"]) == ({"bob@unsigned.test": "Delivered"}, "(default)")
    assert (strict.statuses, strict.last["connector_name"]) == ({"bob@unsigned.test": "Pending"}, "Strict")
    assert strict.text("DEFER") == (
        "450 4.7.326 dane-required: This connector requires DANE and the destination does not offer it: "
        "the MX record of unsigned.test is not signed with DNSSEC"
    )


# ------------------------------------------------------------------------------------------------------ extensions


async def test_smtputf8(world: World) -> None:
    content = "Subject: Grüße\r\nX-Sim-Id: utf8\r\n\r\nschöne Grüße\r\n".encode()
    how = {"mail": ("BODY=8BITMIME", "SMTPUTF8"), "sender": "älice@sender.test"}
    story = await world.decided(await world.send("jürgen@dane2.test", "", content, **how))
    assert story.statuses == {"jürgen@dane2.test": "Delivered"}
    (copy,) = await world.received("utf8")
    assert (copy.recipients[0].split()[0], " SMTPUTF8" in copy.mail) == ("<jürgen@dane2.test>", True)
    assert copy.content.endswith(content)

    story = await world.decided(await world.send("jürgen@no-smtputf8.test", "", content, **how))
    assert story.statuses == {"jürgen@no-smtputf8.test": "Failed"}
    assert story.text("FAIL").startswith("550 5.6.7 The destination mail server lacks a feature that this message needs: ")
    await world.notice("utf-8; jürgen@no-smtputf8.test")


async def test_8bitmime(world: World) -> None:
    content = "Subject: 8 bit\r\nX-Sim-Id: 8bit\r\n\r\nschön\r\n".encode()
    trace_id = await world.send("bob@dane2.test", "", content, mail=("BODY=8BITMIME",))
    assert (await world.decided(trace_id)).statuses == {"bob@dane2.test": "Delivered"}
    (copy,) = await world.received("8bit")
    assert " BODY=8BITMIME" in copy.mail
    assert copy.content.endswith(content)

    story = await world.decided(await world.send("bob@minimal.test", "", content, mail=("BODY=8BITMIME",)))
    assert story.statuses == {"bob@minimal.test": "Failed"}
    assert "8-bit content and the server does not offer 8BITMIME" in story.text("FAIL")
    plain = await world.decided(await world.send("bob@minimal.test", "old-server"))
    assert (plain.statuses, plain.last["verdict"]["protection"]) == ({"bob@minimal.test": "Delivered"}, "plain")


async def test_success_notice_is_passed_on_or_made_here(world: World) -> None:
    wishes: dict[str, Any] = {
        "mail": ("RET=HDRS", "ENVID=abc+2B1"),
        "rcpt": ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;b+2Bob@dane2.test"),
    }
    await world.decided(await world.send("bob@dane2.test", "dsn-passed", **wishes))
    (copy,) = await world.received("dsn-passed")
    assert copy.recipients == ("<bob@dane2.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bob@dane2.test",)
    assert copy.mail.endswith(" RET=HDRS ENVID=abc+2B1")

    await world.decided(await world.send("bob@no-dsn.test", "dsn-relayed", **wishes))
    notice = message_from_bytes(await world.notice("bob@no-dsn.test", "relayed"), policy=policy.default)
    status = str(notice.get_payload(1))
    assert "Original-Envelope-Id: abc+1" in status
    assert "Original-Recipient: rfc822; b+ob@dane2.test" in status, status
    assert not [item for item in world.net.mail.messages if item.mail.startswith("<>") and b"dsn-passed" in item.content]


async def test_requiretls(world: World) -> None:
    secured: dict[str, Any] = {"starttls": True, "mail": ("REQUIRETLS",)}
    story = await world.decided(await world.send("bob@requiretls.test", "needs-tls", **secured))
    assert story.statuses == {"bob@requiretls.test": "Delivered"}
    (copy,) = await world.received("needs-tls")
    assert " REQUIRETLS" in copy.mail

    for to, why in (("bob@dane2.test", "does not offer REQUIRETLS"), ("bob@web.test", "")):
        story = await world.decided(await world.send(to, "needs-tls-too", **secured))
        assert story.statuses == {to: "Failed"}
        assert "550 5.7.30 REQUIRETLS support required" in story.text("FAIL")
        assert why in story.text("FAIL")
    assert world.net.mail.by_id("needs-tls-too") == []
    with pytest.raises(smtplib.SMTPResponseException) as refused:  # not offered in plaintext
        await world.send("bob@requiretls.test", "needs-tls", mail=("REQUIRETLS",))
    assert refused.value.smtp_code == 530


async def test_tls_required_no_lowers_opportunistic_only(world: World) -> None:
    content = b"TLS-Required: No\r\n" + message("bob@mismatch.test", "not-needed", sender=SENDER)
    story = await world.decided(await world.send("bob@mismatch.test", "", content))
    assert (story.statuses, story.last["verdict"]["protection"]) == ({"bob@mismatch.test": "Delivered"}, "tls")
    strict = await world.decided(await world.send("bob@mismatch.test", "", content, port=world.fabrikam_port))
    assert strict.statuses == {"bob@mismatch.test": "Pending"}
    assert "4.7.323 tlsa-invalid" in strict.text("DEFER")


# ------------------------------------------------------------------------------------------- what peers say, and time


async def test_greylisting_is_waited_out_on_the_same_route(world: World) -> None:
    trace_id = await world.send("bob@greylist.test", "grey")
    story = await world.story(trace_id, lambda story: story.statuses == {"bob@greylist.test": "Delivered"})
    first, *_, last = story.attempts
    assert first["finding"]["sentence"].endswith("451 4.7.1 Greylisted, come back later")
    assert (last["number"] > 1, last["ip"], last["connector_name"]) == (True, first["ip"], "Greylisting")
    assert story.steps[0] == ("RECEIVE", "")
    assert story.steps[-1] == ("SEND", "bob@greylist.test")
    assert len(await world.received("grey")) == 1


async def test_too_large_for_the_destination(world: World) -> None:
    content = message("bob@small.test", "large", sender=SENDER, body="x" * 70 + "\r\n" * 2000)
    story = await world.decided(await world.send("bob@small.test", "", content))
    assert story.statuses == {"bob@small.test": "Failed"}
    assert "5.3.4" in story.text("FAIL")
    assert "the server announces a limit of 2000" in story.text("FAIL")


# ------------------------------------------------------------------------------------------------- while it is running


async def test_a_changed_connector_takes_effect(world: World) -> None:
    trace_id = await world.send("bob@changed.test", "changed")
    assert (await world.decided(trace_id)).statuses == {"bob@changed.test": "Pending"}
    await world.run("Set-OutboundConnector", "Changed", "-SmtpDaneMode", "None")
    await _retry_until(world, trace_id, {"bob@changed.test": "Delivered"})
    story = await world.decided(await world.send("bob@changed.test", "changed-2"))
    assert (story.last["smtp_dane_mode"], story.last["verdict"]["protection"]) == ("None", "tls")


async def test_sighup_reads_connectors_now(world: World) -> None:
    trace_id = await world.send("bob@hup.test", "hup")
    assert (await world.decided(trace_id)).statuses == {"bob@hup.test": "Pending"}
    await world.run("Set-OutboundConnector", "Hup", "-SmtpDaneMode", "None")
    assert world.gateway.process is not None
    world.gateway.process.send_signal(signal.SIGHUP)
    await wait_until(lambda: b"reloading connectors" in world.gateway.log.read_bytes(), "SIGHUP in the log")
    await _retry_until(world, trace_id, {"bob@hup.test": "Delivered"})


async def _retry_until(world: World, trace_id: str, statuses: dict[str, str]) -> Story:
    """`queue retry` until the message is as expected: a run under way may still have gone by the connector of before."""
    for _ in range(10):
        await world.run("queue", "retry", trace_id, ok=(0, 2))
        story = await world.decided(trace_id)
        for _ in range(30):
            if story.statuses == statuses:
                return story
            await asyncio.sleep(0.1)
            story = await world.decided(trace_id)
    raise AssertionError(f"still {story.statuses}")


async def test_hold_release_retry_remove(world: World) -> None:
    first, second = [await world.send("bob@steered.test", f"steered-{number}") for number in (1, 2)]
    for trace_id in (first, second):
        await world.decided(trace_id)
    assert await world.run("queue", "hold", first) == "1 entry put on hold.\n"
    await world.run("queue", "retry", "--domain", "steered.test")
    retried = await world.story(second, lambda story: len(story.attempts) == 2)
    assert retried.last["number"] == 2
    assert len(world.read(first).attempts) == 1
    assert await world.run("queue", "release", first) == "1 entry released.\n"
    assert (await world.story(first, lambda story: len(story.attempts) == 2)).statuses == {"bob@steered.test": "Pending"}

    await wait_until(lambda: not _active(world, "steered.test"), "both back in the queue")
    assert await world.run("queue", "remove", "--domain", "steered.test", "--yes") == "2 entries removed.\n"
    removed = await world.story(first, lambda story: story.statuses == {"bob@steered.test": "Failed"})
    assert removed.steps[-1] == ("FAIL", "bob@steered.test")
    assert await world.json("queue", "list", "--domain", "steered.test", "--json") == []
    assert not [item for item in world.net.mail.messages if item.mail.startswith("<>") and b"steered.test" in item.content]


def _active(world: World, domain: str) -> bool:
    return any(item.state.value == "active" for item in world.store.queue.find(domain=domain))


async def test_metrics_and_health(world: World) -> None:
    await world.decided(await world.send("bob@dane2.test", "counted"))
    await world.decided(await world.send("bob@mismatch.test", "counted-held"))

    def get(path: str) -> tuple[int, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.http_port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()

    status, text = await asyncio.to_thread(get, "/metrics")
    assert status == 200
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert sum(float(value) for name, value in numbers.items() if "queue" in name and "queued" in name) >= 1
    assert any("dane" in name and float(value) >= 1 for name, value in numbers.items())
    status, text = await asyncio.to_thread(get, "/healthz")
    assert status == 200
    assert '"status":"ok"' in text
    with pytest.raises(urllib.error.HTTPError):
        await asyncio.to_thread(get, "/")


# ------------------------------------------------------------------------------------------------------------ its end


async def test_sigterm_under_load_loses_nothing(tmp_path: Path, world: World) -> None:
    """A gateway of its own is told to stop amid mail; all it answered 250 for was delivered once, or waits and goes later."""
    port = free_port("127.0.0.1")
    toml = world.net.gateway_toml(port).replace('"trust-anchor.ds"', f'"{world.net.folder}/trust-anchor.ds"')
    toml = toml.replace('"web-ca.pem"', f'"{world.net.folder}/web-ca.pem"')
    gateway = Gateway(tmp_path, toml)
    await gateway.start()
    accepted: set[str] = set()
    senders = [asyncio.create_task(asyncio.to_thread(_send_until_closed, port, number, accepted)) for number in range(8)]
    await wait_until(lambda: len(accepted) > 100, "a load")
    assert await gateway.stop() == 0
    await asyncio.gather(*senders)

    await gateway.start()
    await wait_until(lambda: accepted <= {item.id for item in world.net.mail.messages}, "all that was accepted")
    assert await gateway.stop() == 0
    copies = [item.id for item in world.net.mail.messages if item.id.startswith("load-")]
    assert len(copies) == len(set(copies))


def _send_until_closed(port: int, number: int, accepted: set[str]) -> None:
    try:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.sender.test", timeout=60) as client:
            client.ehlo()
            for turn in range(100_000):
                sim_id = f"load-{number}-{turn}"
                client.mail(SENDER)
                check(client.rcpt("bob@dane2.test"))
                message_id(check(client.data(message("bob@dane2.test", sim_id, sender=SENDER))))
                accepted.add(sim_id)
    except (smtplib.SMTPException, OSError):
        return
