"""Timed exceptions at rest: ports.ExceptionStore.

Making and ending one are changes to a connector's effect: each is one transaction with its audit in `connector_change`, and
makes `connector_version` grow, so that a running gateway loads exceptions together with connectors (LiveConnectors).  Rows
stay for good; one that has expired needs no writing, its date says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sealroute.base.errors import OperatorError
from sealroute.base.times import from_us, rfc3339, to_us
from sealroute.policy.exceptions import TimedException
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.store.changes import grow_version, note_change
from sealroute.store.engine import Database
from sealroute.store.schema import timed_exception as table


class SqlExceptions:
    """ports.ExceptionStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, organization: str) -> list[TimedException]:
        """In force, ended and expired, the newest first."""
        query = select(table).where(table.c.organization == organization).order_by(table.c.created_us.desc(), table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [exception_of(row) for row in rows]

    def add(self, exception: TimedException) -> None:
        """Raises OperatorError when one is in force already for the domain in this connector."""
        with self._database.write() as connection:
            grow_version(connection)  # first: on PostgreSQL its row lock makes others wait, so that no two can be in force
            for row in connection.execute(_unended.where(table.c.organization == exception.organization)):
                other = exception_of(row)
                same = (other.connector_guid, other.domain) == (exception.connector_guid, exception.domain)
                if same and other.in_force(exception.created_at):
                    raise OperatorError.one(
                        exception.domain,
                        f"the exception {other.id} is in force for it until {rfc3339(other.until)}.",
                        f"`sealroute exception end {other.id}` ends it.",
                    )
            if connection.scalar(select(table.c.id).where(table.c.id == exception.id)) is not None:
                raise OperatorError.one("exception", f"the id {exception.id} is taken.", "Try again.")
            connection.execute(insert(table), _row(exception))
            _audit(connection, exception, exception.author, exception.created_at, "NewException")

    def end(self, organization: str, identity: str, actor: str, now: datetime) -> TimedException:
        """The exception as it was until now; raises OperatorError when there is none in force of that id."""
        with self._database.write() as connection:
            row = connection.execute(
                select(table).where(table.c.organization == organization, table.c.id == identity)
            ).one_or_none()
            if row is None:
                raise OperatorError.one(identity, "there is no such exception.", "`sealroute exception list --all` lists them.")
            exception = exception_of(row)
            if not exception.in_force(now):
                when = exception.ended_at or exception.until
                raise OperatorError.one(identity, f"it has {exception.state(now)} already, at {rfc3339(when)}.")
            grow_version(connection)
            end_unended(connection, [identity], actor, now)
            _audit(connection, exception, actor, now, "EndException")
        return exception


_unended = select(table).where(table.c.ended_us.is_(None))


def load_in_force(connection: Connection, now: datetime) -> list[TimedException]:
    """All that are in force at the moment, of every organisation, the oldest first."""
    query = _unended.where(table.c.until_us > to_us(now)).order_by(table.c.created_us, table.c.id)
    return [exception_of(row) for row in connection.execute(query)]


def end_of_connector(connection: Connection, organization: str, guid: str, actor: str, now: datetime) -> None:
    """A connector goes: what was excepted in it ends with it."""
    mine = _unended.where(table.c.organization == organization, table.c.connector_guid == guid, table.c.until_us > to_us(now))
    ended = [exception_of(row) for row in connection.execute(mine)]
    end_unended(connection, [item.id for item in ended], actor, now)
    for exception in ended:
        _audit(connection, exception, actor, now, "EndException")


def end_unended(connection: Connection, identities: Sequence[str], actor: str, now: datetime) -> None:
    """Mark them ended."""
    values = {"ended_us": to_us(now), "ended_by": actor}
    connection.execute(update(table).where(table.c.id.in_(identities)).values(**values))


def exception_of(row: Any) -> TimedException:
    """The exception of a row; raises OperatorError when it cannot be read in full."""
    try:
        dane = None if row.smtp_dane_mode is None else SmtpDaneMode(row.smtp_dane_mode)
        sts = None if row.mta_sts_mode is None else MtaStsMode(row.mta_sts_mode)
    except ValueError as error:
        raise OperatorError.one(f"exception {row.id}", f"it cannot be read: {error}.") from None
    return TimedException(
        id=row.id,
        organization=row.organization,
        connector_guid=row.connector_guid,
        connector_name=row.connector_name,
        domain=row.domain,
        smtp_dane_mode=dane,
        mta_sts_mode=sts,
        created_at=from_us(row.created_us),
        until=from_us(row.until_us),
        reason=row.reason,
        author=row.author,
        ended_at=None if row.ended_us is None else from_us(row.ended_us),
        ended_by=row.ended_by,
    )


def _row(exception: TimedException) -> dict[str, Any]:
    return {
        "id": exception.id,
        "organization": exception.organization,
        "connector_guid": exception.connector_guid,
        "connector_name": exception.connector_name,
        "domain": exception.domain,
        "smtp_dane_mode": exception.smtp_dane_mode.value if exception.smtp_dane_mode else None,
        "mta_sts_mode": exception.mta_sts_mode.value if exception.mta_sts_mode else None,
        "created_us": to_us(exception.created_at),
        "until_us": to_us(exception.until),
        "reason": exception.reason,
        "author": exception.author,
        "ended_us": None,
        "ended_by": "",
    }


def _audit(connection: Connection, exception: TimedException, actor: str, at: datetime, action: str) -> None:
    """What `sealroute connector history` shows: every value of a new one, the id and domain of one that ends."""
    shown: dict[str, str | None] = {
        "Exception": exception.id,
        "Domain": exception.domain,
        "SmtpDaneMode": exception.smtp_dane_mode.value if exception.smtp_dane_mode else None,
        "MtaStsMode": exception.mta_sts_mode.value if exception.mta_sts_mode else None,
        "Until": rfc3339(exception.until),
        "Reason": exception.reason,
    }
    after = {"Until": rfc3339(at)} if action == "EndException" else shown
    before = shown if action == "EndException" else {}
    connector = {"Name": exception.connector_name, "Guid": exception.connector_guid}
    note_change(
        connection, (exception.organization, exception.connector_guid, exception.connector_name), actor, at, action,
        (before | connector, shown | after | connector),
    )  # fmt: skip
