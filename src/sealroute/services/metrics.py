"""metrics: what /metrics shows, counted from the same attempts that everything else reads; nothing is decided here.

One registry object per gateway, no globals.  Labels are closed sets (reasons, protections, states, outcomes), never a
domain, host or address: those would grow without bound, and the trace has them.

Counters are fed by `observe`, `accepted` and `refused`; what is a state (queue depth, resolver, caches) is read through
callables when /metrics is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from sealroute.base.mail import Message
from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.requirement import Protection
from sealroute.ports import GroupState, Settled

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_REASON = "none"


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """The queue at this moment."""

    depth: Mapping[GroupState, int] = field(default_factory=dict)
    oldest_age_seconds: float = 0.0


class Metrics:
    """All metrics of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._accepted = self._counter("messages_accepted", "Messages taken in, by how they came.", "origin")
        self._refused = self._counter("messages_refused", "Messages and recipients refused on the way in.", "reason")
        self._recipients = self._counter(
            "recipients_total", "Recipients, by what became of them, how they travelled, and why not.",
            "fate", "protection", "reason",
        )  # fmt: skip
        self._attempts = self._counter("attempts", "Delivery attempts, by reason of failure (none: it succeeded).", "reason")
        self._held = self._counter("attempts_before_dial", "Attempts that ended before any server was dialled.", "reason")
        self._sessions = self._counter("outbound_sessions", "SMTP sessions used by attempts.", "reused")
        self._handshakes = self._counter("tls_handshakes", "TLS handshakes with destinations.", "result", "version")
        self._shadow = self._counter(
            "mandatory_shadow", "Attempts that would (or would not) have satisfied a Mandatory mode.", "mode", "satisfied"
        )
        self._seconds = self._histogram("attempt_seconds", "How long the parts of attempts took.", _SECONDS, "part")
        self._batches = self._histogram("store_batch_size", "Changes committed together by the store's writer.", _BATCHES)
        self._depth = self._gauge("queue_groups", "Recipient groups in the queue, by state.", "state")
        self._oldest = self._gauge("queue_oldest_age_seconds", "Age of the oldest message in the queue.")
        self._resolver = self._gauge("resolver_can_validate", "1 when the resolver tells valid DNSSEC from invalid, else 0.")
        self._policies = self._gauge("mta_sts_cached_policies", "MTA-STS policies in the cache.")
        self._inbound = self._gauge("inbound_connections", "Open incoming connections.")
        for state in GroupState:
            self._depth.labels(state.value).set(0)

    # ----------------------------------------------------------------------------------------------------- feeding

    def accepted(self, message: Message) -> None:
        """A message was stored and answered with 250."""
        self._accepted.labels(message.origin.value).inc()

    def refused(self, reason: str) -> None:
        """A message or recipient was refused on the way in; `reason` is a fixed keyword, never text from a client."""
        self._refused.labels(reason).inc()

    def observe(self, settled: Settled) -> None:
        """A group's run is over."""
        carried = {id(fate): attempt for attempt in settled.attempts for fate in attempt.recipients}
        for fate in settled.fates:
            attempt = carried.get(id(fate))
            self._recipients.labels(fate.fate.value, _protection(fate, attempt), _reason(fate)).inc()
        for attempt in settled.attempts:
            self._attempt(attempt)

    def batch(self, size: int) -> None:
        """The store's writer committed so many changes together."""
        self._batches.observe(size)

    def watch(
        self,
        *,
        resolver_can_validate: Callable[[], bool] | None = None,
        cached_policies: Callable[[], int] | None = None,
        inbound_connections: Callable[[], int] | None = None,
    ) -> None:
        """Where states are read when /metrics is asked for; each call must be quick and not wait."""
        if resolver_can_validate is not None:
            self._resolver.set_function(lambda: float(resolver_can_validate()))
        if cached_policies is not None:
            self._policies.set_function(cached_policies)
        if inbound_connections is not None:
            self._inbound.set_function(inbound_connections)

    def queue(self, now: QueueGauges) -> None:
        """The queue as it is at this moment."""
        for state in GroupState:
            self._depth.labels(state.value).set(now.depth.get(state, 0))
        self._oldest.set(now.oldest_age_seconds)

    def _attempt(self, attempt: Attempt) -> None:
        reason = attempt.finding.reason.value if attempt.finding else NO_REASON
        self._attempts.labels(reason).inc()
        if not attempt.host:
            self._held.labels(reason).inc()
        facts, verdict = attempt.facts, attempt.verdict
        if facts is not None:
            self._sessions.labels(str(attempt.reused_connection).lower()).inc()
            if not attempt.reused_connection and (facts.encrypted or facts.handshake_error):
                self._handshakes.labels("failed" if facts.handshake_error else "done", facts.tls_version or NO_REASON).inc()
        if verdict is not None:
            for mode, satisfied in (("dane", verdict.would_satisfy_dane), ("mta-sts", verdict.would_satisfy_sts)):
                if satisfied is not None:
                    self._shadow.labels(mode, str(satisfied).lower()).inc()
        timings = attempt.timings
        for part, milliseconds in (
            ("resolve", timings.resolve_ms),
            ("connect", timings.connect_ms),
            ("tls", timings.tls_ms),
            ("transaction", timings.transaction_ms),
        ):
            if milliseconds is not None:
                self._seconds.labels(part).observe(milliseconds / 1000)

    # ----------------------------------------------------------------------------------------------------- showing

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sealroute_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"sealroute_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(f"sealroute_{name}", text, labels, registry=self.registry, buckets=tuple(buckets))


def _protection(fate: RecipientFate, attempt: Attempt | None) -> str:
    """How a delivered recipient's copy travelled; nothing travelled for the others."""
    if fate.fate is not Fate.DELIVERED or attempt is None or attempt.verdict is None:
        return NO_REASON
    protection: Protection = attempt.verdict.protection
    return protection.value


def _reason(fate: RecipientFate) -> str:
    return fate.finding.reason.value if fate.finding else NO_REASON


REFERENCE_HEAD = """\
# Metrics

`http://127.0.0.1:8025/metrics` (settings section `[http]`), in Prometheus's text format. Labels are closed sets; a domain or an
address never is a label, since the trace has those. `none` stands where there is no reason or protection to name.

This page is printed from the code: `sealroute.services.metrics.reference_markdown`.

| metric | kind | labels | meaning |
|---|---|---|---|
"""


def reference_markdown() -> str:
    """docs/reference/metrics.md."""
    metrics = Metrics()
    rows = [f"| `{name}` | {kind} | {labels} | {text} |" for name, kind, labels, text in sorted(_described(metrics))]
    return REFERENCE_HEAD + "\n".join(rows) + "\n"


def _described(metrics: Metrics) -> Iterable[tuple[str, str, str, str]]:
    for item in vars(metrics).values():
        if isinstance(item, MetricWrapperBase):
            family = next(iter(item.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, ", ".join(f"`{label}`" for label in item._labelnames), family.documentation
