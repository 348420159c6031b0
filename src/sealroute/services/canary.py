"""canary: can our resolver tell valid DNSSEC from invalid?  Asked at start and every few minutes [ADR 7.11].

Three kinds of names are looked up: in a correctly signed zone (must be SECURE), in an unsigned one (must be INSECURE) and with
signatures broken on purpose (must fail).  A resolver that gets them wrong proves nothing: while it does, Mandatory connectors
hold with `resolver-cannot-validate`, and the reason stands in trace, log, metrics and /healthz.  "No DANE" and "cannot see
DANE" are never shown alike.  Rules:

* Of several signed or unsigned names one that is right is enough: a zone of somebody else's may be down, or change.  Of the
  broken ones none may be accepted.
* No answer at all (the network is down) is not trusted either, and is told apart; while anything is wrong the next probe comes
  soon, so that the gate opens by itself.
* A resolver that is not to be believed whatever it says (`standing`: an AD bit from afar) is never trusted.

Elsewhere: what an untrusted resolver means for mail (policy/decide), default names and when none are probed (settings).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.base.dnsdata import Answer, Security
from sealroute.ports import Clock, Resolver

RETRY_SECONDS = 15.0
"""The longest wait for the next probe while something is wrong."""


@dataclass(frozen=True, slots=True)
class CanaryNames:
    """The names probed; each has A records."""

    signed: tuple[str, ...]
    unsigned: tuple[str, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """One name's outcome."""

    name: str
    expected: Security
    """BOGUS for a broken name; any failure is right then, since not every resolver says why it failed."""
    seen: Security
    detail: str = ""
    """Why it failed, in the validator's words."""

    @property
    def good(self) -> bool:
        if self.expected is Security.BOGUS:
            return self.seen in (Security.BOGUS, Security.UNKNOWN)
        return self.seen is self.expected

    def __str__(self) -> str:
        why = f" ({self.detail})" if self.detail else ""
        return f"{self.name} should be {self.expected.value} and is {self.seen.value}{why}"


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """One round of probes, or, without any, what is known beforehand."""

    at: datetime
    probes: tuple[Probe, ...] = ()
    standing: str = ""
    """Why the resolver is not to be believed whatever it says; empty: it may be."""

    def of(self, expected: Security) -> tuple[Probe, ...]:
        """The probes of one kind."""
        return tuple(probe for probe in self.probes if probe.expected is expected)

    @property
    def can_validate(self) -> bool:
        """Whether DNSSEC claims may be believed."""
        if self.standing or not self.probes:
            return not self.standing
        alive = all(any(probe.good for probe in self.of(kind)) for kind in (Security.SECURE, Security.INSECURE))
        return alive and all(probe.good for probe in self.of(Security.BOGUS))

    @property
    def silent(self) -> bool:
        """Nothing but failures without an answer: the network or the servers, not the validation."""
        asked = self.of(Security.SECURE) + self.of(Security.INSECURE)
        return bool(asked) and all(probe.seen is Security.UNKNOWN for probe in asked)

    @property
    def sentence(self) -> str:
        """What an administrator should know."""
        if self.standing:
            return self.standing
        if not self.probes:
            return "not probed"
        if self.can_validate:
            return "the resolver tells valid DNSSEC from invalid"
        wrong = "; ".join(str(probe) for probe in self.probes if not probe.good)
        return f"the resolver gives no answers: {wrong}" if self.silent else f"the resolver cannot validate: {wrong}"

    @property
    def advice(self) -> str:
        """What to do; empty when all is well."""
        if self.can_validate or self.standing:
            return ""
        if self.silent:
            return "Check the network, that port 53 is open for UDP and TCP, and the servers in [resolver]."
        if not all(probe.good for probe in self.of(Security.BOGUS)):
            return "The resolver accepts broken signatures: it does not validate. Use one that does."
        signed = self.of(Security.SECURE)
        if not any(probe.good for probe in signed):
            if any(probe.seen is Security.INSECURE for probe in signed):
                return "Signed names come back without proof: the resolver does not validate, or does not say so (AD bit)."
            return "Check trust anchors and the machine's clock, and that forwarders pass DNSSEC records on."
        return "If the unsigned zone has been signed meanwhile, set resolver.canary_unsigned to another; else do not trust it."


class Canary:
    """Probes a resolver and remembers what came of it: the gate that Mandatory connectors stand behind."""

    def __init__(
        self, resolver: Callable[[], Resolver], names: CanaryNames | None, clock: Clock, interval: timedelta,
        standing: str = "", forget: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """`resolver` gives one that answers from no cache of AD bits; without names nothing is probed.

        `forget` is called when the gate opens: what came meanwhile, and looked unsigned, must not be believed now.
        """
        self._resolver = resolver
        self._clock = clock
        self._interval = interval
        self._standing = standing
        self._forget = forget
        self._open_since = 0
        """How many rounds in a row were good."""
        self.names = names
        self.report: CanaryReport | None = None if names else CanaryReport(clock.now(), standing=standing)
        self._trusted = self.report is not None and self.report.can_validate

    def trusted(self) -> bool:
        """Whether DNSSEC claims may be believed; False until the first round is done.  Asked for every message."""
        return self._trusted

    def why_not(self) -> str:
        """Why they may not; empty when they may."""
        if self.report is None:
            return "the resolver was not probed yet"
        return "" if self.report.can_validate else self.report.sentence

    async def probe(self) -> CanaryReport:
        """One round."""
        names, resolver = self.names, self._resolver()
        wanted: list[tuple[str, Security]] = []
        if names is not None:
            kinds = ((names.signed, Security.SECURE), (names.unsigned, Security.INSECURE), (names.broken, Security.BOGUS))
            wanted = [(name, expected) for kind, expected in kinds for name in kind]
        answers = await asyncio.gather(*(resolver.a(name) for name, _ in wanted))
        probes = tuple(_probe(name, expected, answer) for (name, expected), answer in zip(wanted, answers, strict=True))
        report = CanaryReport(self._clock.now(), probes, self._standing)
        self._open_since = self._open_since + 1 if report.can_validate else 0
        if 1 <= self._open_since <= 2:
            # Twice: a look-up under way when the gate opened may have ended after the first time.
            self._forget()
        self.report = report
        self._trusted = report.can_validate
        return report

    async def loop(self, changed: Callable[[CanaryReport], None]) -> None:
        """Probe for ever; `changed` hears of every round whose outcome differs from the one before."""
        while True:
            wait = self._interval.total_seconds()
            await asyncio.sleep(wait if self.trusted() else min(wait, RETRY_SECONDS))
            before = self.why_not()
            report = await self.probe()
            if self.trusted() != (before == ""):
                changed(report)


def _probe(name: str, expected: Security, answer: Answer[str]) -> Probe:
    return Probe(name, expected, answer.security, answer.detail)
