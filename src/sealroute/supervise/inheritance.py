"""What a dead worker held is handed to a living one at once, by the node name that only this one process ever had."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sealroute.supervise.slot import Slot
from sealroute.worker import Frame


class Inheritance:
    """Nodes whose groups are to be taken over."""

    def __init__(self, slots: Sequence[Slot], tell: Callable[[Slot, Frame], None]) -> None:
        self._slots = slots
        self._tell = tell
        self._dead: dict[str, int] = {}
        """By node: the worker that was told (0: none yet)."""
        self._closed = False

    def died(self, slot: Slot) -> None:
        """What it held, and what it was to take over, is for another."""
        self._dead |= {node: 0 for node, told in self._dead.items() if told == slot.number}
        self._dead[slot.node] = 0
        self.hand_over()

    def taken(self, node: str) -> None:
        self._dead.pop(node, None)

    def not_taken(self, node: str) -> None:
        self._dead[node] = 0
        self.hand_over()

    def hand_over(self) -> None:
        """Have a living worker take over what the dead held, if there is one."""
        living = next((slot for slot in self._slots if slot.pid and slot.ready), None)
        if living is None or self._closed:
            return
        for node, told in self._dead.items():
            if not told:
                self._dead[node] = living.number
                self._tell(living, {"dead": node})

    def close(self) -> None:
        """All are about to end; the next start of the gateway recovers what is left."""
        self._closed = True
