"""The running gateway: what is started in which order, what goes on beside the mail, and how it all ends.

The parts are made and put together in app.py.  On stop: the doors are closed first, runs under way are finished, the rest
goes back to the queue; nothing accepted is lost whichever way the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from sealroute.base.errors import OperatorError, SealrouteError
from sealroute.base.mail import Message
from sealroute.base.times import rfc3339
from sealroute.faces.http.health import Part
from sealroute.faces.http.server import HttpServer
from sealroute.net.smtp_in import ListenerConfig, SmtpIn
from sealroute.policy.choose import ConnectorIndex
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.exceptions import TimedException, apply
from sealroute.policy.history import Drift
from sealroute.ports import Changed, Clock, PolicyFetcher, Resolver, Settled
from sealroute.services.alert import Alerts
from sealroute.services.apply_rules import RulesInForce
from sealroute.services.authenticate import Authenticator
from sealroute.services.canary import Canary, CanaryReport
from sealroute.services.census import Census
from sealroute.services.hasten import Hasten
from sealroute.services.history import History
from sealroute.services.metrics import Metrics, QueueState
from sealroute.services.observe import Observations
from sealroute.services.schedule import Schedule
from sealroute.services.sessions import Sessions
from sealroute.services.sts import StsPolicies
from sealroute.services.watch import Prober
from sealroute.services.watch_moves import MoveWatch
from sealroute.services.windows import Windows
from sealroute.settings import Settings
from sealroute.store.store import Store
from sealroute.worker import Link

log = structlog.get_logger("sealroute")

CONNECTOR_POLL_SECONDS = 1.0
PURGE_EVERY = timedelta(hours=1)
NOT_PROBED = (
    "not probed: trust anchors, stub zones or root hints of your own are configured, and resolver.canary_signed, "
    "canary_unsigned and canary_broken are not"
)


class Choosing:
    """The connector for a recipient, from the live set; the index is rebuilt when the set changes.

    A timed exception gives the domain a connector value of its own, made once and remembered; transport rules then make of it
    what this message needs (services/apply_rules).
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._indexes: dict[str, tuple[Sequence[Connector], ConnectorIndex, Connector]] = {}
        self._excepted: dict[str, tuple[Connector, Connector]] = {}
        """By exception: the connector, and what the exception makes of it."""
        self._ruled = RulesInForce()

    def stored(self, organization: str, domain: str) -> Connector:
        """The connector as it is stored: an exception changes its modes only, never its limits."""
        connectors = self._store.connectors.all(organization)
        known = self._indexes.get(organization)
        if known is None or known[0] is not connectors:
            known = self._indexes[organization] = self._index(organization, connectors)
            self._excepted.clear()  # with the connectors the exceptions were loaded anew, too
        return known[1].find(domain) or known[2]

    def __call__(self, message: Message, domain: str) -> Connector:
        live, organization = self._store.connectors, message.organization
        connector = self.stored(organization, domain)
        exceptions = live.exceptions(organization)
        if exceptions and (exception := exceptions.get((connector.guid, domain))) is not None:
            connector = self._except(connector, exception, domain)
        if rules := live.rules(organization):
            return self._ruled(message, domain, connector, rules, live.all(organization))
        return connector

    def _except(self, connector: Connector, exception: TimedException, domain: str) -> Connector:
        # By the wall's clock, like the date that an administrator gave, whatever time the queue keeps.
        now = datetime.now(UTC)
        if not exception.in_force(now):
            if self._excepted.pop(exception.id, None) is not None:
                log.info("exception ended by its date", exception=exception.id, domain=domain, connector=connector.name)
            return connector
        known = self._excepted.get(exception.id)
        if known is None or known[0] is not connector:
            known = self._excepted[exception.id] = (connector, apply(connector, exception, domain, now))
            log.warning(
                "exception in force", exception=exception.id, domain=domain, connector=connector.name,
                until=rfc3339(exception.until), reason=exception.reason, author=exception.author,
            )  # fmt: skip
        return known[1]

    def _index(
        self, organization: str, connectors: Sequence[Connector]
    ) -> tuple[Sequence[Connector], ConnectorIndex, Connector]:
        retry = self._settings.retry
        fallback = default_connector(organization, retry_schedule=retry.schedule, message_expiration=retry.message_expiration)
        return connectors, ConnectorIndex(connectors, self._settings.accepted_domains), fallback


