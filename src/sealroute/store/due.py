"""Which groups are due, and may be taken: in line, past the destinations that have no room.

Groups are taken by the time they are due.  A destination without room (services/lanes) is passed over, and may have more
groups in front of the line than could be looked at each time.  So the look at the line is bounded; when such groups fill it,
the line is *blocked*, and the next look goes by destination: from one to the next in the order of their names, passing over a
destination in one step however many groups it has, and going on next time where it stopped.

A look costs WINDOW rows and STEPS destinations at most, whatever the length of the queue.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, literal_column, select, text

from sealroute.store.schema import recipient_group

WINDOW = 2_000
STEPS, STRIDE = 2_000, 100
"""Destinations that a look goes past at most, and that are read at once."""
SHARE = 10
"""Groups of one destination that a look by destination takes: few, so that many get their turn; and not one, because each
destination is another place of the database."""
group = recipient_group.c
is_queued = group.state == literal_column("'queued'")
"""In the words of the part indexes."""

_DESTINATIONS = text(
    """
    WITH RECURSIVE destination (domain, step) AS (
        SELECT (SELECT min(domain) FROM recipient_group WHERE state = 'queued' AND domain > :after), 1
        UNION ALL
        SELECT (SELECT min(domain) FROM recipient_group WHERE state = 'queued' AND domain > destination.domain), step + 1
        FROM destination
        WHERE destination.domain IS NOT NULL AND step < :steps
    )
    SELECT destination.domain, first.id, first.next_attempt_us
    FROM destination
    JOIN recipient_group AS first ON first.id = (
        SELECT id FROM recipient_group
        WHERE state = 'queued' AND domain = destination.domain
        ORDER BY next_attempt_us
        LIMIT 1
    )
    ORDER BY destination.domain
    """
)
_OF_DESTINATION = text(
    """
    SELECT id FROM recipient_group
    WHERE state = 'queued' AND domain = :domain AND next_attempt_us <= :now_us
    ORDER BY next_attempt_us
    LIMIT :count
    """
)


class Room:
    """How many groups each destination may still get in this look; any number where nothing was said."""

    def __init__(self, room: Mapping[str, int]) -> None:
        self._left = dict(room)

    def copy(self) -> Room:
        return Room(self._left)

    def left(self, domain: str, most: int) -> int:
        return min(self._left.get(domain, most), most)

    def take(self, domain: str, count: int = 1) -> None:
        if domain in self._left:
            self._left[domain] -= count


def in_line(connection: Connection, now_us: int, limit: int, room: Room) -> tuple[list[str], bool]:
    """Up to `limit` ids in the order of their times, and whether the line is blocked.  Others cannot take them meanwhile."""
    for window in (limit, max(WINDOW, limit)):
        query = (
            select(group.id, group.domain)
            .where(is_queued, group.next_attempt_us <= now_us)
            .order_by(group.next_attempt_us)
            .limit(window)
            .with_for_update(skip_locked=True)  # several nodes on PostgreSQL share the work; SQLite has one writer anyway
        )
        seen = connection.execute(query).all()
        chosen: list[str] = []
        taken = room.copy()
        for identity, domain in seen:
            if len(chosen) < limit and taken.left(domain, 1) > 0:
                taken.take(domain)
                chosen.append(identity)
        if len(chosen) == limit or len(seen) < window:
            return chosen, False
    return chosen, True


def by_destination(connection: Connection, now_us: int, limit: int, room: Room, after: str) -> tuple[list[str], str]:
    """Up to `limit` ids of destinations that come after the one named, at the end from the beginning; and where to go on."""
    chosen: list[str] = []
    passed: set[str] = set()
    while len(passed) < STEPS:
        found = connection.execute(_DESTINATIONS, {"after": after, "steps": STRIDE}).all()
        for domain, first, due_us in found:
            if len(chosen) >= limit or domain in passed:  # enough, or once around
                return chosen, after
            passed.add(domain)
            after = domain
            count = room.left(domain, min(SHARE, limit - len(chosen))) if due_us <= now_us else 0
            if count == 1:
                chosen.append(first)
            elif count > 1:
                chosen += connection.scalars(_OF_DESTINATION, {"domain": domain, "now_us": now_us, "count": count})
        if not found and not after:
            return chosen, after
        if len(found) < STRIDE:
            after = ""
    return chosen, after
