"""Wires everything: the only file that sees every floor.

From settings to a running gateway, and the smaller sets of parts that single commands need.  No decision is taken here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import uvloop

from sealroute.base.chain import TrustRoots
from sealroute.base.errors import OperatorError, SealrouteError
from sealroute.base.mail import Message, Origin
from sealroute.faces.http.health import HealthServer
from sealroute.logs import configure as configure_logs
from sealroute.net.clock import SystemClock
from sealroute.net.dial import SmtpDialer
from sealroute.net.https import FetchRules, HttpsPolicyFetcher
from sealroute.net.resolver_ad import AdBitResolver, AdConfig
from sealroute.net.resolver_unbound import UnboundConfig, UnboundResolver
from sealroute.net.smtp_connection import DialSettings
from sealroute.net.smtp_in import ListenerConfig, ReceiveConfig, ReceiveLimits, SmtpIn
from sealroute.net.tls import policy_client_context, server_context, system_roots_pem
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.retry import RetryRules
from sealroute.policy.verdict import judge
from sealroute.ports import PolicyFetcher, Resolver, Settled
from sealroute.proto.smtp.session import ServerLimits
from sealroute.services.accept import Accept, AcceptConfig, Scheduler
from sealroute.services.authenticate import AuthConfig, Authenticator
from sealroute.services.bounce import Bounce, BounceConfig
from sealroute.services.canary import Canary, CanaryNames, CanaryReport
from sealroute.services.deliver import Deliver, DeliverRules
from sealroute.services.gather import Gather
from sealroute.services.ids import IdSource
from sealroute.services.metrics import Metrics
from sealroute.services.plan import Plans
from sealroute.services.schedule import Schedule, ScheduleLimits
from sealroute.services.sessions import SessionLimits, Sessions
from sealroute.services.sts import StsPolicies
from sealroute.settings import Settings, load
from sealroute.settings.inbound import Listener, ListenerKind
from sealroute.settings.outbound import AddressFamily, ResolverKind
from sealroute.store import AdminStore, Store, open_admin, open_store

log = structlog.get_logger("sealroute")

CONNECTOR_POLL_SECONDS = 1.0
PURGE_EVERY = timedelta(hours=1)


# ------------------------------------------------------------------------------------------------- parts of commands


def open_store_for(settings: Settings) -> AdminStore:
    """The store as commands use it."""
    return open_admin(settings.store.url)


def open_resolver(settings: Settings) -> Resolver:
    """The resolver that the settings ask for; call it inside a running event loop."""
    wanted = settings.resolver
    if wanted.kind is ResolverKind.AD:
        return AdBitResolver(AdConfig(wanted.servers, trusted=wanted.trusted, timeout_seconds=wanted.timeout_seconds))
    return UnboundResolver(
        UnboundConfig(
            forwarders=wanted.forwarders,
            stub_zones=tuple((stub.zone, address) for stub in wanted.stub_zones for address in stub.addresses),
            root_hints=wanted.root_hints,
            trust_anchor_file=wanted.trust_anchor_file,
            unblock_zones=wanted.unblock_zones,
            timeout_seconds=wanted.timeout_seconds,
        )
    )


def open_fetcher(settings: Settings, resolver: Resolver) -> PolicyFetcher:
    """HTTPS for MTA-STS policies."""
    wanted = settings.mta_sts
    context = policy_client_context(_text(wanted.ca_file))
    rules = FetchRules(
        port=wanted.https_port,
        timeout_seconds=wanted.timeout_seconds,
        allow_private=settings.delivery.allow_private_destinations,
    )
    return HttpsPolicyFetcher(resolver, context, rules)


@contextlib.asynccontextmanager
async def open_policy_tools(config: Path | None) -> AsyncIterator[tuple[Resolver, PolicyFetcher]]:
    """What `sealroute mta-sts fetch` needs."""
    settings = load(config)
    resolver = open_resolver(settings)
    fetcher = open_fetcher(settings, resolver)
    try:
        yield resolver, fetcher
    finally:
        await fetcher.close()
        await resolver.close()


def _text(path: Path | str | None) -> str | None:
    return None if path is None else str(path)


# ------------------------------------------------------------------------------------------------------- the gateway


class Choosing:
    """The connector for a recipient, from the live set; the index is rebuilt when the set changes."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._indexes: dict[str, tuple[Sequence[Connector], ConnectorIndex, Connector]] = {}

    def __call__(self, message: Message, domain: str) -> Connector:
        connectors = self._store.connectors.all(message.organization)
        known = self._indexes.get(message.organization)
        if known is None or known[0] is not connectors:
            known = self._indexes[message.organization] = self._index(message.organization, connectors)
        return known[1].find(domain) or known[2]

    def _index(
        self, organization: str, connectors: Sequence[Connector]
    ) -> tuple[Sequence[Connector], ConnectorIndex, Connector]:
        retry = self._settings.retry
        fallback = default_connector(organization, retry_schedule=retry.schedule, message_expiration=retry.message_expiration)
        return connectors, ConnectorIndex(connectors, self._settings.accepted_domains), fallback


