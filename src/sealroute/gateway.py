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
from typing import Any

import structlog

from sealroute.base.errors import OperatorError, SealrouteError
from sealroute.condition import log_resolver, resolver_part, sts_part
from sealroute.faces.http.health import Part
from sealroute.faces.http.server import HttpServer
from sealroute.net.smtp_in import ListenerConfig, SmtpIn
from sealroute.ports import Changed, Clock, PolicyFetcher, Resolver
from sealroute.services.alert import Alerts
from sealroute.services.authenticate import Authenticator
from sealroute.services.canary import Canary
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
from sealroute.upkeep import purge, renew_lease
from sealroute.worker import Link

log = structlog.get_logger("sealroute")

CONNECTOR_POLL_SECONDS = 1.0


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
        log_resolver(await self.canary.probe())
        self._spawn("connectors", self._follow_connectors())
        self._spawn("lease", renew_lease(self.settings, self.store, self.clock, self.schedule.nudge))
        if self.link is None or self.link.worker.keeps_house:
            self._spawn("sts refresh", self.policies.refresh_loop(random.random))
            self._spawn("purge", purge(self.settings, self.store, self.clock))
            self._spawn("alerts", self.alerts.work())
            self._spawn("moves", self.moves.work())
        if self.canary.names is not None:
            self._spawn("canary", self.canary.loop(log_resolver))
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

    # ------------------------------------------------------------------------------------------------------- health

    async def look_at_queue(self) -> None:
        """Bring what /metrics shows of the queue up to date."""
        self.queue_state = await self.census.look()

    async def health(self) -> Sequence[Part]:
        """How each part is, for /healthz."""
        doors = Part("listeners", bool(self.bound), ", ".join(f"{address}:{port}" for address, port in self.bound))
        return [await self._store_health(), resolver_part(self.canary.report), doors, sts_part(self.policies)]

    async def _store_health(self) -> Part:
        try:
            await self.look_at_queue()
        except SealrouteError as error:
            return Part("store", False, str(error))
        waiting = sum(self.queue_state.depth.values()) if self.queue_state else 0
        return Part("store", True, f"{waiting} groups in the queue")
