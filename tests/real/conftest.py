"""What the tests against real servers need of the machine."""

from __future__ import annotations

import shutil

import pytest

from tests.real.postgres import postgres as postgres

NEEDED = {"nsd": "nsd", "unbound": "unbound", "postfix": "postfix", "openssl": "openssl"}
"""Program and Debian package."""


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Fail at once, and say what to do, rather than pass over what could not be tested."""
    path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
    missing = [package for program, package in NEEDED.items() if shutil.which(program, path=path) is None]
    if missing:
        pytest.exit(f"tests/real needs the packages {' '.join(missing)}: run `tools/setup test`", returncode=2)
