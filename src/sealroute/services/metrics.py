"""metrics: what /metrics shows, counted from the same attempts that everything else reads; nothing is decided here.

One registry object per gateway, no globals.  Labels are closed sets (reasons, protections, states, outcomes), never a
domain, host or address: those would grow without bound, and the trace has them.

Counters of delivery are fed by `observe`; what others count or know (listeners, queue, resolver, cache) is read from them when
/metrics is asked for, through the callables in `Sources`.  A source that is not given shows nothing, rather than a zero that
nobody measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from sealroute.policy.attempt import Attempt, Fate, RecipientFate
from sealroute.policy.history import Drift
from sealroute.policy.requirement import Protection
from sealroute.ports import GroupState, Reach, Settled

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_REASON = "none"


class InboundCounts(Protocol):
    """What the listeners count."""

    connections: int
    connections_open: int
    connections_refused: int
    messages_accepted: int
    messages_refused: int
    handshakes: int
    handshakes_failed: int
    logins: int
    logins_failed: int
    held_bytes: int


class WriterCounts(Protocol):
    """What the store's writer counts; changes per commit is how well it batches."""

    @property
    def commits(self) -> int: ...
    @property
    def changes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at one moment."""

    depth: Mapping[GroupState, int]
    oldest_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LaneState:
    """What is remembered of destinations, and what waits for a rate limit."""

    destinations: Mapping[Reach, int]
    halvings: int
    parked: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Where states are read from; each call is quick and does not wait.  None: not shown."""

    inbound: Callable[[], InboundCounts] | None = None
    queue: Callable[[], QueueState | None] | None = None
    writer: Callable[[], WriterCounts] | None = None
    resolver_can_validate: Callable[[], bool] | None = None
    cached_policies: Callable[[], int] | None = None
    lanes: Callable[[], LaneState] | None = None


@dataclass(frozen=True, slots=True)
class _Pulled:
    """A metric that is read and not fed."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


_INBOUND: dict[str, _Pulled] = {
    "connections": _Pulled("inbound_connections", "counter", "Connections accepted by the listeners."),
    "connections_refused": _Pulled(
        "inbound_connections_refused", "counter", "Connections refused because there were too many."
    ),
    "messages_accepted": _Pulled("messages_accepted", "counter", "Messages stored and answered with 250."),
    "messages_refused": _Pulled("messages_refused", "counter", "Messages refused after their content had been sent."),
    "handshakes": _Pulled("inbound_tls_handshakes", "counter", "TLS handshakes with clients that succeeded."),
    "handshakes_failed": _Pulled("inbound_tls_handshakes_failed", "counter", "TLS handshakes with clients that failed."),
    "logins": _Pulled("logins", "counter", "Logins that succeeded."),
    "logins_failed": _Pulled("logins_failed", "counter", "Logins that failed."),
    "connections_open": _Pulled("inbound_connections_open", "gauge", "Connections open now."),
    "held_bytes": _Pulled("inbound_held_bytes", "gauge", "Message bytes received and not yet stored."),
}
_DEPTH = _Pulled("queue_groups", "gauge", "Recipient groups in the queue, by state.", ("state",))
_OLDEST = _Pulled("queue_oldest_age_seconds", "gauge", "Age of the oldest message in the queue.")
_COMMITS = _Pulled("store_commits", "counter", "Commits of the store's writer.")
_CHANGES = _Pulled("store_changes", "counter", "Changes in those commits; divided by the commits: the batch size.")
_RESOLVER = _Pulled("resolver_can_validate", "gauge", "1 when the resolver tells valid DNSSEC from invalid, else 0.")
_POLICIES = _Pulled("mta_sts_cached_policies", "gauge", "Domains whose MTA-STS policy, or its lack, is known without asking.")
_DESTINATIONS = _Pulled(
    "destinations", "gauge", "Destinations remembered, by whether the last run reached a server there.", ("reach",)
)
_HALVINGS = _Pulled(
    "window_halvings", "counter", "Times that a destination got fewer runs at once (`sealroute queue destinations` names them)."
)
_PARKED = _Pulled("rate_limited_lanes", "gauge", "Destinations with mail in memory that waits for a rate limit.")
PULLED = (
    *_INBOUND.values(), _DEPTH, _OLDEST, _COMMITS, _CHANGES, _RESOLVER, _POLICIES, _DESTINATIONS, _HALVINGS, _PARKED,
)  # fmt: skip


class _Reader(Collector):
    """Reads the sources when the registry is shown."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        sources = self._sources
        if sources.inbound is not None:
            counts = sources.inbound()
            for field, what in _INBOUND.items():
                yield _family(what, {(): getattr(counts, field)})
        state = sources.queue() if sources.queue is not None else None
        if state is not None:
            yield _family(_DEPTH, {(known.value,): state.depth.get(known, 0) for known in GroupState})
            yield _family(_OLDEST, {(): state.oldest_age_seconds})
        if sources.writer is not None:
            writer = sources.writer()
            yield _family(_COMMITS, {(): writer.commits})
            yield _family(_CHANGES, {(): writer.changes})
        if sources.resolver_can_validate is not None:
            yield _family(_RESOLVER, {(): int(sources.resolver_can_validate())})
        if sources.cached_policies is not None:
            yield _family(_POLICIES, {(): sources.cached_policies()})
        if sources.lanes is not None:
            lanes = sources.lanes()
            yield _family(_DESTINATIONS, {(reach.value,): lanes.destinations.get(reach, 0) for reach in Reach})
            yield _family(_HALVINGS, {(): lanes.halvings})
            yield _family(_PARKED, {(): lanes.parked})


