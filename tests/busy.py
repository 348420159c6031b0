"""A busy event loop, for tests of what must not suffer from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def busy_loop(round_seconds: float) -> Iterator[None]:
    """Keep the running event loop at other work: every round of it takes at least so long."""
    loop = asyncio.get_running_loop()
    over = False

    def work() -> None:
        time.sleep(round_seconds)
        if not over:
            loop.call_soon(work)

    loop.call_soon(work)
    try:
        yield
    finally:
        over = True
