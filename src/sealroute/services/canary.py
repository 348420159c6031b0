"""canary: can our resolver tell valid DNSSEC from invalid?  Asked at start and every few minutes [decisions §6].

Three names are looked up: one correctly signed (must be SECURE), one in an unsigned zone (must be INSECURE) and one whose
signatures are broken on purpose (must fail).  A resolver that gets any of them wrong proves nothing: while it does,
Mandatory connectors hold with `resolver-cannot-validate`, and the reason stands in log, metrics and /healthz.  "No DANE"
and "cannot see DANE" are never shown alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.base.dnsdata import Answer, Security
from sealroute.ports import Clock, Resolver


@dataclass(frozen=True, slots=True)
class CanaryNames:
    """The names probed; each has A records."""

    signed: str
    unsigned: str
    broken: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One name's outcome."""

    name: str
    expected: str
    seen: str
    good: bool


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """One round of probes."""

    at: datetime
    probes: tuple[Probe, ...]

    @property
    def can_validate(self) -> bool:
        return all(probe.good for probe in self.probes)

    @property
    def sentence(self) -> str:
        """What an administrator should know."""
        if self.can_validate:
            return "the resolver tells valid DNSSEC from invalid"
        wrong = "; ".join(f"{item.name} should be {item.expected} and is {item.seen}" for item in self.probes if not item.good)
        return f"the resolver cannot validate: {wrong}"


class Canary:
    """Probes a resolver and remembers what came of it."""

    def __init__(self, resolver: Resolver, names: CanaryNames, clock: Clock, interval: timedelta) -> None:
        self._resolver = resolver
        self._names = names
        self._clock = clock
        self._interval = interval
        self.report: CanaryReport | None = None

    def trusted(self) -> bool:
        """Whether DNSSEC claims may be believed; False until the first round is done."""
        return self.report is not None and self.report.can_validate

    async def probe(self) -> CanaryReport:
        """One round."""
        names = self._names
        signed, unsigned, broken = await asyncio.gather(
            *(self._resolver.a(n) for n in (names.signed, names.unsigned, names.broken))
        )
        self.report = CanaryReport(
            self._clock.now(),
            (
                Probe(names.signed, "secure", _seen(signed), signed.security is Security.SECURE),
                Probe(names.unsigned, "insecure", _seen(unsigned), unsigned.security is Security.INSECURE),
                Probe(names.broken, "bogus", _seen(broken), broken.failed),
            ),
        )
        return self.report

    async def loop(self, changed: Callable[[CanaryReport], None]) -> None:
        """Probe for ever; `changed` hears of every round whose outcome differs from the one before."""
        while True:
            before = self.report
            report = await self.probe()
            if before is None or before.can_validate != report.can_validate:
                changed(report)
            await asyncio.sleep(self._interval.total_seconds())


def _seen(answer: Answer[str]) -> str:
    return f"{answer.security.value} ({answer.detail})" if answer.detail else answer.security.value
