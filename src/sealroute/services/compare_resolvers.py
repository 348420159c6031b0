"""compare_resolvers: what several resolvers say to the questions that decided, and where they differ; nothing is decided by it.

A resolver whose AD bit would not be believed is asked all the same, and what it claims is shown as a claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroute.base.dnsdata import Answer
from sealroute.ports import Resolver
from sealroute.services.analysis.model import Analysis

MAX_QUESTIONS = 200
AT_ONCE = 20

Question = tuple[str, str]
"""(type, name)."""


@dataclass(frozen=True, slots=True)
class Witness:
    """One resolver, and whether delivery would believe what it says of DNSSEC."""

    name: str
    resolver: Resolver
    believed: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One question and what each witness answered, in their order."""

    question: Question
    answers: tuple[Answer[Any], ...]
    believed: tuple[bool, ...]

    @property
    def differs(self) -> bool:
        """Whether records or absence differ, or what believed witnesses say of DNSSEC."""
        return self.differs_among([True] * len(self.answers))

    def differs_among(self, counting: Sequence[bool]) -> bool:
        """The same among some of the witnesses."""
        pairs = [pair for pair, counts in zip(zip(self.answers, self.believed, strict=True), counting, strict=True) if counts]
        said = {(answer.outcome, tuple(sorted(map(str, answer.records)))) for answer, _ in pairs}
        return len(said) > 1 or len({answer.security for answer, believed in pairs if believed}) > 1


def questions_of(analysis: Analysis) -> tuple[Question, ...]:
    """What decided an analysis, and where each policy is announced."""
    return (*analysis.asked, *(("TXT", f"_mta-sts.{sts.domain}") for sts in analysis.seen.plan.evidence.sts))


async def compare(witnesses: Sequence[Witness], questions: Sequence[Question]) -> tuple[Compared, ...]:
    """Ask every witness every question."""
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(witness: Witness, question: Question) -> Answer[Any]:
        async with room:
            return await _ask(witness.resolver, question)

    async def one(question: Question) -> Compared:
        answers = await asyncio.gather(*(ask(witness, question) for witness in witnesses))
        return Compared(question, tuple(answers), tuple(witness.believed for witness in witnesses))

    return tuple(await asyncio.gather(*(one(question) for question in questions[:MAX_QUESTIONS])))


async def _ask(resolver: Resolver, question: Question) -> Answer[Any]:
    rtype, name = question
    match rtype:
        case "MX":
            return await resolver.mx(name)
        case "A":
            return await resolver.a(name)
        case "AAAA":
            return await resolver.aaaa(name)
        case "TLSA":
            return await resolver.tlsa(name)
        case _:
            return await resolver.txt(name)
