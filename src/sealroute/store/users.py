"""Who may submit mail, and the organisations they and the connectors belong to.  Only argon2 hashes are kept."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from sealroute.base.errors import OperatorError
from sealroute.base.times import to_us
from sealroute.store.connectors import utc_now
from sealroute.store.engine import Database
from sealroute.store.schema import organization as organizations
from sealroute.store.schema import submitter


class SqlUsers:
    """ports.Users.  Names are compared without regard to case."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hash_of(self, name: str) -> str | None:
        """The argon2 hash; None when there is no such user."""
        with self._database.read() as connection:
            return connection.scalar(select(submitter.c.password_hash).where(submitter.c.name_key == name.casefold()))

    def set(self, name: str, password_hash: str, organization: str) -> None:
        """Add the user or replace it; raises OperatorError when there is no such organisation."""
        row = {"name_key": name.casefold(), "name": name, "password_hash": password_hash, "organization": organization}
        with self._database.write() as connection:
            if connection.scalar(select(organizations.c.id).where(organizations.c.id == organization)) is None:
                raise OperatorError.one("organization", f"there is no organisation {organization!r}.")
            connection.execute(self._database.upsert(submitter, "name_key"), row)

    def remove(self, name: str) -> bool:
        """False when there was none."""
        with self._database.write() as connection:
            return connection.execute(delete(submitter).where(submitter.c.name_key == name.casefold())).rowcount > 0

    def all(self) -> list[tuple[str, str]]:
        """(name, organisation), by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(submitter.c.name, submitter.c.organization).order_by(submitter.c.name_key))
            return [(row.name, row.organization) for row in rows]

    def organization_of(self, name: str) -> str | None:
        """The organisation the user submits for; None when there is no such user."""
        with self._database.read() as connection:
            return connection.scalar(select(submitter.c.organization).where(submitter.c.name_key == name.casefold()))


class SqlOrganizations:
    """Organisations: owners of connectors and users.  A new store has one, `default`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[tuple[str, str]]:
        """(id, name), by id."""
        with self._database.read() as connection:
            rows = connection.execute(select(organizations).order_by(organizations.c.id))
            return [(row.id, row.name) for row in rows]

    def add(self, identity: str, name: str) -> None:
        """Raises OperatorError when the id is taken."""
        with self._database.write() as connection:
            if connection.scalar(select(organizations.c.id).where(organizations.c.id == identity)) is not None:
                raise OperatorError.one("organization", f"there is an organisation {identity!r} already.")
            connection.execute(insert(organizations), {"id": identity, "name": name, "created_us": to_us(utc_now())})