class Watch:
    """Reads what was settled, for the log and the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def settled(self, message: Message, settled: Settled) -> None:
        self._metrics.observe(settled)
        for event in settled.events:
            log.info(
                event.event.lower(), message_id=message.id, recipient=event.recipient, text=event.description, **event.data
            )

    def trouble(self, what: str, error: BaseException) -> None:
        log.error(what, error=str(error), kind=type(error).__name__, exc_info=error)


@dataclass(slots=True)
class Gateway:
    """A running gateway and what it is made of."""

    settings: Settings
    store: Store
    clock: SystemClock
    resolver: Resolver
    canary: Canary | None
    policies: StsPolicies
    fetcher: PolicyFetcher
    plans: Plans
    sessions: Sessions
    schedule: Schedule
    smtp_in: SmtpIn
    authenticator: Authenticator
    metrics: Metrics
    health: HealthServer | None
    bound: list[tuple[str, int]] = field(default_factory=list)
    """Where mail is accepted."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Take up what was unfinished, then open the doors.  Raises OperatorError when it cannot start."""
        recovered = await self.store.queue.start_node(self.clock.now())
        await self.store.connectors.refresh()
        if self.canary is not None:
            self._resolver_changed(await self.canary.probe())
        self._spawn("connectors", self._follow_connectors())
        self._spawn("lease", self._renew_lease())
        self._spawn("sts refresh", self.policies.refresh_loop(random.random))
        self._spawn("purge", self._purge())
        if self.canary is not None:
            self._spawn("canary", self.canary.loop(self._resolver_changed))
        self._spawn("schedule", self.schedule.work())
        if self.health is not None:
            await self.health.start()
        for listener in self.settings.listeners:
            self.bound += await _listen(self.smtp_in, listener)
        log.info("ready", listening=[f"{address}:{port}" for address, port in self.bound], recovered_groups=recovered)

    async def stop(self) -> None:
        """Finish what is under way, give the rest back to the queue, close everything."""
        log.info("stopping")
        grace = self.settings.limits.shutdown_seconds
        await self.smtp_in.close(grace)
        await self.schedule.stop(grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.health is not None:
            await self.health.stop()
        await self.sessions.close()
        await self.policies.close()
        await self.fetcher.close()
        await self.resolver.close()
        self.authenticator.close()
        await self.store.close()
        log.info("stopped")

    def reload(self) -> None:
        """SIGHUP: look at the connectors now."""
        log.info("reloading connectors")
        self._spawn("reload", self._refresh_connectors())

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A loop that ends is a bug; the gateway must not go on half alive.
            log.critical("a part of the gateway broke off", part=task.get_name(), exc_info=error)
            signal.raise_signal(signal.SIGTERM)

    async def _follow_connectors(self) -> None:
        while True:
            await asyncio.sleep(CONNECTOR_POLL_SECONDS)
            await self._refresh_connectors()

    async def _refresh_connectors(self) -> None:
        try:
            if await self.store.connectors.refresh():
                log.info("connectors loaded")
        except SealrouteError as error:
            log.error("connectors could not be loaded; the last set stays in force", error=str(error))

    async def _renew_lease(self) -> None:
        while True:
            await asyncio.sleep(self.settings.store.lease_seconds / 3)
            try:
                recovered = await self.store.queue.renew_node(self.clock.now())
            except SealrouteError as error:
                log.error("the lease could not be renewed", error=str(error))
                continue
            if recovered:
                log.warning("took over from a silent node", groups=recovered)
                self.schedule.nudge()

    async def _purge(self) -> None:
        keep = timedelta(days=self.settings.trace.retention_days)
        while True:
            try:
                await asyncio.to_thread(self.store.admin.traces.purge, self.clock.now() - keep)
            except SealrouteError as error:
                log.error("old trace records could not be removed", error=str(error))
            await asyncio.sleep(PURGE_EVERY.total_seconds())

    def _resolver_changed(self, report: CanaryReport) -> None:
        (log.info if report.can_validate else log.error)(
            "resolver probed", can_validate=report.can_validate, text=report.sentence
        )


def build(settings: Settings) -> Gateway:
    """All parts, put together; nothing runs yet.  Call it inside the event loop; raises OperatorError."""
    store = open_store(settings.store.url, node_id=settings.store.node, lease=timedelta(seconds=settings.store.lease_seconds))
    store.lock_gateway()
    clock = SystemClock(settings.lab.clock_speed)
    resolver = open_resolver(settings)
    canary = _canary(settings, resolver, clock)
    fetcher = open_fetcher(settings, resolver)
    policies = StsPolicies(resolver, fetcher, store.policies, clock)
    port = settings.delivery.smtp_port
    gather = Gather(resolver, policies, clock, port, *([canary.trusted] if canary else []))
    plans = Plans(gather)
    roots = TrustRoots.from_pem(system_roots_pem(_text(settings.tls.ca_file)))
    sessions = Sessions(
        SmtpDialer(_dial_settings(settings)), lambda need, facts: judge(need, facts, roots), _session_limits(settings)
    )
    ids = IdSource()
    bounce = Bounce(BounceConfig(settings.generating_server, settings.postmaster), ids)
    deliver = Deliver(Choosing(store, settings), plans, sessions, bounce, clock, random.random, _deliver_rules(settings))
    metrics = Metrics()
    limits = ScheduleLimits(runs_per_destination=settings.delivery.max_connections_per_destination)
    schedule = Schedule(store.queue, deliver, clock, Watch(metrics), limits)
    accept = Accept(
        AcceptConfig(settings.hostname, settings.limits.hops),
        store.queue,
        clock,
        Scheduler(schedule.room, schedule.handover),
        ids,
    )
    authenticator = Authenticator(
        store.admin.users,
        AuthConfig(
            settings.auth.concurrency, settings.auth.waiting, settings.auth.free_failures, settings.auth.max_delay_seconds
        ),
    )
    smtp_in = SmtpIn(_receive_config(settings), accept, authenticator)
    gateway = Gateway(
        settings, store, clock, resolver, canary, policies, fetcher, plans, sessions, schedule, smtp_in, authenticator,
        metrics, None,
    )  # fmt: skip
    return gateway


def _canary(settings: Settings, resolver: Resolver, clock: SystemClock) -> Canary | None:
    """The probe of the resolver, when its three names are set."""
    wanted = settings.resolver
    if wanted.canary_signed is None or wanted.canary_unsigned is None or wanted.canary_broken is None:
        return None
    names = CanaryNames(wanted.canary_signed, wanted.canary_unsigned, wanted.canary_broken)
    return Canary(resolver, names, clock, timedelta(seconds=wanted.canary_interval_seconds))


def _deliver_rules(settings: Settings) -> DeliverRules:
    families = tuple(6 if family is AddressFamily.IPV6 else 4 for family in settings.delivery.address_families)
    return DeliverRules(
        RetryRules(settings.retry.delay_notice_after, settings.retry.jitter_percent / 100),
        settings.delivery.smtp_port,
        settings.delivery.allow_private_destinations,
        families,
    )


def _dial_settings(settings: Settings) -> DialSettings:
    wanted = settings.delivery
    return DialSettings(
        helo_name=settings.hostname,
        source_ipv4=wanted.source_ipv4,
        source_ipv6=wanted.source_ipv6,
        connect_timeout_seconds=wanted.connect_timeout_seconds,
        greeting_timeout_seconds=wanted.greeting_timeout_seconds,
        tls_timeout_seconds=wanted.tls_timeout_seconds,
        command_timeout_seconds=wanted.command_timeout_seconds,
        final_reply_timeout_seconds=wanted.final_reply_timeout_seconds,
        minimum_bytes_per_second=wanted.minimum_bytes_per_second,
        max_recipients=wanted.recipients_per_transaction,
        chunking_max_bytes=wanted.chunking_max_bytes,
    )


def _session_limits(settings: Settings) -> SessionLimits:
    wanted = settings.delivery
    return SessionLimits(wanted.max_connections, wanted.messages_per_connection, wanted.idle_connection_seconds)


def _receive_config(settings: Settings) -> ReceiveConfig:
    wanted = settings.limits
    return ReceiveConfig(
        settings.hostname,
        settings.configured_postmaster or "",
        ReceiveLimits(
            connections=wanted.max_connections,
            connections_per_client=wanted.max_connections_per_client,
            command_seconds=wanted.command_timeout_seconds,
            data_seconds=wanted.data_timeout_seconds,
            session_seconds=wanted.session_seconds,
            handshake_seconds=wanted.handshake_timeout_seconds,
            content_budget_bytes=wanted.content_budget_bytes,
        ),
        ServerLimits(
            message_bytes=wanted.message_bytes,
            recipients_per_message=wanted.recipients_per_message,
            messages_per_session=wanted.messages_per_session,
            errors_per_session=wanted.errors_per_session,
            refused_recipients_per_session=wanted.refused_recipients_per_session,
            idle_commands=wanted.idle_commands,
            auth_attempts=settings.auth.attempts_per_session,
        ),
    )


async def _listen(smtp_in: SmtpIn, listener: Listener) -> list[tuple[str, int]]:
    context = None
    if listener.tls_certificate is not None:
        context = server_context(str(listener.tls_certificate), _text(listener.tls_key))
    config = ListenerConfig(
        listener.address,
        listener.effective_port,
        Origin.RELAY if listener.kind is ListenerKind.RELAY else Origin.SUBMISSION,
        listener.networks if listener.kind is ListenerKind.RELAY else (),
        context,
        listener.implicit_tls,
        listener.organization,
    )
    try:
        return list(await smtp_in.listen(config))
    except OSError as error:
        where = f"{listener.address} port {listener.effective_port}"
        fix = "Choose another address or port, stop what uses it, or run with the right to bind ports below 1024."
        raise OperatorError.one("listeners", f"cannot listen on {where}: {error.strerror or error}.", fix) from error


# ---------------------------------------------------------------------------------------------------------- running


def serve(settings: Settings) -> int:
    """Run the gateway until SIGTERM or SIGINT; returns the exit code.  Raises OperatorError when it cannot start."""
    configure_logs(settings.logging)
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    gateway = build(settings)
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: done.set,
        signal.SIGINT: done.set,
        signal.SIGHUP: gateway.reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        await gateway.start()
        await done.wait()
    finally:
        await gateway.stop()
    return 0
