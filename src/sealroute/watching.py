"""Who reads what the running gateway settled: the log, the metrics, the readiness report and the probes."""

from __future__ import annotations

import structlog

from sealroute.base.mail import Message
from sealroute.policy.history import Drift
from sealroute.ports import Settled
from sealroute.services.hasten import Hasten
from sealroute.services.metrics import Metrics
from sealroute.services.observe import Observations

log = structlog.get_logger("sealroute")


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
