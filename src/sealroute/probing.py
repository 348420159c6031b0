"""Puts the probes of the running gateway together: who is watched, with what, and who hears of it."""

from __future__ import annotations

import random

from sealroute.choosing import Choosing
from sealroute.policy.connector import Connector
from sealroute.ports import Dialer
from sealroute.services.analysis.model import Analysis
from sealroute.services.analyze import Analyzer, Engine
from sealroute.services.history import History
from sealroute.services.observe import Observations
from sealroute.services.probe import ProbeLimits, Probes
from sealroute.services.watch import Listeners, Prober, WatchRules, Ways
from sealroute.settings import Settings
from sealroute.store.store import Store
from sealroute.watching import Watch

CONNECTIONS_PER_DOMAIN = 4
"""Connections at a time for each domain that is looked at at a time; one for each address."""


def make_prober(
    settings: Settings, store: Store, engine: Engine, dialer: Dialer, choosing: Choosing, hearing: Hearing
) -> Prober:  # fmt: skip
    """The prober, on delivery's own parts but for connections of its own; nothing runs yet."""
    wanted = settings.probes
    probes = Probes(dialer, ProbeLimits(at_once=wanted.at_once * CONNECTIONS_PER_DOMAIN, per_address=1, kept=5000))
    rules = WatchRules(
        interval=wanted.interval,
        traffic_days=wanted.traffic_days,
        named=tuple((settings.organization, domain) for domain in wanted.domains),
        max_domains=wanted.max_domains,
        at_once=wanted.at_once,
    )
    ways = Ways(store.connectors.everywhere, choosing.stored, engine.trusted)
    listeners = Listeners(hearing.seen, hearing.watch.drifted, hearing.watch.probed)
    return Prober(store.watched, Analyzer(engine, probes), ways, listeners, engine.clock, random.random, rules)


class Hearing:
    """Hands on what probes saw, as what deliveries see is handed on."""

    def __init__(self, watch: Watch, history: History, probed: Observations) -> None:
        self.watch = watch
        self._history = history
        self._probed = probed

    def seen(self, connector: Connector, analysis: Analysis) -> None:
        self._history.look(connector, analysis.seen.plan)
        for outcome in analysis.in_force:
            self._probed.note(connector.organization, outcome.attempts)
