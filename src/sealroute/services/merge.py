"""merge: the metrics of several workers as those of one gateway.

Counters and histograms are added up, so are gauges of what each worker has for itself; gauges of what all share are not.
Pure: texts in Prometheus's format in, one such text out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

SHARED: dict[str, Callable[[float, float], float]] = {
    "sealroute_queue_groups": max,
    "sealroute_queue_oldest_age_seconds": max,
    "sealroute_mta_sts_cached_policies": max,
    "sealroute_resolver_can_validate": min,
}
"""Gauges that are not added: what all workers see alike, and what is only true when it is true of each."""
CUMULATIVE = ("counter", "histogram")


def merge(texts: Sequence[str], *, cumulative: bool = False) -> bytes:
    """One text from several; `cumulative`: only what goes on counting when a worker has ended."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            if cumulative and family.type not in CUMULATIVE:
                continue
            families.setdefault(family.name, family)
            add = SHARED.get(family.name)
            known = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                if key not in known:
                    known[key] = sample.value
                else:
                    known[key] = add(known[key], sample.value) if add else known[key] + sample.value
    for name, family in families.items():
        family.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in values[name].items()]
    registry = CollectorRegistry()
    registry.register(_Fixed(families.values()))
    return generate_latest(registry)


class _Fixed(Collector):
    """Families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._families
