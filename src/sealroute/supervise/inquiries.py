"""Asks all workers on behalf of one: whichever is asked for /metrics or /healthz has the parent ask the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealroute.services.merge import merge
from sealroute.supervise.slot import Slot
from sealroute.worker import Frame

REPORT_SECONDS = 3.0
"""How long a worker may take to say how it is."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A question to all workers, on behalf of one."""

    number: int
    slot: Slot
    asked: int
    """The asker's own number for it."""
    until: float
    what: str
    waiting: set[int]
    said: dict[str, object]


class Inquiries:
    """Questions under way, and what was counted by workers that are no more."""

    def __init__(self, slots: Sequence[Slot], tell: Callable[[Slot, Frame], None]) -> None:
        self._slots = slots
        self._tell = tell
        self._asks: dict[int, _Ask] = {}
        self._next = 1
        self._gone = ""

    @property
    def moments(self) -> list[float]:
        """When somebody's patience ends."""
        return [ask.until for ask in self._asks.values()]

    def ask_all(self, slot: Slot, asked: int, what: str) -> None:
        number, self._next = self._next, self._next + 1
        able = [other for other in self._slots if other.pid and other.ready]
        waiting = {other.number for other in able}
        said: dict[str, object] = {str(other): None for other in sorted(waiting)}
        self._asks[number] = _Ask(number, slot, asked, time.monotonic() + REPORT_SECONDS, what, waiting, said)
        for other in able:
            self._tell(other, {"report": number, "what": what, "queue": other is slot})

    def reported(self, slot: Slot, number: int, message: Frame) -> None:
        """A worker has answered; too late does not count."""
        ask = self._asks.get(number)
        if ask is not None and slot.number in ask.waiting:
            ask.waiting.discard(slot.number)
            ask.said[str(slot.number)] = message["said"]
            if ask.what == "metrics":
                slot.metrics = message["said"]

    def ended(self, slot: Slot) -> None:
        """A worker is no more; what it counted stays counted."""
        self._gone = merge([text for text in (self._gone, slot.metrics) if text], cumulative=True).decode()
        self._asks = {number: ask for number, ask in self._asks.items() if ask.slot is not slot}  # its successor asks anew
        for ask in self._asks.values():
            ask.waiting.discard(slot.number)

    def answer_due(self, now: float) -> None:
        """Answer where all have spoken or time is up."""
        for ask in [ask for ask in self._asks.values() if not ask.waiting or now >= ask.until]:
            self._answer(ask)

    def _answer(self, ask: _Ask) -> None:
        del self._asks[ask.number]
        troubles = {str(slot.number): slot.trouble for slot in self._slots if slot.trouble}
        for slot in self._slots:
            silent = not slot.trouble and ask.said.get(str(slot.number)) is None
            if ask.what == "metrics" and silent and slot.metrics:
                ask.said[str(slot.number)] = slot.metrics  # what it counted must not look undone
        self._tell(ask.slot, {"answer": ask.asked, "reports": ask.said, "troubles": troubles, "gone": self._gone})
