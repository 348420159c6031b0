"""Our DANE verdicts beside OpenSSL's, on generated cases.

Where the two differ, the difference must be one of the documented ones (docs/explain/compared-with-others.md).  A documented
difference is never a free pass: it has a condition on the case, and a *remedy* that takes just the disputed thing away, by a
switch of OpenSSL's own, by another moment, or by presenting less.  Only when both engines agree after the remedy is the
difference explained by it.  Whatever no set of remedies explains is undocumented, and fails the comparison.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations

from compare.dane_cases import DaneCase, make_case
from compare.libssl import HandshakeFailed, OpenSsl, OpenSslVerdict, Question
from sealroute.base.certnames import match_name, permits_name
from sealroute.base.certs import Certificate
from sealroute.base.keys import signed_by_key
from sealroute.proto.dane.verify import DaneReason, DaneResult, DaneVerdict, verify

_EKU = bytes.fromhex("551d25")
_ANY_EKU = bytes.fromhex("0604551d2500")
_TWO_HOURS, _SECOND = timedelta(hours=2), timedelta(seconds=1)
_MOST_REMOVED = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """One question with both answers."""

    case: DaneCase
    """Where the question comes from."""
    question: Question
    ours: DaneResult
    theirs: OpenSslVerdict

    @property
    def we_match(self) -> bool:
        return self.ours.verdict is DaneVerdict.MATCH

    @property
    def agreed(self) -> bool:
        """The same verdict, and the same records found usable."""
        return self.we_match == self.theirs.matched and self.usable == self.theirs.usable

    @property
    def usable(self) -> tuple[bool, ...]:
        return tuple(item.usable for item in self.ours.records)

    @property
    def same_record(self) -> bool:
        """Both name the same record at the same depth."""
        best = self.ours.best
        ours = (best.record.usage, best.record.selector, best.record.matching, best.depth) if best else None
        return ours == ((*self.theirs.record, self.theirs.depth) if self.theirs.record else None)

    def certificates(self) -> list[Certificate]:
        """What OpenSSL may build a chain of: presented, or published whole under usage 2."""
        published = (item.data for item in self.question.records if (item.usage, item.selector, item.matching) == (2, 0, 0))
        return [Certificate(octets) for octets in dict.fromkeys((*self.question.chain, *published))]


@dataclass(frozen=True, slots=True)
class Difference:
    """One documented way in which we differ from OpenSSL on purpose."""

    name: str
    source: str
    why: str
    concerns: Callable[[Seen], bool]
    remedies: Callable[[Seen], Iterable[Question]]
    """The same question without what is disputed; several where it may be several things."""
    ours_stays: bool = True
    """The remedy has to bring OpenSSL to our verdict; else it is ours that it changes."""


# ------------------------------------------------------------------------------------------------------- conditions


def _anchor_out_of_date(seen: Seen) -> bool:
    at = seen.question.at
    reasons = (DaneReason.CERTIFICATE_EXPIRED, DaneReason.CERTIFICATE_NOT_YET_VALID)
    return (
        seen.ours.reason in reasons
        and seen.theirs.record is not None
        and seen.theirs.record[0] == 2
        and any(
            item.subject != item.issuer
            and item.not_before is not None
            and item.not_after is not None
            and not item.not_before <= at <= item.not_after
            for item in seen.certificates()[1:]
        )
    )


def _ends_this_second(seen: Seen) -> bool:
    return seen.we_match and any(item.not_after == seen.question.at for item in seen.certificates())


def _any_eku_only(seen: Seen) -> bool:
    values = ((item.extensions or {}).get(_EKU, b"") for item in seen.certificates())
    return seen.we_match and any(_ANY_EKU in value for value in values)


def _misleading(seen: Seen) -> bool:
    """We match, and somebody bears the name of an issuer without having made the signature, or two bear one name."""
    certificates = seen.certificates()
    subjects = [item.subject for item in certificates]
    return seen.we_match and (
        len(subjects) != len(set(subjects))
        or any(
            issuer.subject == item.issuer and issuer.spki is not None and not signed_by_key(item, issuer.spki)
            for item in certificates
            for issuer in certificates
        )
    )


def _bare_key_and_its_certificate(seen: Seen) -> bool:
    """A bare key matched for us, and another record holds a certificate with that key whole."""
    best = seen.ours.matched
    if best is None or (best.usage, best.selector, best.matching) != (2, 1, 0):
        return False
    return any(
        (item.usage, item.selector, item.matching) == (2, 0, 0) and Certificate(item.data).spki == best.data
        for item in seen.question.records
    )


def _constrained_common_name(seen: Seen) -> bool:
    leaf, *above = seen.certificates()
    match = match_name(leaf, seen.question.names, common_name=True)
    return (
        seen.ours.reason is DaneReason.CERTIFICATE_HOST_MISMATCH
        and match is not None
        and match.from_common_name
        and "*" in match.presented
        and not all(permits_name(item, match.name) for item in above)
    )


def _partial_wildcard(seen: Seen) -> bool:
    leaf = Certificate(seen.question.chain[0])
    names = (*leaf.dns_names, *leaf.common_names)
    return any("*" in name.partition(".")[0] and not name.startswith("*.") for name in names)


def _by_usage_3(seen: Seen) -> bool:
    return seen.ours.matched is not None and seen.ours.matched.usage == 3


def _sha1_under_a_bare_key(seen: Seen) -> bool:
    return (
        seen.ours.reason in (DaneReason.NO_RECORD_MATCHES, DaneReason.CHAIN_INVALID)
        and seen.theirs.record == (2, 1, 0)
        and any(item.startswith("SHA-1 signature") for item in seen.case.differences)
    )


# --------------------------------------------------------------------------------------------------------- remedies


def _when_all_are_valid(seen: Seen) -> Iterator[Question]:
    for shift in (-_TWO_HOURS, -2 * _SECOND, 2 * _SECOND, _TWO_HOURS):
        yield replace(seen.question, at=seen.question.at + shift)
    yield from _made_without("valid from next second", "not yet valid", "expired", "expired a second ago")(seen)


def _a_second_earlier(seen: Seen) -> Iterator[Question]:
    yield replace(seen.question, at=seen.question.at - _SECOND)
    yield from _made_without("expires this second")(seen)


def _presenting_less(seen: Seen) -> Iterator[Question]:
    """Our record alone, and up to three presented certificates fewer."""
    question = seen.question
    if seen.ours.matched is None:
        return
    leaf, *above = question.chain
    for number in range(min(_MOST_REMOVED, len(above)) + 1):
        for left_out in combinations(range(len(above)), number):
            kept = (leaf, *(der for index, der in enumerate(above) if index not in left_out))
            yield replace(question, chain=kept, records=(seen.ours.matched,))


def _our_record_alone(seen: Seen) -> Iterator[Question]:
    if seen.ours.matched is not None:
        yield replace(seen.question, records=(seen.ours.matched,))


def _made_without(*differences: str) -> Callable[[Seen], Iterator[Question]]:
    """The same case, made without one of these."""

    def remedies(seen: Seen) -> Iterator[Question]:
        for difference in differences:
            yield make_case(seen.case.seed, without=difference).question

    return remedies


DIFFERENCES = (
    Difference(
        "bare-key-sha1", "RFC 9155, RFC 7671 §5.2.3",
        "what a bare key (2 1 0) signed, it signed with SHA-1: too weak for us as everywhere in a chain; OpenSSL does not look",
        _sha1_under_a_bare_key, _made_without("SHA-1 signature"), ours_stays=False,
    ),
    Difference(
        "constrained-common-name", "RFC 5280 §4.2.1.10, RFC 7672 §3.2.3",
        "a wildcard common name that an authority may not speak for: OpenSSL applies name constraints to plain ones only",
        _constrained_common_name,
        _made_without("constrained to others", "constrained below ours", "ours excluded"), ours_stays=False,
    ),
    Difference(
        "anchor-dates", "RFC 5280 §6.1.3, RFC 7671 §5.2",
        "an intermediate named by usage 2 is out of date: OpenSSL looks at the dates of self-signed anchors only, we at all",
        _anchor_out_of_date, _when_all_are_valid, ours_stays=False,
    ),
    Difference(
        "last-second", "RFC 5280 §4.1.2.5",
        "a certificate is judged in the very second of its notAfter, which the validity period includes",
        _ends_this_second, _a_second_earlier,
    ),
    Difference(
        "any-purpose", "RFC 5280 §4.2.1.12",
        "extendedKeyUsage has anyExtendedKeyUsage, which OpenSSL's check for TLS servers does not know",
        _any_eku_only, lambda seen: [replace(seen.question, any_purpose=True)],
    ),
    Difference(
        "several-ways", "RFC 7671 §5.2, RFC 4158 §2.4",
        "several certificates fit by name: OpenSSL takes the first and never turns back, we try the other ways too",
        _misleading, _presenting_less,
    ),
    Difference(
        "partial-wildcard", "RFC 7672 §3.2.3, RFC 9525 §6.3",
        "a wildcard that is part of a label (m*.example.com): never a match for us",
        lambda seen: not seen.we_match and _partial_wildcard(seen),
        lambda seen: [replace(seen.question, partial_wildcards=False)],
    ),
    Difference(
        "weak-key-of-usage-3", "RFC 7672 §3.1.1, RFC 7671 §5.1",
        "usage 3 binds the key itself, however short; OpenSSL refuses short keys by its security level",
        _by_usage_3, lambda seen: [replace(seen.question, security_level=0)],
    ),
    Difference(
        "each-record-alone", "RFC 7671 §5.2.3",
        "a bare key matches by itself; with its certificate also published whole, OpenSSL judges that certificate instead",
        _bare_key_and_its_certificate, _our_record_alone,
    ),
)  # fmt: skip
"""As in docs/explain/compared-with-others.md.  Remedies are taken in this order, so what makes a case anew comes first."""


# -------------------------------------------------------------------------------------------------------- comparing


@dataclass(slots=True)
class DaneTally:
    """What a run came to."""

    openssl: str = ""
    cases: int = 0
    agreed: int = 0
    both_match: int = 0
    same_record: int = 0
    documented: Counter[tuple[str, ...]] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)
    covered: Counter[str] = field(default_factory=Counter)
    """How many cases had each usage, selector, matching type, number of presented authorities and difference."""


def compare(seeds: Iterable[int]) -> DaneTally:
    """Judge the cases of these seeds by both engines."""
    openssl = OpenSsl()
    tally = DaneTally(openssl.version)
    try:
        for seed in seeds:
            case = make_case(seed)
            tally.cases += 1
            _count(tally, case)
            try:
                _compare_one(openssl, case, tally)
            except HandshakeFailed as error:
                tally.undocumented.append(f"no handshake ({error}): {case}")
    finally:
        openssl.close()
    return tally


def _compare_one(openssl: OpenSsl, case: DaneCase, tally: DaneTally) -> None:
    seen = ask(openssl, case)
    if seen.agreed:
        tally.agreed += 1
        tally.both_match += seen.we_match
        tally.same_record += seen.we_match and seen.same_record
        return
    names = explain(openssl, seen)
    if names:
        tally.documented[names] += 1
    else:
        words = f"we: {seen.ours.verdict.value}, {seen.ours.detail}; OpenSSL: {seen.theirs.words}"
        tally.undocumented.append(f"{words}; usable {seen.usable} and {seen.theirs.usable}; {case}")


def ask(openssl: OpenSsl, case: DaneCase, question: Question | None = None) -> Seen:
    """Both engines' answers to a case, or to a question made from it."""
    question = question or case.question
    ours = verify(question.chain, question.records, question.names, question.at)
    return Seen(case, question, ours, openssl.judge(question))


