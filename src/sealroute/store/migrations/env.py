"""What Alembic runs: the missing migrations, on the connection and in the transaction that store/upgrade hands over."""

from __future__ import annotations

from alembic import context

from sealroute.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
