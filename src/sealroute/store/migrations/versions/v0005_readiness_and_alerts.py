"""What attempts saw of DANE and MTA-STS, by destination and day; alerts about changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "observation_day",
        sa.Column("organization", sa.String(length=64), nullable=False),
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
        sa.PrimaryKeyConstraint("organization", "domain", "day", name=op.f("pk_observation_day")),
    )
    op.create_index("ix_observation_day_day", "observation_day", ["day"])
    op.create_table(
        "alert",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index("ix_alert_due", "alert", ["state", "due_us"])
    op.create_index("ix_alert_domain", "alert", ["organization", "domain", "created_us"])
    op.create_index("ix_alert_created", "alert", ["created_us"])
