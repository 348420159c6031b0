"""survey: many domains analysed at once, politely, each to one row; and what the rows come to.

Verdicts and classes are read off delivery's own outcomes (services/analyze).  Politeness: so many domains at a time in all and
below one parent domain, and services/probe bounds and shares the connections per address, so that a provider of a thousand
domains is dialled once per host and address.  An analysis that takes too long, or fails on our side, is a row that says so; the
others go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sealroute.base.errors import SealrouteError
from sealroute.base.times import rfc3339
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.tlsrpt.txt import RptStatus, parse_txt
from sealroute.services.analysis.model import Analysis, Modes, Status, Would, few
from sealroute.services.analyze import Analyzer
from sealroute.services.compare_resolvers import Compared, Witness, compare, questions_of

_D, _S = SmtpDaneMode, MtaStsMode
USUAL: Modes = (_D.OPPORTUNISTIC, _S.OPPORTUNISTIC)
STRICT_DANE: Modes = (_D.MANDATORY, _S.OPPORTUNISTIC)
STRICT_STS: Modes = (_D.OPPORTUNISTIC, _S.MANDATORY)


class Standing(Enum):
    """Where a domain stands; the first that fits, from the top."""

    UNKNOWN = "unknown"
    """The analysis did not come to its end."""
    BROKEN = "broken"
    """Mail would be held or returned under Opportunistic."""
    DANE = "dane"
    """SmtpDaneMode Mandatory would deliver."""
    STS_ENFORCE = "sts-enforce"
    """MtaStsMode Mandatory would deliver."""
    STS_TESTING = "sts-testing"
    """A policy in testing mode."""
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Row:
    """One domain in one line; plain values, so that it can be kept in a file and read again."""

    domain: str
    at: str
    standing: Standing
    would_deliver: bool
    """Under the modes in question."""
    protection: str = ""
    """How mail would travel under Opportunistic."""
    dane_mandatory: bool = False
    sts_mandatory: bool = False
    sts_mode: str = ""
    """The policy in force: enforce, testing or none; empty when there is none."""
    tls_rpt: bool = False
    hosts: int = 0
    reason: str = ""
    """Keyword of what holds mail under Opportunistic, or of what stands against Mandatory DANE."""
    code: str = ""
    sentence: str = ""
    side: str = ""
    todo: str = ""
    """The first advice for the recipient's side, of an error if there is one."""
    took_seconds: float = 0.0
    connector: str = ""
    """Through which the domain's mail goes."""
    dane_mode_asked: str = ""
    sts_mode_asked: str = ""
    """With `dane_mode_asked` the modes in question."""
    resolvers_differ: str = ""
    """With several resolvers: the questions that they do not answer alike."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One domain (in compared form), and how its mail goes."""

    domain: str
    connector: Connector
    asked: Modes
    """The modes in question."""

    def answered_by(self, row: Row) -> bool:
        """Whether a row that was kept says what is wanted now."""
        asked = tuple(mode.value for mode in self.asked)
        return (row.connector, (row.dane_mode_asked, row.sts_mode_asked)) == (self.connector.name, asked)

    @property
    def parent(self) -> str:
        """What it shares with neighbours; those directly below a top-level domain share nothing but it."""
        parent = self.domain.partition(".")[2]
        return parent if "." in parent else self.domain


@dataclass(frozen=True, slots=True)
class SurveyLimits:
    """How many at a time."""

    at_once: int = 30
    per_parent: int = 10
    """Domains below one parent (`*.example.com`) at a time: they mostly share name servers."""
    seconds: float = 180.0
    """The longest that one domain may take."""


