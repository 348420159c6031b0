"""Signatures, keys and delegations as DNS shows them: for people who want to see the chain of trust.

Nothing here proves anything.  What is proven is said by `Answer.security`, which the validator gives; these facts only
show what it had before it, also where it called the answer bogus.  Sources: [RFC 4034 §2, §3, §5].
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.base.dnsdata import Outcome, Security

SOON = timedelta(days=3)
SOON_PART = 5
"""A signature in the last fifth of its life should have been made anew, if less than SOON is left.

Both, because signers that sign each answer as they give it have signatures of a day or two, always.
"""


@dataclass(frozen=True, slots=True)
class Signature:
    """One RRSIG over the records asked for."""

    key_tag: int
    algorithm: str
    """As IANA names it, e.g. `ECDSAP256SHA256`."""
    signer: str
    """The zone that signed, in compared form; the root is ""."""
    begins: datetime
    expires: datetime

    def margin(self, now: datetime) -> timedelta:
        """How long it still holds; negative once it is over."""
        return self.expires - now

    def ends_soon(self, now: datetime) -> bool:
        """Whether it should have been made anew by now."""
        left = self.margin(now)
        return left < SOON and left < (self.expires - self.begins) / SOON_PART


@dataclass(frozen=True, slots=True)
class Key:
    """One DNSKEY of a zone."""

    key_tag: int
    algorithm: str
    entry_point: bool
    """The SEP flag: the key that a DS record of the parent is meant to name [RFC 4034 §2.1.1]."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """One DS record: the parent vouches for a key of the child."""

    key_tag: int
    algorithm: str
    digest: str
    """The digest type, e.g. `SHA256`."""


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """One look-up with what signs it, shown whatever it is worth."""

    name: str
    rtype: str
    outcome: Outcome
    security: Security
    detail: str = ""
    """Why it is bogus or unknown, in the validator's words."""
    present: bool = False
    """Whether records of this name and type came, believable or not."""
    signatures: tuple[Signature, ...] = ()
    keys: tuple[Key, ...] = ()
    """For DNSKEY."""
    delegations: tuple[Delegation, ...] = ()
    """For DS."""

    @property
    def secure_and_present(self) -> bool:
        return self.security is Security.SECURE and self.present

    @property
    def last_signature(self) -> Signature | None:
        """The one that ends last: one that holds is enough."""
        return max(self.signatures, key=lambda item: item.expires, default=None)


@dataclass(frozen=True, slots=True)
class ZoneLink:
    """One zone on the way from the root, and how its parent vouches for it."""

    zone: str
    """The root is ""."""
    keys: SignedAnswer
    delegation: SignedAnswer | None
    """The DS look-up; None for the root, which the trust anchor vouches for."""
