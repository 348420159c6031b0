"""MTA-STS, what `make mutation` found that no other test noticed: the bound of quoted text, and the number of a line."""

from __future__ import annotations

import pytest

from sealroute.proto.mtasts.policy import PolicyInvalid, parse_policy
from sealroute.proto.mtasts.txt import parse_txt


def test_the_line_that_is_not_utf8_is_counted_from_the_first_octet() -> None:
    assert parse_policy(b"\n\xff") == PolicyInvalid("Line 2 is not UTF-8.")
    assert parse_policy(b"\n\n\xff") == PolicyInvalid("Line 3 is not UTF-8.")


@pytest.mark.parametrize(("length", "shown"), [(59, "x" * 59), (60, "x" * 60), (61, "x" * 57 + "...")])
def test_foreign_text_is_quoted_whole_up_to_sixty_characters(length: int, shown: str) -> None:
    assert parse_policy("x" * length) == PolicyInvalid(f"Line 1: '{shown}' is not a field; fields are written name: value.")
    assert parse_txt(["v=STSv1; " + "x" * length]).reason == f"'{shown}' is not a field; fields are written name=value"