class Watch:
    """Reads what was settled, for the log, the metrics, the readiness report and the probes."""

    def __init__(self, metrics: Metrics, observations: Observations, hasten: Hasten) -> None:
        self._metrics = metrics
        self._observations = observations
        self._hasten = hasten

    def settled(self, message: Message, settled: Settled) -> None:
        self._metrics.observe(settled)
        self._observations.note(message.organization, settled.attempts)
        self._hasten.note(message.organization, settled.attempts)
        for event in settled.events:
            log.info(
                event.event.lower(), message_id=message.id, recipient=event.recipient, text=event.description, **event.data
            )

    def drifted(self, drift: Drift) -> None:
        self._metrics.drifted(drift)
        (log.warning if drift.kind.weaker else log.info)(
            drift.kind.value, organization=drift.organization, domain=drift.domain, text=drift.sentence
        )

    def probed(self, trouble: str) -> None:
        self._metrics.probed(trouble)

    def trouble(self, what: str, error: BaseException) -> None:
        log.error(what, error=str(error), kind=type(error).__name__, exc_info=error)


@dataclass(slots=True)
class Gateway:
    """A running gateway and what it is made of."""

    settings: Settings
    store: Store
    clock: Clock
    resolver: Resolver
    canary: Canary
    policies: StsPolicies
    fetcher: PolicyFetcher
    sessions: Sessions
    schedule: Schedule
    smtp_in: SmtpIn
    authenticator: Authenticator
    metrics: Metrics
    history: History
    observations: Observations
    probed: Observations
    hasten: Hasten
    prober: Prober | None
    """None: nobody is probed, or another worker does it."""
    alerts: Alerts
    moves: MoveWatch
    windows: Windows
    listeners: tuple[ListenerConfig, ...]
    http: HttpServer | None
    link: Link | None = None
    """To the parent, when this is one of several workers."""
    bound: list[tuple[str, int]] = field(default_factory=list)
    """Where mail is accepted."""
    queue_state: QueueState | None = None
    census: Census = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.census = Census(self.store.queue, self.clock)

    async def start(self) -> None:
        """Take up what was unfinished, then open the doors.  Raises OperatorError when it cannot start."""
        self._check_organizations()
        recovered = await self.store.queue.start_node(self.clock.now())
        await self.store.connectors.refresh()
        await self.windows.load()
        self._resolver_changed(await self.canary.probe())
        self._spawn("connectors", self._follow_connectors())
        self._spawn("lease", self._renew_lease())
        if self.link is None or self.link.worker.keeps_house:
            self._spawn("sts refresh", self.policies.refresh_loop(random.random))
            self._spawn("purge", self._purge())
            self._spawn("alerts", self.alerts.work())
            self._spawn("moves", self.moves.work())
        if self.canary.names is not None:
            self._spawn("canary", self.canary.loop(self._resolver_changed))
        self._spawn("history", self.history.work())
        self._spawn("observations", self.observations.work())
        if self.settings.probes.enabled:
            self._spawn("hasten", self.hasten.work())
        if self.prober is not None:
            self._spawn("probes", self.prober.work())
            self._spawn("probe counts", self.probed.work())
        self._spawn("windows", self.windows.work())
        self._spawn("schedule", self.schedule.work())
        self._spawn("census", self.census.keep())
        self.store.on_change(self._changed)
        if self.http is not None:
            await self.http.start()
        for number, listener in enumerate(self.listeners):
            self.bound += await self._listen(listener, () if self.link is None else self.link.worker.listening[number])
        if self.link is not None:
            self._spawn("link", self.link.run(self))
        event = "ready" if self.link is None else "worker ready"
        log.info(event, listening=[f"{address}:{port}" for address, port in self.bound], recovered_groups=recovered)

    def _check_organizations(self) -> None:
        known = {identity for identity, _ in self.store.admin.organizations.all()}
        wanted = {self.settings.organization, *(listener.organization for listener in self.listeners)}
        if missing := sorted(wanted - known):
            fix = f"`sealroute organization add {missing[0]}` adds one."
            raise OperatorError.one("organization", f"there is no organization {', '.join(map(repr, missing))}.", fix)

    async def stop(self) -> None:
        """Finish what is under way, give the rest back to the queue, close everything."""
        log.info("stopping")
        grace = self.settings.limits.shutdown_seconds
        await self.smtp_in.close(grace)
        await self.schedule.stop(grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.http is not None:
            await self.http.stop()
        with contextlib.suppress(SealrouteError):  # a memory that is lost is made again
            await self.history.flush()
            await self.observations.flush()
            await self.probed.flush()
            await self.windows.flush()
        if self.prober is not None:
            await self.prober.close()
        await self.sessions.close()
        await self.policies.close()
        await self.fetcher.close()
        await self.resolver.close()
        self.authenticator.close()
        await self.store.close()
        log.info("stopped")

    async def _listen(self, listener: ListenerConfig, opened: Sequence[socket.socket]) -> tuple[tuple[str, int], ...]:
        try:
            return await self.smtp_in.listen(listener, opened)
        except OSError as error:
            where = f"{listener.address} port {listener.port}"
            fix = "Choose another address or port, stop what uses it, or run with the right to bind ports below 1024."
            raise OperatorError.one("listeners", f"cannot listen on {where}: {error.strerror or error}.", fix) from error

    def reload(self) -> None:
        """SIGHUP: look at the connectors now."""
        log.info("reloading connectors")
        self._spawn("reload", self._refresh_connectors())

    def _changed(self, what: Changed) -> None:
        """Another node or an administrator did something: look now instead of at the next poll."""
        if what is Changed.QUEUE:
            self.schedule.nudge()
        else:
            self._spawn("connectors changed", self._refresh_connectors())

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
                await asyncio.to_thread(self.store.admin.drift.purge, self.clock.now() - keep)
                await asyncio.to_thread(self.store.admin.alerts.purge, self.clock.now() - keep)
                await asyncio.to_thread(self.store.admin.observations.purge, self.clock.now() - keep)
                await asyncio.to_thread(self.store.admin.watched.purge, self.clock.now() - keep)
                await asyncio.to_thread(self.store.admin.destinations.purge, self.clock.now() - keep)
                await asyncio.to_thread(self.store.admin.queue.sweep)
            except SealrouteError as error:
                log.error("old records could not be removed", error=str(error))
            await asyncio.sleep(PURGE_EVERY.total_seconds())

    def _resolver_changed(self, report: CanaryReport) -> None:
        if not report.probes and report.can_validate:
            log.info("resolver not probed", text=NOT_PROBED)
        elif report.can_validate:
            log.info("resolver probed", can_validate=True, text=report.sentence)
        else:
            log.error("resolver probed", can_validate=False, text=report.sentence, advice=report.advice)

    # ------------------------------------------------------------------------------------------------------- health

    async def look_at_queue(self) -> None:
        """Bring what /metrics shows of the queue up to date."""
        self.queue_state = await self.census.look()

    async def health(self) -> Sequence[Part]:
        """How each part is, for /healthz."""
        parts = [await self._store_health(), self._resolver_health()]
        parts.append(Part("listeners", bool(self.bound), ", ".join(f"{address}:{port}" for address, port in self.bound)))
        troubles = self.policies.refresh_troubles
        detail = "; ".join(f"{domain}: {why}" for domain, why in list(troubles.items())[:5])
        # A stale policy is a partner's trouble: shown, but no reason to take this node out of service.
        parts.append(Part("mta-sts", True, f"not refreshed: {detail}" if detail else "policies are fresh"))
        return parts

    async def _store_health(self) -> Part:
        try:
            await self.look_at_queue()
        except SealrouteError as error:
            return Part("store", False, str(error))
        waiting = sum(self.queue_state.depth.values()) if self.queue_state else 0
        return Part("store", True, f"{waiting} groups in the queue")

    def _resolver_health(self) -> Part:
        report = self.canary.report
        if report is None:
            return Part("resolver", False, "not probed yet")
        if not report.probes and report.can_validate:
            return Part("resolver", True, NOT_PROBED)
        return Part("resolver", report.can_validate, f"{report.sentence}. {report.advice}".rstrip(". "))
