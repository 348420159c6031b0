"""Takes over the tests and fixtures of another module."""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Any


def shared(module: ModuleType, *, left_out: Collection[str] = ()) -> dict[str, Any]:
    """What pytest collects from a module: its tests, and the fixtures that they name.  `left_out`: tests of SQLite's own."""
    assert set(left_out) <= set(vars(module)), "a test that is left out is not there any more"
    return {
        name: value
        for name, value in vars(module).items()
        if name not in left_out and (name.startswith("test_") or type(value).__name__ == "FixtureFunctionDefinition")
    }