async def survey(
    analyzer: Analyzer, domains: Iterable[Wanted], limits: SurveyLimits | None = None, witnesses: Sequence[Witness] = ()
) -> AsyncIterator[Row]:
    """A row for each domain, in the order in which they are done; `witnesses` are resolvers to be compared."""
    limits = limits or SurveyLimits()
    parents: dict[str, asyncio.Semaphore] = {}
    waiting = iter(domains)
    running: set[asyncio.Task[Row]] = set()

    async def one(wanted: Wanted) -> Row:
        async with parents.setdefault(wanted.parent, asyncio.Semaphore(limits.per_parent)):
            row = await _row(analyzer, wanted, limits.seconds, witnesses)
            dane, sts = (mode.value for mode in wanted.asked)
            return replace(row, connector=wanted.connector.name, dane_mode_asked=dane, sts_mode_asked=sts)

    try:
        while True:
            while len(running) < limits.at_once and (wanted := next(waiting, None)) is not None:
                running.add(asyncio.ensure_future(one(wanted)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _row(analyzer: Analyzer, wanted: Wanted, seconds: float, witnesses: Sequence[Witness]) -> Row:
    domain, asked = wanted.domain, wanted.asked
    modes = tuple(dict.fromkeys((asked, USUAL, STRICT_DANE, STRICT_STS)))
    differ = ""
    try:
        async with asyncio.timeout(seconds):
            analysis = await analyzer.run(domain, wanted.connector, asked=(asked,), modes=modes, chain_of_trust=False)
            if witnesses:
                differ = _differences(await compare(witnesses, questions_of(analysis)))
    except TimeoutError:
        return Row(domain, "", Standing.UNKNOWN, False, sentence=f"not finished within {seconds:g} s", took_seconds=seconds)
    except SealrouteError as error:
        return Row(domain, "", Standing.UNKNOWN, False, sentence=str(error))
    return replace(row_of(analysis), resolvers_differ=differ)


def _differences(compared: Sequence[Compared]) -> str:
    names = [" ".join(item.question) for item in compared if item.differs]
    return ", ".join(few(names))


def row_of(analysis: Analysis) -> Row:
    """An analysis in one line; it must have been run under USUAL, STRICT_DANE and STRICT_STS."""
    usual, dane, sts = (analysis.outcome(*modes) for modes in (USUAL, STRICT_DANE, STRICT_STS))
    assert usual is not None
    assert dane is not None
    assert sts is not None
    policy = next((item.policy for item in analysis.seen.plan.evidence.sts if item.policy is not None), None)
    rpt = analysis.seen.rpt
    told = usual if usual.finding is not None else dane
    finding = told.finding
    strict = (dane.would is Would.DELIVER, sts.would is Would.DELIVER)
    return Row(
        domain=analysis.domain,
        at=rfc3339(analysis.seen.at),
        standing=_standing(usual.would is Would.DELIVER, strict, policy.mode if policy else None),
        would_deliver=analysis.would_deliver,
        protection=usual.protection.value if usual.protection else "",
        dane_mandatory=strict[0],
        sts_mandatory=strict[1],
        sts_mode=policy.mode.value if policy else "",
        tls_rpt=rpt is not None and not rpt.failed and parse_txt(rpt.records).status is RptStatus.OK,
        hosts=len(analysis.seen.hosts),
        reason=finding.reason.value if finding else "",
        code=told.code,
        sentence=told.sentence if finding else "",
        side=finding.reason.facts.side.value if finding else "",
        todo=_todo(analysis),
        took_seconds=round(analysis.took_seconds, 3),
    )


def _standing(delivers: bool, strict: tuple[bool, bool], policy: StsMode | None) -> Standing:
    if not delivers:
        return Standing.BROKEN
    if strict[0]:
        return Standing.DANE
    if strict[1]:
        return Standing.STS_ENFORCE
    return Standing.STS_TESTING if policy is StsMode.TESTING else Standing.NEITHER


def _todo(analysis: Analysis) -> str:
    """The advice of the first error in the tree, else of the first warning."""
    waiting = list(analysis.checks)
    found = []
    while waiting:
        check = waiting.pop(0)
        waiting = [*check.children, *waiting]
        if check.advice and check.status in (Status.ERROR, Status.WARNING):
            found.append(check)
    worst = next((check for check in found if check.status is Status.ERROR), found[0] if found else None)
    return worst.advice if worst is not None else ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the rows come to."""

    total: int
    standings: tuple[tuple[Standing, int], ...]
    """Every standing, also those that nobody has."""
    tls_rpt: int
    causes: tuple[tuple[str, str, int], ...]
    """(keyword, side, how many) of what holds mail under Opportunistic, the most frequent first."""
    differ: int = 0
    """How many domains the resolvers do not agree about."""


def summary_of(rows: Sequence[Row]) -> Summary:
    counted = Counter(row.standing for row in rows)
    causes = Counter((row.reason, row.side) for row in rows if row.standing is Standing.BROKEN)
    return Summary(
        len(rows),
        tuple((standing, counted[standing]) for standing in Standing),
        sum(row.tls_rpt for row in rows),
        tuple((reason, side, count) for (reason, side), count in causes.most_common()),
        sum(bool(row.resolvers_differ) for row in rows),
    )
