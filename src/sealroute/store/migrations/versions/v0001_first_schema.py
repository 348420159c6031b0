"""The first schema: organisations and connectors, the queue, the trace, the MTA-STS cache."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _configuration()
    _queue()
    _trace()
    _caches()
    organization = sa.table("organization", sa.column("id"), sa.column("name"), sa.column("created_us"))
    op.bulk_insert(organization, [{"id": "default", "name": "default", "created_us": time.time_ns() // 1000}])
    counter = sa.table("counter", sa.column("name"), sa.column("value"))
    op.bulk_insert(counter, [{"name": "connector_version", "value": 0}])


def _configuration() -> None:
    op.create_table(
        "organization",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
    )
    op.create_table(
        "connector",
        sa.Column("guid", sa.String(length=36), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_key", sa.String(length=256), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organization.id"], name=op.f("fk_connector_organization")),
        sa.PrimaryKeyConstraint("guid", name=op.f("pk_connector")),
        sa.UniqueConstraint("organization", "name_key", name=op.f("uq_connector_organization_name_key")),
    )
    op.create_table(
        "connector_change",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("connector_guid", sa.String(length=36), nullable=False),
        sa.Column("connector_name", sa.String(length=64), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connector_change")),
    )
    op.create_index("ix_connector_change_organization", "connector_change", ["organization", "id"])
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "submitter",
        sa.Column("name_key", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("password_hash", sa.String(length=512), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organization.id"], name=op.f("fk_submitter_organization")),
        sa.PrimaryKeyConstraint("name_key", name=op.f("pk_submitter")),
    )


def _queue() -> None:
    op.create_table(
        "message",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("require_tls", sa.Boolean(), nullable=False),
        sa.Column("tls_required_no", sa.Boolean(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("client_ip", sa.String(length=45), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("header_message_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    op.create_table(
        "recipient_group",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("recipients", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("queued_us", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delay_notified", sa.Boolean(), nullable=False),
        sa.Column("last_finding", sa.Text(), nullable=True),
        sa.Column("last_host", sa.Text(), nullable=False),
        sa.Column("last_ip", sa.String(length=45), nullable=False),
        sa.CheckConstraint("(state = 'active') = (owner IS NOT NULL)", name=op.f("ck_recipient_group_owner")),
        sa.CheckConstraint("state IN ('queued', 'active', 'suspended')", name=op.f("ck_recipient_group_state")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_recipient_group_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient_group")),
    )
    op.create_index("ix_recipient_group_due", "recipient_group", ["state", "next_attempt_us"])
    op.create_index("ix_recipient_group_message", "recipient_group", ["message_id"])
    op.create_table(
        "node",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
    )


def _trace() -> None:
    op.create_table(
        "trace_message",
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("recipient", sa.String(length=512), nullable=False),
        sa.Column("recipient_key", sa.String(length=512), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("sender_key", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("from_ip", sa.String(length=45), nullable=False),
        sa.Column("to_ip", sa.String(length=45), nullable=False),
        sa.Column("header_message_id", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("connector", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "recipient", name=op.f("pk_trace_message")),
    )
    op.create_index("ix_trace_message_header", "trace_message", ["header_message_id"])
    op.create_index("ix_trace_message_received", "trace_message", ["received_us"])
    op.create_index("ix_trace_message_recipient", "trace_message", ["recipient_key", "received_us"])
    op.create_index("ix_trace_message_sender", "trace_message", ["sender_key", "received_us"])
    op.create_table(
        "trace_event",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trace_event")),
    )
    op.create_index("ix_trace_event_message", "trace_event", ["message_id"])
    op.create_table(
        "attempt",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("evidence_digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
    )
    op.create_index("ix_attempt_message", "attempt", ["message_id"])
    op.create_table(
        "evidence",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("last_used_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_evidence")),
    )
    op.create_index("ix_evidence_last_used", "evidence", ["last_used_us"])


def _caches() -> None:
    op.create_table(
        "sts_policy",
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("policy_id", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("fetched_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("checked_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_sts_policy")),
    )
    op.create_index("ix_sts_policy_expires", "sts_policy", ["expires_us"])
