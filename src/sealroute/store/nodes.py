"""Nodes and their leases: who works on what, and taking back what a dead node held.

Each method is part of a transaction that the caller has begun.  They look at the groups that are being worked on, by
an index of those alone: as many as the living and the dead nodes hold in memory, however long the queue is.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, literal_column, select, true, update

from sealroute.ports import Changed, GroupState
from sealroute.store.engine import Database
from sealroute.store.notify import notify
from sealroute.store.schema import node, recipient_group

group = recipient_group.c
is_active = group.state == literal_column("'active'")
"""In the words of the index."""


class Nodes:
    """This node's row, and those of others."""

    def __init__(self, database: Database, node_id: str, lease: timedelta) -> None:
        self._database = database
        self._node_id = node_id
        self._lease_us = lease // timedelta(microseconds=1)

    def start(self, connection: Connection, now_us: int, *, alone: bool) -> int:
        """Take back what a node of this name held; alone, what any node held."""
        if alone:
            back = self.recover(connection, now_us)
        else:
            back = self.take_over(connection, self._node_id, now_us)
        self._extend(connection, now_us)
        return back

    def recover(self, connection: Connection, now_us: int) -> int:
        """All nodes are dead."""
        connection.execute(delete(node))
        return self._take_back(connection, now_us, true())

    def take_over(self, connection: Connection, node_id: str, now_us: int) -> int:
        """This one is dead."""
        connection.execute(delete(node).where(node.c.id == node_id))
        return self._take_back(connection, now_us, group.owner == node_id)

    def renew(self, connection: Connection, now_us: int, *, late: bool) -> int:
        """Extend this node's lease; unless that was late, those whose leases have run out are dead."""
        self._extend(connection, now_us)
        if late:
            return 0
        dead = and_(node.c.lease_until_us < now_us, node.c.id != self._node_id)
        connection.execute(delete(node).where(dead))
        leased = exists(select(1).where(node.c.id == group.owner))
        return self._take_back(connection, now_us, and_(group.owner != self._node_id, ~leased))

    def _extend(self, connection: Connection, now_us: int) -> None:
        row = {"id": self._node_id, "lease_until_us": now_us + self._lease_us}
        connection.execute(self._database.upsert(node, "id"), row)

    def _take_back(self, connection: Connection, now_us: int, whose: ColumnElement[bool]) -> int:
        """Groups of dead owners become due at once."""
        back = connection.execute(
            update(recipient_group)
            .where(is_active, whose)
            .values(state=GroupState.QUEUED.value, owner=None, next_attempt_us=now_us)
        ).rowcount
        if back:
            notify(connection, Changed.QUEUE, self._node_id)
        return back