def explain(openssl: OpenSsl, seen: Seen) -> tuple[str, ...]:
    """The fewest documented differences whose remedies together make the engines agree; empty when there are none."""
    if seen.usable != seen.theirs.usable:
        return ()
    for number in range(1, len(DIFFERENCES) + 1):
        for chosen in combinations(DIFFERENCES, number):
            if _agree_after(openssl, seen, chosen):
                return tuple(item.name for item in chosen)
    return ()


def _agree_after(openssl: OpenSsl, seen: Seen, chosen: tuple[Difference, ...]) -> bool:
    if not chosen:
        return seen.agreed
    first, *rest = chosen
    if not first.concerns(seen):
        return False
    asked = (ask(openssl, seen.case, question) for question in first.remedies(seen))
    return any(
        _agree_after(openssl, again, tuple(rest)) for again in asked if (again.we_match == seen.we_match) == first.ours_stays
    )


def _count(tally: DaneTally, case: DaneCase) -> None:
    for record in case.question.records:
        tally.covered[f"usage {record.usage}"] += 1
        tally.covered[f"selector {record.selector}"] += 1
        tally.covered[f"matching type {record.matching}"] += 1
        tally.covered[f"record {record.usage} {record.selector} {record.matching}"] += 1
    tally.covered[f"authorities presented: {case.depth}"] += 1
    for what in (f"shape: {case.shape}", f"order: {case.order}", f"certificate: {case.named}"):
        tally.covered[what] += 1
    for difference in dict.fromkeys(item.rpartition(" at ")[0] for item in case.differences):
        tally.covered[f"difference: {difference}"] += 1


def report(tally: DaneTally) -> str:
    """The tally for people."""
    lines = [
        f"DANE, beside {tally.openssl}",
        f"  {tally.cases:6} generated cases",
        f"  {tally.agreed:6} same verdict ({tally.both_match} match, {tally.same_record} of them by the same record and depth)",
        f"  {sum(tally.documented.values()):6} documented differences",
    ]
    for names, count in tally.documented.most_common():
        lines.append(f"         {count:5} {' + '.join(names)}")
    lines.append(f"  {len(tally.undocumented):6} undocumented differences")
    lines += [f"         {text}" for text in tally.undocumented[:50]]
    return "\n".join(lines)
