"""What DNS said, with its proof: an answer never travels without its DNSSEC security.

The rule of this file: *unknown is never absent*.  `Outcome.FAILED` goes with BOGUS or UNKNOWN only, and no other outcome
does; so code that asks "is it absent?" cannot be answered by a time-out.  Data types are the few records mail needs.

Sources: [RFC 4033 §5] security states; [RFC 7672 §2.1.1] what a sender does with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)


class Security(Enum):
    """How far an answer is proven."""

    SECURE = "secure"
    """Validated from a trust anchor: use it, also as a proof of absence."""
    INSECURE = "insecure"
    """Proven to lie in an unsigned part of the tree: use it, but it authenticates nothing."""
    BOGUS = "bogus"
    """Should validate and does not: use nothing of it; hold."""
    UNKNOWN = "unknown"
    """No usable answer (time-out, SERVFAIL, resolver trouble): use nothing of it; hold."""

    def weaker(self, other: Security) -> Security:
        """The weaker of two proofs, as a chain of answers has it."""
        return max(self, other, key=_WEAKNESS.__getitem__)


_WEAKNESS = {Security.SECURE: 0, Security.INSECURE: 1, Security.UNKNOWN: 2, Security.BOGUS: 3}


class Outcome(Enum):
    """What the answer holds."""

    DATA = "data"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    FAILED = "failed"
    """Nothing is known: security is BOGUS or UNKNOWN."""


@dataclass(frozen=True, slots=True)
class AliasStep:
    """One CNAME (or DNAME) step of the way to the answer, with the security of that step alone."""

    owner: str
    target: str
    security: Security


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """One look-up's result; `name` is what was asked, lower case, without the final dot."""

    name: str
    rtype: str
    outcome: Outcome
    security: Security
    records: tuple[T, ...] = ()
    ttl_seconds: int = 0
    aliases: tuple[AliasStep, ...] = ()
    detail: str = ""
    """Why it is bogus or unknown, in the validator's words; empty otherwise."""

    def __post_init__(self) -> None:
        failed = self.security in (Security.BOGUS, Security.UNKNOWN)
        if failed != (self.outcome is Outcome.FAILED):
            raise ValueError(f"{self.outcome} cannot be {self.security}")
        if bool(self.records) != (self.outcome is Outcome.DATA):
            raise ValueError(f"{self.outcome} with {len(self.records)} records")

    @property
    def final_name(self) -> str:
        """The name that the records belong to, after all aliases."""
        return self.aliases[-1].target if self.aliases else self.name

    @property
    def failed(self) -> bool:
        """True when nothing is known; the caller must hold, not carry on."""
        return self.outcome is Outcome.FAILED

    @property
    def absent(self) -> bool:
        """True when the answer says that there is none (proven by DNSSEC only if SECURE)."""
        return self.outcome in (Outcome.NODATA, Outcome.NXDOMAIN)

    @property
    def secure(self) -> bool:
        return self.security is Security.SECURE


@dataclass(frozen=True, slots=True, order=True)
class Mx:
    """One MX record; the null MX [RFC 7505] has preference 0 and host `""`."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record as published, usable or not [RFC 6698 §2.1]."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"
