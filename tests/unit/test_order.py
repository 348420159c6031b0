"""order: smart hosts stay in their order, MX hosts of equal preference do not."""

from __future__ import annotations

import pytest

from sealroute.policy.decide import HostPlan
from sealroute.services.order import Order

NOWHERE = ("", "")


def host(name: str, preference: int = 10, hop: int = 0) -> HostPlan:
    return HostPlan(name, preference, (), hop=hop)


def names(chance: float, *hosts: HostPlan, route: tuple[str, str] = NOWHERE) -> list[str]:
    return [item.name for _, item in Order(lambda: chance).hosts(hosts, route)]


@pytest.mark.parametrize(("chance", "expected"), [(0.0, ["a", "b", "c"]), (0.99, ["b", "a", "c"])])
def test_equal_preferences_are_shuffled_and_unequal_ones_kept(chance: float, expected: list[str]) -> None:
    assert names(chance, host("a"), host("b"), host("c", 20)) == expected


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_smart_hosts_are_tried_in_the_order_given_though_their_preferences_are_equal(chance: float) -> None:
    assert names(chance, host("a", 0, 0), host("b", 0, 1), host("c", 0, 2)) == ["a", "b", "c"]


def test_the_hosts_of_one_smart_host_are_shuffled_among_themselves() -> None:
    assert names(0.99, host("a"), host("b"), host("c", 10, 1)) == ["b", "a", "c"]


def test_the_rank_counts_those_that_are_preferred() -> None:
    ranked = Order(lambda: 0.0).hosts((host("a", 0, 0), host("b", 0, 1)), ("b", "192.0.2.1"))
    assert [(rank, item.name) for rank, item in ranked] == [(1, "b"), (0, "a")], "the route that greylisted us goes first"
