"""Gives every step of an alias chain its own security, for resolvers that only prove the chain as a whole.

What a SECURE answer says of the whole it says of each step.  An INSECURE one may have secure steps before the first
insecure one, and a sender must know [RFC 7672 §2.2.2]; so the record behind each step is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from sealroute.base.dnsdata import AliasStep, Answer, Outcome, Security
from sealroute.net.dnswire import CNAME, DNAME, AliasLink, RecordType

T = TypeVar("T")
Ask = Callable[[str, RecordType[str]], Awaitable[Answer[str]]]


async def prove_steps(answer: Answer[T], links: Sequence[AliasLink], ask: Ask) -> Answer[T]:
    """The answer with the security of each alias step; it becomes BOGUS or UNKNOWN when a step cannot be checked."""
    if answer.failed or not links:
        return answer
    if answer.secure:
        return replace(answer, aliases=tuple(AliasStep(link.owner, link.target, Security.SECURE) for link in links))
    steps: list[AliasStep] = []
    ttl = answer.ttl_seconds
    for link in links:
        alone = await ask(link.dname, DNAME) if link.dname else await ask(link.owner, CNAME)
        if alone.failed or not link.agrees(alone.records):
            # A step that changed between the two look-ups proves nothing about the one that was followed.
            why = alone.detail or "it changed while it was looked up"
            detail = f"the alias {link.owner} -> {link.target} could not be checked: {why}"
            security = alone.security if alone.failed else Security.UNKNOWN
            return Answer(answer.name, answer.rtype, Outcome.FAILED, security, aliases=tuple(steps), detail=detail)
        steps.append(AliasStep(link.owner, link.target, alone.security))
        ttl = min(ttl, alone.ttl_seconds)
    return replace(answer, aliases=tuple(steps), ttl_seconds=ttl)
