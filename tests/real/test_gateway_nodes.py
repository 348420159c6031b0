"""Two gateways on one PostgreSQL store: what they share, and what becomes of the mail of one that is killed."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealroute.ports import TraceQuery
from sealroute.store.store import AdminStore, open_store
from simnet.gateway import Gateway, message
from simnet.internet import Cert, Host, Internet, Policy, simple
from simnet.nameserver import free_port
from simnet.signing import Signing
from tests.real.gateway_world import SENDER, hand_over, message_id, wait_until
from tests.real.postgres import Postgres
from tests.real.test_gateway_crash import Sent, arrived_in, send_all
from tests.store_making import NOW

pytestmark = pytest.mark.real

LEASE_SECONDS = 10
MESSAGES = 1200
SENDERS = 8
DESTINATIONS = [
    *(simple(f"{name}.test", "DANE", Host(("3 1 1",), profile="chunking")) for name in ("one", "two", "three")),
    simple("unsigned.test", "nothing published", Host(cert=Cert.WEB), signing=Signing.UNSIGNED),
    simple("policy.test", "MTA-STS", Host(cert=Cert.WEB), signing=Signing.UNSIGNED, policy=Policy()),
]


@dataclass
class Nodes:
    """One internet, one store, two gateways."""

    net: Internet
    server: Postgres
    database: str
    gateways: list[Gateway]
    ports: list[int]
    store: AdminStore

    async def send(self, node: int, to: str, sim_id: str) -> str:
        content = message(to, sim_id, sender=SENDER)
        return message_id(await asyncio.to_thread(lambda: hand_over([to], content, port=self.ports[node])))

    async def becomes(self, status: str, trace_id: str) -> list[str]:
        """Return the rows of its last attempt once the trace has this status, and an attempt."""
        whole = TraceQuery(NOW.replace(year=2000), NOW.replace(year=2100), message_trace_id=trace_id)

        def has() -> bool:
            found = [row.status for row in self.store.traces.search(whole)]
            return found == [status] and bool(self.store.traces.attempts(trace_id))

        await wait_until(has, f"{trace_id} is {status}")
        rows: list[str] = self.store.traces.attempts(trace_id)[-1]["rows"]
        return rows

    async def change(self, *command: str) -> None:
        """Run a command on the first node, and wait until both have loaded what it changed."""

        def loaded() -> list[int]:
            return [gateway.log.read_text().count('"connectors loaded"') for gateway in self.gateways]

        before = loaded()
        await asyncio.to_thread(self.gateways[0].run, *command)
        await wait_until(lambda: all(now > then for now, then in zip(loaded(), before, strict=True)), "both loaded it")

    def numbers(self, owner: str = "") -> set[int]:
        """The numbers of what the queue holds, or of what a node has in hand, from the tables themselves."""
        query = (
            "SELECT m.header_message_id FROM message m JOIN recipient_group g ON g.message_id = m.id"
            + " WHERE g.owner = %s" * bool(owner)
        )
        with self.server.connect(self.database) as connection:
            found = connection.execute(query.encode(), [owner] if owner else None).fetchall()
        return {int(str(row[0]).strip("<>").partition("@")[0]) for row in found}


@asynccontextmanager
async def nodes(folder: Path, server: Postgres) -> AsyncIterator[Nodes]:
    """All of it, both gateways running."""
    database = server.database()
    async with Internet(folder, DESTINATIONS) as net:
        gateways, ports = [], []
        for name in ("one", "two"):
            ports.append(free_port("127.0.0.1"))
            toml = net.gateway_toml(ports[-1], retry='schedule = ["1s"]')
            store = f'url = "{server.url(database)}"\nnode = "{name}"\nlease_seconds = {LEASE_SECONDS}'
            gateways.append(Gateway(folder, toml.replace('url = "sqlite:///queue.db"', store), name))
        both = Nodes(net, server, database, gateways, ports, open_store(server.url(database)).admin)
        try:
            await asyncio.gather(*(gateway.start() for gateway in gateways))
            yield both
        finally:
            both.store.close()
            await asyncio.gather(*(gateway.stop() for gateway in gateways))


async def test_connectors_policies_queue_and_trace_are_one(tmp_path: Path, postgres: Postgres) -> None:
    async with nodes(tmp_path, postgres) as both:
        for node in (0, 1):
            assert "dane-usable" in await both.becomes("Delivered", await both.send(node, "bob@one.test", f"d{node}"))
            await both.becomes("Delivered", await both.send(node, "bob@unsigned.test", f"u{node}"))

        # One node fetched the policy; the other has it from the store, and asks nobody.
        fetched = await both.becomes("Delivered", await both.send(0, "bob@policy.test", "p0"))
        assert "sts-enforce" in fetched
        both.net.policies.remove("policy.test")
        assert await both.becomes("Delivered", await both.send(1, "bob@policy.test", "p1")) == fetched
        assert both.net.policies.handshakes_refused == 0

        # Changed by a command, once; in force on both.
        await both.change("New-OutboundConnector", "Strict", "-RecipientDomains", "unsigned.test", "-SmtpDaneMode", "Mandatory")
        held = [await both.send(node, "bob@unsigned.test", f"h{node}") for node in (0, 1)]
        for trace_id in held:
            await both.becomes("Pending", trace_id)
        assert {item.group.message_id for item in both.store.queue.find()} == set(held)
        await both.change("Set-OutboundConnector", "Strict", "-SmtpDaneMode", "Opportunistic")
        for trace_id in held:
            await both.becomes("Delivered", trace_id)
        assert both.store.queue.find() == []


async def test_a_transport_rule_made_on_one_node_holds_mail_on_both(tmp_path: Path, postgres: Postgres) -> None:
    async with nodes(tmp_path, postgres) as both:
        running = [gateway.process.pid for gateway in both.gateways if gateway.process is not None]
        for node in (0, 1):
            await both.becomes("Delivered", await both.send(node, "bob@unsigned.test", f"before{node}"))

        await both.change("New-TransportRule", "Strict", "-From", SENDER, "-RecipientDomainIs", "unsigned.test",
                          "-SmtpDaneMode", "Mandatory")  # fmt: skip
        held = [await both.send(node, "bob@unsigned.test", f"under{node}") for node in (0, 1)]
        for trace_id in held:
            assert "transport-rule" in await both.becomes("Pending", trace_id)
            (named,) = both.store.traces.attempts(trace_id)[-1]["transport_rules"]
            assert (named["name"], named["version"]) == ("Strict", 1)
        assert not [copy for node in (0, 1) for copy in both.net.mail.by_id(f"under{node}")]
        # Other mail of both is under no rule.
        for node in (0, 1):
            assert "transport-rule" not in await both.becomes(
                "Delivered", await both.send(node, "bob@one.test", f"other{node}")
            )

        await both.change("Disable-TransportRule", "Strict", "-Confirm:$false")
        for trace_id in held:
            assert "transport-rule" not in await both.becomes("Delivered", trace_id)
        assert [gateway.process.pid for gateway in both.gateways if gateway.process is not None] == running, (
            "none was restarted"
        )
        assert len(running) == 2


@pytest.mark.slow
async def test_a_killed_nodes_mail_is_taken_over_and_twice_goes_only_what_it_had_in_hand(
    tmp_path: Path, postgres: Postgres
) -> None:
    """Twice can go what the peer had answered 250 to and the killed node had not yet committed; nothing else."""
    async with nodes(tmp_path, postgres) as both:
        sent = Sent(MESSAGES, deadline=time.monotonic() + 60)
        clients = [asyncio.create_task(send_all(both.ports[:: 1 if number % 2 else -1], sent)) for number in range(SENDERS)]
        try:
            share = random.Random().uniform(0.2, 0.8)
            await wait_until(lambda: len(sent.accepted) >= share * MESSAGES, "the kill")
            await _stop_with_mail_in_hand(both)
            await both.gateways[0].kill()
            in_hand = both.numbers("one")
            killed = time.monotonic()
            await asyncio.gather(*clients)
        finally:
            for client in clients:
                client.cancel()
        assert len(sent.accepted) == MESSAGES, "the clients could not hand everything over in time"
        await wait_until(lambda: not both.numbers(), "the queue is empty")
        took = time.monotonic() - killed
        arrived = arrived_in(both.net)
        twice = {number for number, copies in arrived.items() if copies > 1}
        print(f"{len(in_hand)} in hand at the kill, {len(twice)} of them twice; all delivered {took:.1f} s later")
        assert sent.accepted - set(arrived) == set(), "lost"
        # A client whose answer was lost sends again, too: those are the clients' duplicates, one each at most.
        assert len(twice - in_hand) <= SENDERS
        assert '"took over from a silent node"' in both.gateways[1].log.read_text()
        await both.gateways[0].start()  # and comes back
        await both.becomes("Delivered", await both.send(0, "bob@one.test", "99999"))


async def _stop_with_mail_in_hand(both: Nodes) -> None:
    """Freeze the first node at a moment at which it works on something, so that its death shows something."""
    process = both.gateways[0].process
    assert process is not None
    for _ in range(200):
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)  # what it had sent to the server is committed by now
        if both.numbers("one"):
            return
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.02)
    raise AssertionError("the node never had anything in hand")
