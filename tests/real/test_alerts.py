"""Alerts over real HTTPS and SMTP: signed, tried again across a restart, told once; and what a webhook may do wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sealroute.net.tls import policy_client_context
from sealroute.net.webhook import Webhook
from simnet.internet import Host, Internet, simple
from simnet.pki import Ca
from tests.real.gateway_world import gateway_world, wait_until

pytestmark = pytest.mark.real
SECRET = b"a secret that both know"


@dataclass
class Receiver:
    """An HTTPS server that checks signatures: 401 when one does not hold, else what `answer` says."""

    port: int = 0
    answer: str = "200 OK"
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(the answer, the alert) in order."""
    silent: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        assert head[0] == "POST /hook?x=1 HTTP/1.1"
        seconds, _, given = headers["sealroute-signature"].removeprefix("t=").partition(",v1=")
        wanted = hmac.new(SECRET, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        answer = self.answer if hmac.compare_digest(wanted, given) else "401 Unauthorized"
        alert = json.loads(body)
        assert headers["sealroute-alert-id"] == alert["id"]
        self.got.append((answer, alert))
        if not self.silent:
            writer.write(f"HTTP/1.1 {answer}\r\nLocation: https://localhost:{self.port}/hook?x=1\r\n".encode())
            writer.write(b"Content-Length: 9999999\r\n\r\nmore than anybody wants to read")
            await writer.drain()
            writer.close()


@asynccontextmanager
async def receiver(ca: Ca, folder: Path, name: str = "localhost") -> AsyncIterator[Receiver]:
    chain, key = ca.leaf(name).write(folder, "webhook")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    there = Receiver()
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=context)
    there.port = server.sockets[0].getsockname()[1]
    try:
        yield there
    finally:
        server.close()


def webhook(there: Receiver, ca: Ca, folder: Path, secret: bytes = SECRET, seconds: float = 20) -> Webhook:
    path = folder / "webhook-ca.pem"
    path.write_bytes(ca.pem)
    return Webhook(f"https://localhost:{there.port}/hook?x=1", secret, policy_client_context(str(path)), seconds)


async def post(hook: Webhook) -> str:
    return await hook("7", b'{"id": "7"}', datetime.now(UTC))


async def test_what_a_webhook_may_say(tmp_path: Path) -> None:
    ca = Ca("Webhooks")
    async with receiver(ca, tmp_path) as there:
        hook = webhook(there, ca, tmp_path)
        assert await post(hook) == ""
        for answer in ("500 Oops", "302 Found", "404 Not Found"):
            there.answer = answer
            assert await post(hook) == f"it answered with HTTP status {answer[:3]}"
        there.answer = "204 No Content"
        assert await post(hook) == ""
        assert await post(webhook(there, ca, tmp_path, b"another secret")) == "it answered with HTTP status 401"
        there.silent = True
        assert await post(webhook(there, ca, tmp_path, seconds=0.5)) == "it did not answer within 0.5 s"
        assert "certificate verify failed" in await post(webhook(there, Ca("Another"), tmp_path))
        assert len(there.got) == 7
    assert await post(hook) != ""
    async with receiver(ca, tmp_path, "other.test") as there:
        assert "certificate verify failed" in await post(webhook(there, ca, tmp_path))
        assert there.got == []


async def test_a_loss_is_told_once_by_both_ways_across_a_restart(tmp_path: Path) -> None:
    ca = Ca("Webhooks")
    destinations = [
        simple("loses.test", "DANE until it is taken away", Host(("3 1 1",))),
        simple("team.test", "reads mail", Host()),
    ]
    async with receiver(ca, tmp_path) as there:
        (tmp_path / "webhook-ca.pem").write_bytes(ca.pem)
        (tmp_path / "webhook.secret").write_bytes(SECRET + b"\n")
        section = [
            'mail_to = "admins@team.test"', f'webhook_url = "https://localhost:{there.port}/hook?x=1"',
            'webhook_secret_file = "webhook.secret"', 'webhook_ca_file = "webhook-ca.pem"',
        ]  # fmt: skip

        def toml(net: Internet, port: int) -> str:
            return net.gateway_toml(port, alerts=section, lab="clock_speed = 60")

        async with gateway_world(tmp_path, destinations, toml) as world:
            await world.gateway.start()
            await world.decided(await world.send("bob@loses.test", "before"))
            await wait_until(lambda: bool(world.store.drift.remembered("default")), "the destination is remembered")
            await world.gateway.stop()
            world.net.world.remove(f"_{world.net.smtp_port}._tcp.mx.loses.test", "TLSA")
            world.net.server.reload()

            there.answer = "500 Oops"
            await world.gateway.start()
            await world.decided(await world.send("bob@loses.test", "after"))
            await wait_until(lambda: bool(there.got), "the webhook is told")
            await world.gateway.stop()
            assert {alert["kind"] for _, alert in there.got} == {"dane-lost"}

            there.answer = "200 OK"
            await world.gateway.start()
            await wait_until(lambda: there.got[-1][0] == "200 OK", "the webhook is told again")
            await world.run("alerts", "test")
            await wait_until(lambda: there.got[-1][1]["kind"] == "test", "the test is told")

            def mails() -> list[bytes]:
                return [item.content for item in world.net.mail.messages if b"Subject: Sealroute: " in item.content]

            await wait_until(lambda: len(mails()) == 2, "both mails arrive")
            assert [answer for answer, alert in there.got if alert["kind"] == "dane-lost"][-1:] == ["200 OK"]
            assert [answer for answer, _ in there.got].count("200 OK") == 2
            assert len({alert["id"] for _, alert in there.got}) == 2
            assert sum(b"Subject: Sealroute: dane-lost at loses.test" in content for content in mails()) == 1
            told = await world.json("alerts", "list", "--json")
            assert sorted((item["channel"], item["kind"], item["state"]) for item in told) == [
                ("mail", "dane-lost", "sent"), ("mail", "test", "sent"),
                ("webhook", "dane-lost", "sent"), ("webhook", "test", "sent"),
            ]  # fmt: skip