def _family(what: _Pulled, values: Mapping[tuple[str, ...], float]) -> Metric:
    make = CounterMetricFamily if what.kind == "counter" else GaugeMetricFamily
    family = make(f"sealroute_{what.name}", what.help, labels=what.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


class Metrics:
    """All metrics of one gateway."""

    def __init__(self, sources: Sources | None = None) -> None:
        # Half of the lines, of use to nobody; prometheus_client has only this switch for all registries.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.registry.register(_Reader(sources or Sources()))
        self._notices = self._counter("notices", "NDRs, delay and success notices that we made.")
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
        self._drift = self._counter("drift", "Changes of destinations' protection (`sealroute drift list` names them).", "kind")
        self._probes = self._counter("probes", "Destinations looked at without mail, by how it ended.", "result")
        self._children: dict[tuple[int, tuple[str, ...]], Counter] = {}
        self._parts = {part: self._seconds.labels(part) for part in ("resolve", "connect", "tls", "transaction")}

    # ----------------------------------------------------------------------------------------------------- feeding

    def observe(self, settled: Settled) -> None:
        """A group's run is over."""
        carried = {id(fate): attempt for attempt in settled.attempts for fate in attempt.recipients}
        for fate in settled.fates:
            self._inc(self._recipients, fate.fate.value, _protection(fate, carried.get(id(fate))), _reason(fate))
        for attempt in settled.attempts:
            self._attempt(attempt)
        if settled.notices:
            self._notices.inc(len(settled.notices))

    def drifted(self, drift: Drift) -> None:
        """A destination's protection changed."""
        self._inc(self._drift, drift.kind.value)

    def probed(self, trouble: str) -> None:
        """A destination was looked at without mail; `trouble`: why nothing was seen."""
        self._inc(self._probes, "failed" if trouble else "done")

    def _attempt(self, attempt: Attempt) -> None:
        reason = attempt.finding.reason.value if attempt.finding else NO_REASON
        self._inc(self._attempts, reason)
        if not attempt.host:
            self._inc(self._held, reason)
        facts, verdict = attempt.facts, attempt.verdict
        if facts is not None:
            self._inc(self._sessions, str(attempt.reused_connection).lower())
            if not attempt.reused_connection and (facts.encrypted or facts.handshake_error):
                self._inc(self._handshakes, "failed" if facts.handshake_error else "done", facts.tls_version or NO_REASON)
        if verdict is not None:
            for mode, satisfied in (("dane", verdict.would_satisfy_dane), ("mta-sts", verdict.would_satisfy_sts)):
                if satisfied is not None:
                    self._inc(self._shadow, mode, str(satisfied).lower())
        timings = attempt.timings
        self._time("resolve", timings.resolve_ms)
        self._time("connect", timings.connect_ms)
        self._time("tls", timings.tls_ms)
        self._time("transaction", timings.transaction_ms)

    # ----------------------------------------------------------------------------------------------------- showing

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _inc(self, counter: Counter, *labels: str) -> None:
        """Add one.  Counters by labels are remembered here: prometheus_client's own look-up costs several times as much."""
        key = (id(counter), labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = counter.labels(*labels)
        child.inc()

    def _time(self, part: str, milliseconds: float | None) -> None:
        if milliseconds is not None:
            self._parts[part].observe(milliseconds / 1000)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sealroute_{name}", text, labels, registry=self.registry)

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

This page is printed from the code: `sealroute config reference metrics`.

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
    for what in PULLED:
        name = f"sealroute_{what.name}_total" if what.kind == "counter" else f"sealroute_{what.name}"
        yield name, what.kind, ", ".join(f"`{label}`" for label in what.labels), what.help
