"""DANE: a sample of the generated comparison with OpenSSL's verifier; `make compare` does thousands.

The invariant: the two engines agree, or a documented difference explains the disagreement, remedy applied.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from compare import mtasts
from compare.dane_cases import ANYWHERE, AUTHORITY, LEAF, NAMES, ORDERS, SHAPES, make_case
from compare.dane_openssl import DIFFERENCES, Difference, ask, compare, explain
from compare.libssl import OpenSsl
from sealroute.proto.dane.verify import DaneReason, DaneVerdict

pytestmark = pytest.mark.real

SAMPLE = range(1_000_000, 1_000_600)
EXPLAINED = Path(__file__).parents[2] / "docs" / "explain" / "compared-with-others.md"
EXAMPLES = {
    "bare-key-sha1": 2557,
    "constrained-common-name": 156795,
    "anchor-dates": 151,
    "last-second": 235,
    "any-purpose": 277,
    "several-ways": 173,
    "partial-wildcard": 444,
    "weak-key-of-usage-3": 158,
    "each-record-alone": 131775,
}
"""A seed for each documented difference."""


def _openssl_is_there() -> bool:
    try:
        OpenSsl().close()
    except OSError:
        return False
    return True


needs_openssl = pytest.mark.skipif(not _openssl_is_there(), reason="needs OpenSSL 3's libssl as a shared library")


@needs_openssl
def test_we_agree_with_openssl_but_for_documented_differences() -> None:
    tally = compare(SAMPLE)
    assert tally.undocumented == []
    assert tally.cases == len(SAMPLE) == tally.agreed + sum(tally.documented.values())
    assert tally.both_match > len(SAMPLE) // 4
    assert tally.agreed > len(SAMPLE) * 0.94


@needs_openssl
@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda item: item.name)
def test_every_documented_difference_occurs_and_is_told_from_the_others(difference: Difference) -> None:
    name = difference.name
    openssl = OpenSsl()
    try:
        seen = ask(openssl, make_case(EXAMPLES[name]))
        assert not seen.agreed
        assert explain(openssl, seen) == (name,)
    finally:
        openssl.close()


@needs_openssl
def test_a_wrong_answer_of_ours_would_not_be_explained_away() -> None:
    """Every agreed verdict, turned round, has to come out as undocumented."""
    openssl = OpenSsl()
    explained = []
    try:
        for seed in range(150):
            seen = ask(openssl, make_case(seed))
            if not seen.agreed:
                continue
            turned = DaneVerdict.NO_MATCH if seen.we_match else DaneVerdict.MATCH
            ours = replace(seen.ours, verdict=turned, reason=DaneReason.CHAIN_INVALID, best=None)
            explained += [seed] if explain(openssl, replace(seen, ours=ours)) else []
    finally:
        openssl.close()
    assert explained == []


def test_every_difference_is_documented() -> None:
    headings = re.findall(r"^### `([a-z0-9-]+)`", EXPLAINED.read_text(), re.M)
    assert {item.name for item in (*DIFFERENCES, *mtasts.DIFFERENCES)} <= set(headings)
    assert {item.name for item in DIFFERENCES} == set(EXAMPLES)


def test_the_generator_covers_what_it_has() -> None:
    cases = [make_case(seed) for seed in range(1500)]
    seen = {difference.rpartition(" at ")[0] for case in cases for difference in case.differences}
    assert seen >= {*ANYWHERE, *AUTHORITY, *LEAF}
    assert {case.shape for case in cases} == set(SHAPES)
    assert {case.order for case in cases} == set(ORDERS)
    assert {case.named for case in cases} == set(NAMES)
    records = {(item.usage, item.selector, item.matching) for case in cases for item in case.question.records}
    assert records >= {(usage, selector, matching) for usage in range(4) for selector in (0, 1) for matching in (0, 1, 2)}


def test_a_seed_gives_the_same_case_again() -> None:
    for seed in range(40):
        once, again = make_case(seed), make_case(seed)
        assert str(once) == str(again)
        assert [item.selector for item in once.question.records] == [item.selector for item in again.question.records]
        assert once.question.key == again.question.key


@pytest.mark.skipif(find_spec("postfix_mta_sts_resolver") is None, reason="needs the optional group `compare`")
async def test_we_agree_with_another_mta_sts_resolver_but_for_documented_differences() -> None:
    tally = await mtasts.compare(range(1000))
    assert tally.undocumented == []
    assert tally.both_accept > 100


def test_every_mta_sts_text_that_we_accept_is_in_the_grammar() -> None:
    """The grammar is written down a second time in compare/mtasts, without any code in common."""
    accepted = [case for case in map(mtasts.make_case, range(4000)) if mtasts.our_reading(case).reading is not None]
    assert len(accepted) > 500
    assert [str(case) for case in accepted if not mtasts.in_grammar(case)] == []
