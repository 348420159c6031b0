"""Ten thousand messages to dead destinations in the queue, over real sockets, and live mail beside them; and a rate limit.

The dead ones are smart hosts on loopback: one where nobody listens, one that takes connections and never says a word.  The
latter's runs are still waiting for a greeting when the test is over, so whatever was delivered did not wait for them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from sealroute.base.mail import Recipient
from sealroute.ports import Group, GroupState
from sealroute.store.store import Store, open_store
from simnet.internet import Host, Internet, simple
from tests.real.gateway_world import GatewayWorld, gateway_world, wait_until
from tests.store_making import message_to

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

SILENT, NOBODY = "127.99.0.1", "127.99.0.2"
EACH = 2_500
LIVE = 20


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    def toml(net: Internet, port: int) -> str:
        return net.gateway_toml(port, delivery="greeting_timeout_seconds = 600.0", limits="shutdown_seconds = 1")

    destinations = [simple(f"{name}.test", "DANE", Host(("3 1 1",))) for name in ("live", "slow")]
    async with gateway_world(tmp_path_factory.mktemp("crowd"), destinations, toml) as made:
        for name, address in (("silent", SILENT), ("nobody", NOBODY)):
            await made.run(
                "New-OutboundConnector", name, "-RecipientDomains", f"{name}.test,*.{name}.test",
                "-UseMXRecord", "false", "-SmartHosts", address,
            )  # fmt: skip
        await made.run("New-OutboundConnector", "Slow", "-RecipientDomains", "slow.test", "-MaxMessagesPerMinute", "30")
        await made.gateway.start()
        yield made


async def fill(store: Store, domains: list[str]) -> None:
    """Queue a message for each; all are due."""
    now = datetime.now(UTC)

    async def one(number: int, domain: str) -> None:
        mail = replace(message_to(f"bob@{domain}"), id=f"crowd-{number}", received_at=now)
        group = Group(f"group-{number}", mail.id, domain, (Recipient(f"bob@{domain}"),), now, now)
        await store.queue.add(mail, [group], (), active=False)

    for start in range(0, len(domains), 1000):
        await asyncio.gather(*(one(start + index, domain) for index, domain in enumerate(domains[start : start + 1000])))


async def test_ten_thousand_dead_messages_do_not_hold_up_live_mail(world: GatewayWorld) -> None:
    await world.send("bob@live.test", "crowd-first")
    await world.received("crowd-first")
    await world.gateway.stop()  # what is known of live.test survives this
    (known,) = world.store.destinations.rows("live.test")
    assert (known.state.window, known.state.reach.value, known.state.why) == (6, "reached", "mail was taken")

    dead = [f"{index}.silent.test" for index in range(EACH)] + ["silent.test"] * EACH
    dead += [f"{index}.nobody.test" for index in range(EACH)] + ["nobody.test"] * EACH
    store = open_store(f"sqlite:///{world.gateway.folder / 'queue.db'}")
    await fill(store, dead)
    await store.close()
    with socket.create_server((SILENT, world.net.smtp_port), backlog=4096):
        await world.gateway.start()
        await wait_until(lambda: busy(world) > 1000, "the dead ones at work")
        for number in range(LIVE):
            await world.send("bob@live.test", f"crowd-{number}")
        for number in range(LIVE):
            await world.received(f"crowd-{number}")
        silent = world.store.queue.find(domain="*silent.test", limit=2 * EACH + 1)
        assert len(silent) == 2 * EACH
        assert {item.group.attempts for item in silent} == {0}  # not one of them has ended
        listed = await world.json("queue", "destinations", "--domain", "*.nobody.test", "--json")
        assert {item["reach"] for item in listed} <= {"unreached"}
        await world.run("queue", "hold", "--all")
        await world.gateway.stop()


def busy(world: GatewayWorld) -> int:
    return len(world.store.queue.find(domain="*silent.test", state=GroupState.ACTIVE, limit=5000))


async def test_a_rate_limit_spreads_the_mail(world: GatewayWorld) -> None:
    await world.gateway.start()
    for number in range(4):
        await world.send("bob@slow.test", f"slow-{number}")
    await world.send("bob@live.test", "beside-slow")
    await world.received("beside-slow")
    came = [(await world.received(f"slow-{number}"))[0].at for number in range(4)]
    assert max(came) - min(came) > 3  # the fourth token is there six seconds after the first; the first message may be slow
    await wait_until(lambda: bool(world.store.destinations.rows("slow.test")), "the window written")
