"""Wires everything: the only file that sees every floor.

From settings to a running gateway.  No decision is taken here; parts that single commands need too are opened in parts.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
import uvloop

from sealroute.base.chain import TrustRoots
from sealroute.base.errors import OperatorError
from sealroute.faces.http.health import create_app
from sealroute.faces.http.server import HttpServer
from sealroute.from_settings import deliver_rules, dial_settings, listeners, receive_config, schedule_limits, session_limits
from sealroute.gateway import Choosing, Gateway, Watch
from sealroute.logs import configure as configure_logs
from sealroute.net.clock import SystemClock
from sealroute.net.dial import SmtpDialer
from sealroute.net.smtp_in import SmtpIn
from sealroute.net.tls import system_roots_pem
from sealroute.parts import open_canary, open_fetcher, open_resolver, open_webhook, text_of
from sealroute.policy.alerts import AlertRules
from sealroute.policy.connector import Connector
from sealroute.policy.decide import Plan
from sealroute.policy.verdict import judge
from sealroute.ports import Clock, Resolver, ShowingResolver
from sealroute.probing import Hearing, make_prober
from sealroute.seat import seated
from sealroute.services.accept import Accept, AcceptConfig, Scheduler
from sealroute.services.alert import Alerts, Told
from sealroute.services.analyze import Analyzer, Engine
from sealroute.services.authenticate import AuthConfig, Authenticator
from sealroute.services.bounce import Bounce, BounceConfig
from sealroute.services.canary import Canary
from sealroute.services.deliver import Deliver
from sealroute.services.gather import Gather
from sealroute.services.hasten import Hasten
from sealroute.services.history import History
from sealroute.services.ids import IdSource
from sealroute.services.metrics import LaneState, Metrics, Sources
from sealroute.services.observe import Observations
from sealroute.services.plan import Plans
from sealroute.services.probe import Probes
from sealroute.services.reach import Reach
from sealroute.services.schedule import Schedule
from sealroute.services.sessions import Sessions
from sealroute.services.sts import StsPolicies
from sealroute.services.sts_caches import NothingKept, OnlyRead
from sealroute.services.validate import Bench, NoNotices, Sender, validate
from sealroute.services.validation.model import Validation
from sealroute.services.watch_moves import MoveWatch
from sealroute.services.windows import Windows
from sealroute.settings import Settings
from sealroute.settings.hurry import hurried
from sealroute.store.store import Store, open_store
from sealroute.supervise import Supervisor
from sealroute.worker import Link, Together, Worker

log = structlog.get_logger("sealroute")

GC_THRESHOLD = 20_000
"""Objects made and not freed before the garbage collector looks at the youngest."""


# ------------------------------------------------------------------------------------------------------- the gateway


def build(settings: Settings, worker: Worker | None = None) -> Gateway:
    """All parts, put together; nothing runs yet.  Call it inside the event loop; raises OperatorError.

    `worker`: one of several; its parent holds the gateway lock and has opened the listening sockets.
    """
    node = settings.store.node if worker is None else worker.node
    store = open_store(settings.store.url, node_id=node, lease=timedelta(seconds=settings.store.lease_seconds))
    if worker is None:
        store.lock_gateway()
    else:
        store.take_turns()
    clock = SystemClock(settings.lab.clock_speed) if worker is None else worker.clock
    resolver = open_resolver(settings)
    canary = open_canary(settings, resolver, clock)
    fetcher = open_fetcher(settings, resolver)
    policies = StsPolicies(resolver, fetcher, store.policies, clock)
    plans, sessions = _engine(settings, resolver, policies, clock, canary)
    ids = IdSource()
    bounce = Bounce(BounceConfig(settings.generating_server, settings.postmaster), ids)
    choosing = Choosing(store, settings)
    deliver = Deliver(choosing, plans, sessions, bounce, clock, random.random, deliver_rules(settings))
    smtp_in: SmtpIn
    gateway: Gateway
    metrics = Metrics(
        Sources(
            inbound=lambda: smtp_in.counters,
            queue=lambda: gateway.queue_state,
            writer=lambda: store.writer,
            cached_policies=lambda: policies.in_memory,
            resolver_can_validate=canary.trusted,
            lanes=lambda: LaneState(schedule.destinations.counts(), schedule.destinations.halvings, schedule.parked),
        )
    )
    observations = Observations(store.observations, moves=store.connectors.moves)
    hasten = Hasten(store.watched, clock)
    watch = Watch(metrics, observations, hasten)
    history = History(store.history, watch.drifted)
    plans.made = history.look
    schedule = Schedule(store.queue, deliver, clock, watch, schedule_limits(settings, worker), choosing.stored)
    slot = settings.store.node if worker is None else f"{settings.store.node}#{worker.number}"
    windows = Windows(store.windows, schedule.destinations, slot)
    probed = Observations(store.probes)
    prober = None
    if settings.probes.enabled and (worker is None or worker.keeps_house):
        engine = _probing_engine(settings, resolver, policies, clock, canary)
        hearing = Hearing(watch, history, probed)
        prober = make_prober(settings, store, engine, SmtpDialer(dial_settings(settings)), choosing, hearing)
    config = AcceptConfig(settings.hostname, settings.limits.hops)
    accept = Accept(config, store.queue, clock, Scheduler(schedule.room, schedule.handover), ids)
    auth = settings.auth
    authenticator = Authenticator(
        store.admin.users, AuthConfig(auth.concurrency, auth.waiting, auth.free_failures, auth.max_delay_seconds)
    )
    smtp_in = SmtpIn(receive_config(settings), accept, authenticator)
    gateway = Gateway(
        settings, store, clock, resolver, canary, policies, fetcher, sessions, schedule, smtp_in, authenticator,
        metrics, history, observations, probed, hasten, prober, _alerts(settings, store, clock, ids),
        MoveWatch(store.admin.connectors, store.admin.moves, clock), windows, listeners(settings), None,
    )  # fmt: skip
    app, listening = create_app(metrics, gateway.health, gateway.look_at_queue), None
    if worker is not None:
        gateway.link = Link(worker)
        together = Together(gateway.link)
        app, listening = create_app(together, together.health, together.refresh), worker.http
    if settings.http.enabled:
        gateway.http = HttpServer(app, settings.http.address, settings.http.port, listening)
    return gateway


def _alerts(settings: Settings, store: Store, clock: Clock, ids: IdSource) -> Alerts:
    """Who is told of changes; the store writes alerts for nobody else."""
    wanted = settings.alerts
    told = Told(settings.hostname, settings.postmaster, wanted.mail_to, open_webhook(settings), wanted.quiet)
    rules = AlertRules(told.channels, wanted.repeat_after)
    store.history.alerts = store.watched.alerts = store.admin.moves.alerts = rules
    return Alerts(store.alerts, told, clock, ids)


def _engine(
    settings: Settings, resolver: Resolver, policies: StsPolicies, clock: Clock, canary: Canary
) -> tuple[Plans, Sessions]:
    """Gather, decide, dial and judge, ready for services/deliver."""
    gather = Gather(resolver, policies, clock, settings.delivery.smtp_port, canary.trusted, canary.why_not)
    roots = TrustRoots.from_pem(system_roots_pem(text_of(settings.tls.ca_file)))
    dialer = SmtpDialer(dial_settings(settings))
    return Plans(gather), Sessions(dialer, lambda need, facts: judge(need, facts, roots), session_limits(settings))


def _probing_engine(
    settings: Settings, resolver: ShowingResolver, policies: StsPolicies, clock: Clock, canary: Canary
) -> Engine:
    """The same for services/analyze; what is known of MTA-STS is what delivery knows."""
    roots = TrustRoots.from_pem(system_roots_pem(text_of(settings.tls.ca_file)))
    rules = deliver_rules(settings)
    return Engine(resolver, resolver, policies, policies, roots, clock, rules, canary.trusted, canary.why_not)


@contextlib.asynccontextmanager
async def open_validation(
    settings: Settings, connector_for: Callable[[str], Connector]
) -> AsyncIterator[Callable[[Sequence[str]], Awaitable[Validation]]]:
    """Delivery's own engine bound to one connector, as it applies to a domain, for Validate-OutboundConnector."""
    store = open_store(settings.store.url)
    clock = SystemClock()
    resolver = open_resolver(settings)
    canary = open_canary(settings, resolver, clock)
    fetcher = open_fetcher(settings, resolver)
    policies = StsPolicies(resolver, fetcher, store.policies, clock)
    plans, sessions = _engine(settings, resolver, policies, clock, canary)
    planned: dict[str, Plan] = {}
    plans.made = lambda _, plan: planned.update({plan.evidence.domain: plan})
    rules = deliver_rules(settings)
    deliver = Deliver(
        lambda _, domain: connector_for(domain), plans, sessions, NoNotices(), clock, random.random, rules
    )  # fmt: skip
    reach = Reach(sessions, clock, random.random, rules)
    bench = Bench(deliver, reach, sessions.judge, planned.get, connector_for)

    async def run(recipients: Sequence[str]) -> Validation:
        await canary.probe()
        sender = Sender(settings.hostname, settings.postmaster)
        return await validate(bench, recipients, sender, IdSource(), clock.now())

    try:
        yield run
    finally:
        await sessions.close()
        await policies.close()
        await fetcher.close()
        await resolver.close()
        await store.close()


