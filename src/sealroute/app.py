"""Wires everything: from settings to a running gateway.

No decision is taken here.  Delivery's engine is put together in engine.py, and parts that single commands need, too, are opened
in parts.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import resource
import signal
from collections.abc import Callable
from datetime import timedelta

import uvloop

from sealroute.choosing import Choosing
from sealroute.engine import analysis_engine, delivery_engine, open_outside
from sealroute.faces.http.health import create_app
from sealroute.faces.http.server import HttpServer
from sealroute.from_settings import deliver_rules, dial_settings, listeners, receive_config, schedule_limits
from sealroute.gateway import Gateway
from sealroute.logs import configure as configure_logs
from sealroute.net.clock import SystemClock
from sealroute.net.dial import SmtpDialer
from sealroute.net.smtp_in import SmtpIn
from sealroute.parts import open_webhook
from sealroute.policy.alerts import AlertRules
from sealroute.ports import Clock
from sealroute.probing import Hearing, make_prober
from sealroute.seat import seated
from sealroute.services.accept import Accept, AcceptConfig, Scheduler
from sealroute.services.alert import Alerts, Told
from sealroute.services.authenticate import AuthConfig, Authenticator
from sealroute.services.bounce import Bounce, BounceConfig
from sealroute.services.deliver import Deliver
from sealroute.services.hasten import Hasten
from sealroute.services.history import History
from sealroute.services.ids import IdSource
from sealroute.services.metrics import LaneState, Metrics, Sources
from sealroute.services.observe import Observations
from sealroute.services.schedule import Schedule
from sealroute.services.watch_moves import MoveWatch
from sealroute.services.windows import Windows
from sealroute.settings import Settings
from sealroute.store.store import Store, open_store
from sealroute.supervise.supervisor import Supervisor
from sealroute.watching import Watch
from sealroute.worker import Link, Together, Worker

GC_THRESHOLD = 20_000
"""Objects made and not freed before the garbage collector looks at the youngest."""


# ------------------------------------------------------------------------------------------------------- the gateway


def build(settings: Settings, worker: Worker | None = None) -> Gateway:
    """All parts, put together; nothing runs yet.  Call it inside the event loop; raises OperatorError.

    `worker`: one of several; its parent holds the gateway lock and has opened the listening sockets.
    """
    gateway: Gateway
    store = _open_store(settings, worker)
    clock = SystemClock(settings.lab.clock_speed) if worker is None else worker.clock
    outside = open_outside(settings, clock, store.policies)
    plans, sessions = delivery_engine(settings, outside)
    ids = IdSource()
    choosing = Choosing(store, settings)

    metrics = Metrics(_sources(lambda: gateway))
    observations = Observations(store.observations, moves=store.connectors.moves)
    hasten = Hasten(store.watched, clock)
    watch = Watch(metrics, observations, hasten)
    history = History(store.history, watch.drifted)
    plans.made = history.look

    bounce = Bounce(BounceConfig(settings.generating_server, settings.postmaster), ids)
    deliver = Deliver(choosing, plans, sessions, bounce, clock, random.random, deliver_rules(settings))
    schedule = Schedule(store.queue, deliver, clock, watch, schedule_limits(settings, worker), choosing.stored)
    windows = Windows(store.windows, schedule.destinations, _slot(settings, worker))

    probed = Observations(store.probes)
    prober = None
    if settings.probes.enabled and (worker is None or worker.keeps_house):
        hearing = Hearing(watch, history, probed)
        dialer = SmtpDialer(dial_settings(settings))
        prober = make_prober(settings, store, analysis_engine(settings, outside), dialer, choosing, hearing)

    authenticator = _authenticator(settings, store)
    smtp_in = SmtpIn(receive_config(settings), _accept(settings, store, clock, schedule, ids), authenticator)
    moves = MoveWatch(store.admin.connectors, store.admin.moves, clock)
    gateway = Gateway(
        settings, store, clock, outside.resolver, outside.canary, outside.policies, outside.fetcher, sessions, schedule,
        smtp_in, authenticator, metrics, history, observations, probed, hasten, prober,
        _alerts(settings, store, clock, ids), moves, windows, listeners(settings), None,
    )  # fmt: skip
    _add_http(gateway, worker)
    return gateway


def _open_store(settings: Settings, worker: Worker | None) -> Store:
    node = settings.store.node if worker is None else worker.node
    store = open_store(settings.store.url, node_id=node, lease=timedelta(seconds=settings.store.lease_seconds))
    if worker is None:
        store.lock_gateway()
    else:
        store.take_turns()
    return store


def _sources(gateway: Callable[[], Gateway]) -> Sources:
    """What /metrics reads; nothing is read before the gateway is built."""

    def lanes() -> LaneState:
        schedule = gateway().schedule
        return LaneState(schedule.destinations.counts(), schedule.destinations.halvings, schedule.parked)

    return Sources(
        inbound=lambda: gateway().smtp_in.counters,
        queue=lambda: gateway().queue_state,
        writer=lambda: gateway().store.writer,
        cached_policies=lambda: gateway().policies.in_memory,
        resolver_can_validate=lambda: gateway().canary.trusted(),
        lanes=lanes,
    )


def _slot(settings: Settings, worker: Worker | None) -> str:
    """A name that outlives the process: of the node, or of the worker's place in it."""
    return settings.store.node if worker is None else f"{settings.store.node}#{worker.number}"


def _accept(settings: Settings, store: Store, clock: Clock, schedule: Schedule, ids: IdSource) -> Accept:
    config = AcceptConfig(settings.hostname, settings.limits.hops)
    return Accept(config, store.queue, clock, Scheduler(schedule.room, schedule.handover), ids)


def _authenticator(settings: Settings, store: Store) -> Authenticator:
    wanted = settings.auth
    rules = AuthConfig(wanted.concurrency, wanted.waiting, wanted.free_failures, wanted.max_delay_seconds)
    return Authenticator(store.admin.users, rules)


def _alerts(settings: Settings, store: Store, clock: Clock, ids: IdSource) -> Alerts:
    """Who is told of changes; the store writes alerts for nobody else."""
    wanted = settings.alerts
    told = Told(settings.hostname, settings.postmaster, wanted.mail_to, open_webhook(settings), wanted.quiet)
    rules = AlertRules(told.channels, wanted.repeat_after)
    store.history.alerts = store.watched.alerts = store.admin.moves.alerts = rules
    return Alerts(store.alerts, told, clock, ids)


def _add_http(gateway: Gateway, worker: Worker | None) -> None:
    """/metrics and /healthz, of all workers where there are several."""
    app, listening = create_app(gateway.metrics, gateway.health, gateway.look_at_queue), None
    if worker is not None:
        gateway.link = Link(worker)
        together = Together(gateway.link)
        app, listening = create_app(together, together.health, together.refresh), worker.http
    wanted = gateway.settings.http
    if wanted.enabled:
        gateway.http = HttpServer(app, wanted.address, wanted.port, listening)


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
