"""Timed exceptions, and what destinations once had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "timed_exception",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("connector_guid", sa.String(length=36), nullable=False),
        sa.Column("connector_name", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("smtp_dane_mode", sa.String(length=16), nullable=True),
        sa.Column("mta_sts_mode", sa.String(length=16), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=256), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timed_exception")),
    )
    op.create_index("ix_timed_exception_organization", "timed_exception", ["organization", "created_us"])
    op.create_table(
        "destination_history",
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("dane", sa.String(length=16), nullable=False),
        sa.Column("dane_first_us", sa.BigInteger(), nullable=True),
        sa.Column("dane_last_us", sa.BigInteger(), nullable=True),
        sa.Column("sts", sa.String(length=16), nullable=False),
        sa.Column("sts_first_us", sa.BigInteger(), nullable=True),
        sa.Column("sts_last_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("organization", "domain", name=op.f("pk_destination_history")),
    )
    op.create_table(
        "drift_event",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("known_since_us", sa.BigInteger(), nullable=True),
        sa.Column("last_seen_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_event")),
    )
    op.create_index("ix_drift_event_at", "drift_event", ["at_us"])
    op.create_index("ix_drift_event_domain", "drift_event", ["organization", "domain"])
