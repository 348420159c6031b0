"""Transport rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "transport_rule",
        sa.Column("guid", sa.String(length=36), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_key", sa.String(length=256), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("route", sa.String(length=36), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organization.id"], name=op.f("fk_transport_rule_organization")),
        sa.PrimaryKeyConstraint("guid", name=op.f("pk_transport_rule")),
        sa.UniqueConstraint("organization", "name_key", name=op.f("uq_transport_rule_organization_name_key")),
    )
    op.create_index("ix_transport_rule_order", "transport_rule", ["organization", "priority"])
