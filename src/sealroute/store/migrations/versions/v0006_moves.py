"""Pinned connectors on their way to MX routing, and what attempts through them saw."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "connector_move",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("connector_guid", sa.String(length=36), nullable=False),
        sa.Column("connector_name", sa.String(length=64), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connector_move")),
    )
    op.create_index("ix_connector_move_organization", "connector_move", ["organization", "started_us"])
    active = sa.text("step IN ('observing', 'mandatory')")
    op.create_index(
        "ix_connector_move_active",
        "connector_move",
        ["organization", "connector_guid"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_table(
        "move_day",
        sa.Column("move", sa.String(length=16), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("dane_satisfied", sa.BigInteger(), nullable=False),
        sa.Column("dane_failed", sa.BigInteger(), nullable=False),
        sa.Column("dane_not_offered", sa.BigInteger(), nullable=False),
        sa.Column("dane_unknown", sa.BigInteger(), nullable=False),
        sa.Column("dane_trouble_us", sa.BigInteger(), nullable=True),
        sa.Column("dane_trouble", sa.Text(), nullable=True),
        sa.Column("sts_satisfied", sa.BigInteger(), nullable=False),
        sa.Column("sts_failed", sa.BigInteger(), nullable=False),
        sa.Column("sts_not_offered", sa.BigInteger(), nullable=False),
        sa.Column("sts_unknown", sa.BigInteger(), nullable=False),
        sa.Column("sts_trouble_us", sa.BigInteger(), nullable=True),
        sa.Column("sts_trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("move", "domain", "day", name=op.f("pk_move_day")),
    )
