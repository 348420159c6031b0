"""How much each node sends to a destination at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "destination_window",
        sa.Column("node", sa.String(length=160), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("halved", sa.Boolean(), nullable=False),
        sa.Column("reach", sa.String(length=16), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "domain", name=op.f("pk_destination_window")),
    )
    op.create_index("ix_destination_window_changed", "destination_window", ["changed_us"])
