"""watch_moves: roll a moved connector back when it holds too much mail, and try that mail again at once.

Every gateway looks; the one that is first in the store does it, together with the audit and the alert (store/moves).  When
that is, policy/move says.  Mail is made due a little later, when every node knows the connector that it goes by then.
"""

from __future__ import annotations

import asyncio

import structlog

from sealroute.base.errors import SealrouteError
from sealroute.policy.move import Mark, Move, roll_back
from sealroute.ports import Clock, ConnectorStore, MoveStore
from sealroute.services.move import KNOWN_AFTER, Around, moved, plan_roll_back, situation

log = structlog.get_logger("sealroute.moves")
ACTOR = "sealroute"
LOOK_SECONDS = 5.0


class MoveWatch:
    """The watch of a running gateway."""

    def __init__(self, connectors: ConnectorStore, moves: MoveStore, clock: Clock) -> None:
        self._connectors = connectors
        self._moves = moves
        self._clock = clock

    def __repr__(self) -> str:
        return f"<MoveWatch every {LOOK_SECONDS:g} s>"

    async def work(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> list[Move]:
        """Look at all moves once; returns those that were rolled back.  What goes wrong with one is logged."""
        try:
            under_way = self._moves.under_way()
        except SealrouteError as error:
            log.warning("moves of connectors could not be read", error=str(error))
            return []
        return [done for move in under_way if (done := self._look_at(move)) is not None]

    def _look_at(self, move: Move) -> Move | None:
        try:
            now = self._clock.now()
            if not move.watched(now) or not (why := roll_back(move, situation(self._moves, move, now))):
                return None
            around = Around(self._connectors, self._moves, move.organization)
            if not moved(around, move).use_mx_record:
                return None  # an administrator was first, by hand
            change = plan_roll_back(around, move, Mark(now, ACTOR, why))
            if not self._moves.carry_out(change, now, ACTOR, alert=True):
                return None  # another node was first, or an administrator: the next look sees what is there then
            again = self._moves.try_again(move, self._clock.now() + KNOWN_AFTER)
        except SealrouteError as error:
            log.error("a moved connector could not be looked at", connector=move.connector_name, error=str(error))
            return None
        log.error("a moved connector was rolled back", connector=move.connector_name, why=why, tried_again=again)
        return change.after
