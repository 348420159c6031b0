"""The statements of the hot path, in the order in which the writer runs them: what is inserted, then changed, then deleted.

Every statement that ends a group's active state names its owner: see the transitions in store/schema.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, exists, insert, select, update

from sealroute.ports import GroupState
from sealroute.store.records import EVENT, GROUP, MESSAGE
from sealroute.store.schema import attempt, evidence, message, recipient_group, sts_policy, trace_event, trace_message
from sealroute.store.writer import Statement

TRACE = (
    "message_id", "recipient", "recipient_key", "sender", "sender_key", "subject", "status", "received_us", "from_ip", "to_ip",
    "header_message_id", "size_bytes", "connector",
)  # fmt: skip

INSERT_MESSAGE = Statement(10, MESSAGE, lambda database: insert(message))
INSERT_GROUP = Statement(11, GROUP, lambda database: insert(recipient_group))
INSERT_TRACE = Statement(12, TRACE, lambda database: insert(trace_message))
INSERT_EVENT = Statement(13, EVENT, lambda database: insert(trace_event))
INSERT_ATTEMPT = Statement(14, ("message_id", "domain", "at_us", "record", "evidence_digest"), lambda database: insert(attempt))
PUT_EVIDENCE = Statement(15, ("digest", "text", "last_used_us"), lambda database: database.upsert(evidence, "digest"))
PUT_POLICY = Statement(
    16,
    ("domain", "policy_id", "text", "fetched_us", "expires_us", "checked_us"),
    lambda database: database.upsert(sts_policy, "domain"),
)

UPDATE_TRACE = Statement(
    20,
    ("to_status", "to_to_ip", "to_connector", "of_message", "of_recipient"),
    lambda database: (
        update(trace_message)
        .values(status=bindparam("to_status"), to_ip=bindparam("to_to_ip"), connector=bindparam("to_connector"))
        .where(trace_message.c.message_id == bindparam("of_message"), trace_message.c.recipient == bindparam("of_recipient"))
    ),
)

DEFER_GROUP = Statement(
    21,
    (
        "to_recipients",
        "to_next_attempt_us",
        "to_attempts",
        "to_delay_notified",
        "to_last_finding",
        "to_last_host",
        "to_last_ip",
        "of_id",
        "of_owner",
    ),
    lambda database: (
        update(recipient_group)
        .values(
            state=GroupState.QUEUED.value,
            owner=None,
            recipients=bindparam("to_recipients"),
            next_attempt_us=bindparam("to_next_attempt_us"),
            attempts=bindparam("to_attempts"),
            delay_notified=bindparam("to_delay_notified"),
            last_finding=bindparam("to_last_finding"),
            last_host=bindparam("to_last_host"),
            last_ip=bindparam("to_last_ip"),
        )
        .where(recipient_group.c.id == bindparam("of_id"), recipient_group.c.owner == bindparam("of_owner"))
    ),
    exact=True,
)
"""active → queued: tried, and to be tried again."""

RELEASE_GROUP = Statement(
    22,
    ("of_id", "of_owner"),
    lambda database: (
        update(recipient_group)
        .values(state=GroupState.QUEUED.value, owner=None)
        .where(recipient_group.c.id == bindparam("of_id"), recipient_group.c.owner == bindparam("of_owner"))
    ),
)
"""active → queued: given back unworked."""

DELETE_GROUP = Statement(
    30,
    ("of_id", "of_owner"),
    lambda database: delete(recipient_group).where(
        recipient_group.c.id == bindparam("of_id"), recipient_group.c.owner == bindparam("of_owner")
    ),
    exact=True,
)
"""active → (deleted): nobody is left to deliver to."""

DELETE_MESSAGE = Statement(
    31,
    ("of_id",),
    lambda database: delete(message).where(
        message.c.id == bindparam("of_id"),
        ~exists(select(1).select_from(recipient_group).where(recipient_group.c.message_id == message.c.id)),
    ),
)
"""The message goes with its last group."""

DELETE_POLICY = Statement(
    32, ("of_domain",), lambda database: delete(sts_policy).where(sts_policy.c.domain == bindparam("of_domain"))
)
