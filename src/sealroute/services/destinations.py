"""destinations: what this node remembers of each destination: its window, whether it could be reached, and who is at work.

A destination is a recipient domain.  Bounds: so many that were reached and so many that were not are remembered, those
longest without a run are forgotten first; so ten thousand dead ones push no live one out.  One in use is never forgotten; how
many those are is bounded by the groups in memory.

Pure bookkeeping.  Whose turn it is: services/lanes; what survives a restart: services/windows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sealroute.policy.pace import Feedback, Heard, Window
from sealroute.policy.reasons import Finding
from sealroute.ports import DestinationState, Reach
from sealroute.services.rates import Gate

MAX_REMEMBERED = 10_000
MAX_WHY_CHARACTERS = 500


class Destination:
    """One destination."""

    __slots__ = ("changed_at", "domain", "gate", "lanes", "reach", "running", "waiting", "why", "window")

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.window = Window()
        self.reach = Reach.UNKNOWN
        self.running = 0
        self.waiting = 0
        self.gate: Gate | None = None
        """Its limit in messages per minute, if there is one."""
        self.lanes: list[Any] = []
        """services/lanes keeps them here: one for each organisation that has mail for it in memory."""
        self.changed_at: datetime | None = None
        self.why: Finding | str = ""
        """Of the last change; made into text only when somebody looks."""

    def __repr__(self) -> str:
        return f"<Destination {self.domain}: {self.reach.value}, {self.window!r}, {self.running} running>"

    @property
    def in_use(self) -> bool:
        return bool(self.running or self.waiting)

    def state(self) -> DestinationState:
        """As it is kept and shown; only for one that has changed."""
        assert self.changed_at is not None
        why = self.why if isinstance(self.why, str) else self.why.queued()
        return DestinationState(
            self.domain, self.window.size, self.window.halved, self.reach, self.changed_at, why[:MAX_WHY_CHARACTERS]
        )


class Destinations:
    """All that are remembered."""

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max = max_remembered
        self._reached: OrderedDict[str, Destination] = OrderedDict()
        self._others: OrderedDict[str, Destination] = OrderedDict()
        self.changed: dict[str, Destination] = {}
        """By domain, what has changed since somebody took it from here."""
        self.halvings = 0
        """How often a window was halved."""

    def __len__(self) -> int:
        return len(self._reached) + len(self._others)

    def __repr__(self) -> str:
        return f"<Destinations {len(self._reached)} reached, {len(self._others)} others>"

    def get(self, domain: str) -> Destination:
        """What is known of the domain, were it nothing."""
        found = self._reached.get(domain) or self._others.get(domain)
        if found is None:
            found = self._others[domain] = Destination(domain)
            self._forget(self._others)
        return found

    def counts(self) -> Mapping[Reach, int]:
        """How many are remembered, by whether they were reached."""
        unknown = sum(item.reach is Reach.UNKNOWN for item in self._others.values())
        return {
            Reach.REACHED: len(self._reached),
            Reach.UNREACHED: len(self._others) - unknown,
            Reach.UNKNOWN: unknown,
        }

    def learn(self, destination: Destination, heard: Heard, limit: int, now: datetime) -> bool:
        """Take in what a run told; True when its reach changed.  `limit` is what the window may grow to."""
        changed = destination.window.feed(heard.feedback, limit)
        if changed and heard.feedback is Feedback.OVERLOADED:
            self.halvings += 1
        reach = Reach.REACHED if heard.reached else Reach.UNREACHED
        moved = reach is not destination.reach
        if changed or moved:
            destination.changed_at = now
            destination.why = heard.why or ("mail was taken" if heard.reached else "the run broke off on our side")
            self.changed[destination.domain] = destination
        if moved:
            self._file(destination, reach)
        else:
            kept = self._reached if heard.reached else self._others
            kept[destination.domain] = destination
            kept.move_to_end(destination.domain)
        return moved

    def load(self, states: Iterable[DestinationState]) -> None:
        """Take in what was kept, the longest unchanged first; what is known already is newer and stays."""
        for state in states:
            destination = self.get(state.domain)
            if destination.changed_at is None and not destination.in_use:
                destination.window = Window(state.window, halved=state.halved)
                destination.changed_at, destination.why = state.changed_at, state.why
                self._file(destination, state.reach)

    def _file(self, destination: Destination, reach: Reach) -> None:
        destination.reach = reach
        self._reached.pop(destination.domain, None)
        self._others.pop(destination.domain, None)
        kept = self._reached if reach is Reach.REACHED else self._others
        kept[destination.domain] = destination
        self._forget(kept)

    def _forget(self, kept: OrderedDict[str, Destination]) -> None:
        """Make room; each one in use that stands in the way is looked at once and counts as used just now."""
        for _ in range(len(kept) - 1):
            if len(kept) <= self._max:
                return
            domain, oldest = next(iter(kept.items()))
            if oldest.in_use:
                kept.move_to_end(domain)
            else:
                del kept[domain]
