"""Probes of destinations: what they counted by day, what each destination showed last, and what changed there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COUNTS = ("satisfied", "failed", "not_offered", "unknown")


def _tally(kind: str) -> list[sa.Column[Any]]:
    return [
        *(sa.Column(f"{kind}_{count}", sa.BigInteger(), nullable=False) for count in _COUNTS),
        sa.Column(f"{kind}_trouble_us", sa.BigInteger(), nullable=True),
        sa.Column(f"{kind}_trouble", sa.Text(), nullable=True),
    ]


def upgrade() -> None:
    op.create_table(
        "probe_day",
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        *_tally("dane"),
        *_tally("sts"),
        sa.PrimaryKeyConstraint("organization", "domain", "day", name=op.f("pk_probe_day")),
    )
    op.create_index("ix_probe_day_day", "probe_day", ["day"])
    op.create_table(
        "destination_watch",
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("probed_us", sa.BigInteger(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("sighting", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization", "domain", name=op.f("pk_destination_watch")),
    )
    op.create_index("ix_destination_watch_due", "destination_watch", ["due_us"])
    op.create_table(
        "destination_change",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destination_change")),
    )
    op.create_index("ix_destination_change_domain", "destination_change", ["organization", "domain", "id"])
    op.create_index("ix_destination_change_at", "destination_change", ["at_us"])
