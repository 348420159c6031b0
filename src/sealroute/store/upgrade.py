"""Bringing a database to the present schema, when a store is opened.

Nothing to do costs one look at one row.  Otherwise all is done in one transaction under the write lock, so that two processes
that start together do not upgrade twice, and a migration that fails leaves the old schema.  An empty database gets the
present tables at once: what migrations need is large, and a gateway would hold it until it ends.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from sealroute.base.errors import OperatorError
from sealroute.store.engine import Database
from sealroute.store.schema import REVISION, counter, metadata, organization

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x5EA1_0001
_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it."""


def ensure_schema(database: Database) -> None:
    """Create or upgrade the tables; raises OperatorError when a newer version of Sealroute wrote them."""
    with database.read() as connection:
        if current_revision(connection) == REVISION:
            return
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        revision = current_revision(connection)
        if revision is None:
            create(connection)
        elif revision != REVISION:
            migrate(connection)


def current_revision(connection: Connection) -> str | None:
    """The migration that the database has come to; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def create(connection: Connection) -> None:
    """Make the tables and the rows that all migrations together make, in the transaction that the connection is in."""
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert(), {"version_num": REVISION})
    connection.execute(organization.insert(), {"id": "default", "name": "default", "created_us": time.time_ns() // 1000})
    connection.execute(counter.insert(), {"name": "connector_version", "value": 0})


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, in the transaction that the connection is in."""
    from alembic import command  # only here: it takes a tenth of a second to import
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    revision = current_revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise OperatorError.one(
            "store",
            f"its tables have version {revision}, which this version of Sealroute does not know.",
            "Use a newer Sealroute.",
        )
    command.upgrade(config, "head")
