"""Every fuzz target holds its invariant for random octets, for its seeds, and for seeds that were damaged or spliced."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS

_SLOW = {"damaged-chain": 20, "odd-tlsa": 20, "certificate-facts": 50, "dsn-parse": 50}
"""How many examples, for those that verify signatures or build trees."""
_EXAMPLES = 100


@pytest.mark.parametrize("name", TARGETS)
def test_the_invariant_is_one_sentence(name: str) -> None:
    assert TARGETS[name].invariant.count(". ") == 0
    assert TARGETS[name].invariant.endswith(".")


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_hold(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_the_invariant_holds(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()

    @settings(max_examples=_SLOW.get(name, _EXAMPLES), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        octets = bytearray(data.draw(st.sampled_from(seeds)) if data.draw(st.booleans()) else data.draw(st.binary(max_size=80)))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(octets)))
            cut = data.draw(st.integers(0, 8))
            octets[at : at + cut] = data.draw(
                st.one_of(st.binary(max_size=8), st.sampled_from([b"\r\n", b"\x00", b";", b"<", b":"]))
            )
        target.run(bytes(octets))

    holds()