@contextlib.asynccontextmanager
async def open_analyzer(
    settings: Settings, *, step_seconds: float | None = None
) -> AsyncIterator[tuple[Analyzer, Canary, Resolver]]:
    """Delivery's own engine on probes, its resolver probed already; `step_seconds` bounds each look-up, connection and reply.

    What the store has kept of MTA-STS counts as it does for delivery, and is not changed; without a store that can be opened,
    nothing is known from before.
    """
    settings = hurried(settings, step_seconds)
    store = None
    with contextlib.suppress(OperatorError):
        store = open_store(settings.store.url)
    clock = SystemClock()
    resolver = open_resolver(settings)
    canary = open_canary(settings, resolver, clock)
    fetcher = open_fetcher(settings, resolver)
    known = StsPolicies(resolver, fetcher, OnlyRead(store.policies) if store else NothingKept(), clock)
    fresh = StsPolicies(resolver, fetcher, NothingKept(), clock)
    roots = TrustRoots.from_pem(system_roots_pem(text_of(settings.tls.ca_file)))
    rules = deliver_rules(settings)
    engine = Engine(resolver, resolver, known, fresh, roots, clock, rules, canary.trusted, canary.why_not)
    probes = Probes(SmtpDialer(dial_settings(settings)))
    try:
        await canary.probe()
        yield Analyzer(engine, probes), canary, resolver
    finally:
        await probes.close()
        await known.close()
        await fresh.close()
        await fetcher.close()
        await resolver.close()
        if store is not None:
            await store.close()


# ---------------------------------------------------------------------------------------------------------- running


def serve(settings: Settings) -> int:
    """Run the gateway until SIGTERM or SIGINT; returns the exit code.  Raises OperatorError when it cannot start."""
    configure_logs(settings.logging.level.value, settings.logging.format.value)
    raise_open_files()
    workers = settings.worker_count
    if workers == 1:
        return uvloop.run(_serve(settings))
    return Supervisor(settings, workers, lambda share, worker: uvloop.run(_serve(share, worker))).run()


def raise_open_files() -> None:
    """Allow ourselves as many open files as we may have: a policy fetch without a socket would fail, and weaken mail."""
    with contextlib.suppress(OSError, ValueError):  # a service manager may forbid it, having set its own
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(settings: Settings, worker: Worker | None = None) -> int:
    gateway = build(settings, worker)
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
        # What exists now stays: looking through it again and again for garbage took a few per cent of the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        async with seated(wanted=settings.stay_on_processor):
            await done.wait()
    finally:
        await gateway.stop()
    return 0
