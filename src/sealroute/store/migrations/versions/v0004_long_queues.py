"""Indexes for long queues and long traces: each of the rows that are asked for, and of no others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("ix_recipient_group_due", "recipient_group")
    _part_index("ix_recipient_group_due", "recipient_group", ["next_attempt_us", "domain"], "state = 'queued'")
    _part_index("ix_recipient_group_destination", "recipient_group", ["domain", "next_attempt_us"], "state = 'queued'")
    _part_index("ix_recipient_group_waiting", "recipient_group", ["domain", "message_id"], "state <> 'active'")
    _part_index("ix_recipient_group_suspended", "recipient_group", ["message_id"], "state = 'suspended'")
    _part_index("ix_recipient_group_owner", "recipient_group", ["owner"], "state = 'active'")
    _part_index("ix_trace_message_undelivered", "trace_message", ["status", "received_us"], "status <> 'Delivered'")


def _part_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
