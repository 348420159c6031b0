"""The tables, with every state and every transition: what the store promises, in one place.

One schema for SQLite and PostgreSQL, SQLAlchemy Core.  Rules of this file:

* Ids are text; message ids are UUIDs ordered by time, so that their indexes grow at the end.
* Moments are whole microseconds since 1970 UTC in columns named `_us`.
* Structures are JSON in text columns, always ASCII (so no text can be refused by a database for its characters).
* `REVISION` names the migration that leads here; a test holds that the migrations end exactly in these tables.

**The life of a recipient group** (`recipient_group.state`; the group is deleted when nobody is left to deliver to):

    transition             made by                  when
    -> active              Queue.add(active=True)   accepted, and this node delivers it at once
    -> queued              Queue.add(active=False)  accepted without room to deliver now; notices (NDRs) likewise
    queued -> active       Queue.take_due           its time has come; `owner` is this node, for as long as its lease runs
    active -> queued       Queue.settle             some recipients were deferred: due again at the retry schedule's time
    active -> (deleted)    Queue.settle             every recipient was delivered, or failed and was returned
    active -> queued       Queue.release            given back unworked (shutdown, no room), due at its old time
    active -> queued       Queue.start_node,        its owner's lease has run out, or its owner is known to be dead:
                           Queue.renew_node         due at once
    queued -> queued       QueueAdmin.retry         an administrator makes it due now
    queued -> suspended    QueueAdmin.hold          an administrator holds it; it is never due
    suspended -> queued    QueueAdmin.release       an administrator lets it go on, due now
    queued -> (deleted)    QueueAdmin.remove        an administrator drops it without an NDR
    suspended -> (deleted) QueueAdmin.remove        the same

There is no other transition.  An administrator never touches an active group, and a node touches an active group only
while it is the owner: every statement that ends an active state says `owner = this node`.  So a node that was believed dead
and comes back can record what it did, but cannot undo what the new owner does.  `owner` is set exactly while active.

A message is deleted in the same transaction as its last group, and inserted in the same transaction as its first: no
message without a group, no group without its message (a foreign key holds that).

**The life of a trace row** (`trace_message.status`): Pending when accepted or deferred; Delivered when the peer took it;
Failed when it was returned or removed.  Trace rows outlive the message; `Traces.purge` deletes them by age.

**The life of a node**: its row says until when its lease runs.  Only the node itself extends it.  Whoever takes back a
dead node's groups also deletes its row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0008"
"""The migration that these tables correspond to."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def part_index(name: str, *columns: str, where: str) -> Index:
    """An index of some rows only.  A query uses it when it says the same in the same words, not as a parameter."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


SERIAL = BigInteger().with_variant(Integer(), "sqlite")
"""A number the database gives out; on SQLite it must be INTEGER to be the row's own key."""

# ------------------------------------------------------------------------------------------- who and how: configuration

organization = Table(
    "organization",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

connector = Table(
    "connector",
    metadata,
    Column("guid", String(36), primary_key=True),
    Column("organization", String(64), ForeignKey("organization.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("name_key", String(256), nullable=False),  # casefolded: names are one name in any case
    Column("parameters", Text, nullable=False),  # policy/connector_json
    Column("created_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    UniqueConstraint("organization", "name_key"),
)

# Every change to a connector or transport rule, for good; also of those that are gone.
connector_change = Table(
    "connector_change",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("connector_guid", String(36), nullable=False),
    Column("connector_name", String(64), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("action", String(16), nullable=False),  # New, Set, Remove, Validate, NewException, EndException, ...Move, ...Rule
    Column("before", Text),  # the parameters, or the exception; null for New
    Column("after", Text),  # the same; null for Remove; for Validate the tasks
    Index("ix_connector_change_organization", "organization", "id"),
)

# Numbers that only grow.  `connector_version` grows with every change to a connector.
counter = Table(
    "counter",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Other modes for one recipient domain in one connector until a date (policy/exceptions).  Rows stay for good, also of
# connectors that are gone; `ended_us` is null unless somebody ended it before its date.
timed_exception = Table(
    "timed_exception",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("connector_guid", String(36), nullable=False),  # all zeros for the default connector
    Column("connector_name", String(64), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("smtp_dane_mode", String(16)),  # null: the connector's
    Column("mta_sts_mode", String(16)),  # null: the connector's
    Column("created_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", String(256), nullable=False),
    Column("ended_us", BigInteger),
    Column("ended_by", String(256), nullable=False),
    Index("ix_timed_exception_organization", "organization", "created_us"),
)

# What makes a message go another way or under stricter demands (policy/transport).  An organisation's priorities are always
# 0, 1, 2, ...; every change to one of its rules leaves them so.  Loaded anew together with connectors.
transport_rule = Table(
    "transport_rule",
    metadata,
    Column("guid", String(36), primary_key=True),
    Column("organization", String(64), ForeignKey("organization.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("name_key", String(256), nullable=False),  # casefolded
    Column("priority", Integer, nullable=False),
    Column("route", String(36)),  # the GUID of the connector it routes through; null: none
    Column("parameters", Text, nullable=False),  # policy/transport/json; priority and version are the columns'
    Column("version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    UniqueConstraint("organization", "name_key"),
    Index("ix_transport_rule_order", "organization", "priority"),
)

# Who may submit mail.  Not called `user`, which PostgreSQL reserves.
submitter = Table(
    "submitter",
    metadata,
    Column("name_key", String(256), primary_key=True),  # casefolded
    Column("name", String(256), nullable=False),
    Column("password_hash", String(512), nullable=False),  # argon2
    Column("organization", String(64), ForeignKey("organization.id"), nullable=False),
)

# --------------------------------------------------------------------------------------------------------- the queue

message = Table(
    "message",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("sender", Text, nullable=False),  # the reverse-path; empty for notifications
    Column("parameters", Text, nullable=False),  # JSON: what MAIL said besides (BODY, SMTPUTF8, RET, ENVID), and all RCPTs
    Column("require_tls", Boolean, nullable=False),
    Column("tls_required_no", Boolean, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("client_ip", String(45), nullable=False),
    Column("client_name", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("header_message_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),  # last, so that the rest is read without it
)

# The indexes are of some states only, so that a message that is delivered at once touches but one of them: what is due, in
# line and by destination (store/due); what administrators list (store/queue_admin); what nodes hold, for when one has died.
recipient_group = Table(
    "recipient_group",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("message_id", String(36), ForeignKey("message.id"), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("recipients", Text, nullable=False),  # JSON: [{"a": address, "n": notify, "o": orcpt}], only those still undelivered
    Column("state", String(16), nullable=False),
    Column("owner", String(128)),  # the node that works on it
    Column("queued_us", BigInteger, nullable=False),
    Column("next_attempt_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("delay_notified", Boolean, nullable=False),
    Column("last_finding", Text),  # JSON: why it waits
    Column("last_host", Text, nullable=False),
    Column("last_ip", String(45), nullable=False),
    CheckConstraint("state IN ('queued', 'active', 'suspended')", name="state"),
    CheckConstraint("(state = 'active') = (owner IS NOT NULL)", name="owner"),
    part_index("ix_recipient_group_due", "next_attempt_us", "domain", where="state = 'queued'"),
    part_index("ix_recipient_group_destination", "domain", "next_attempt_us", where="state = 'queued'"),
    part_index("ix_recipient_group_waiting", "domain", "message_id", where="state <> 'active'"),
    part_index("ix_recipient_group_suspended", "message_id", where="state = 'suspended'"),
    part_index("ix_recipient_group_owner", "owner", where="state = 'active'"),
    Index("ix_recipient_group_message", "message_id"),
)

node = Table(
    "node",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("lease_until_us", BigInteger, nullable=False),
)

# --------------------------------------------------------------------------------------------------------- the trace

# One row per message and recipient.  The _key columns are the addresses casefolded, to be found in any case.
trace_message = Table(
    "trace_message",
    metadata,
    Column("message_id", String(36), primary_key=True),
    Column("recipient", String(512), primary_key=True),
    Column("recipient_key", String(512), nullable=False),
    Column("sender", Text, nullable=False),
    Column("sender_key", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("from_ip", String(45), nullable=False),
    Column("to_ip", String(45), nullable=False),
    Column("header_message_id", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("connector", String(64), nullable=False),
    Index("ix_trace_message_received", "received_us"),
    Index("ix_trace_message_recipient", "recipient_key", "received_us"),
    Index("ix_trace_message_sender", "sender_key", "received_us"),
    Index("ix_trace_message_header", "header_message_id"),
    part_index("ix_trace_message_undelivered", "status", "received_us", where="status <> 'Delivered'"),
)

trace_event = Table(
    "trace_event",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("message_id", String(36), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("event", String(16), nullable=False),
    Column("recipient", Text, nullable=False),  # empty: all recipients
    Column("description", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Index("ix_trace_event_message", "message_id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("message_id", String(36), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("record", Text, nullable=False),  # JSON of policy/record, without the evidence
    Column("evidence_digest", String(64)),
    Index("ix_attempt_message", "message_id"),
)

# What DNS and HTTPS said, once for all attempts that were made on the strength of it.  `last_used_us` lags at most an
# hour behind the last attempt that names it, and `Traces.purge` keeps evidence a day longer than attempts.
evidence = Table(
    "evidence",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("last_used_us", BigInteger, nullable=False),
    Index("ix_evidence_last_used", "last_used_us"),
)

# --------------------------------------------------------------------------------------------- the MTA-STS policy cache

sts_policy = Table(
    "sts_policy",
    metadata,
    Column("domain", String(255), primary_key=True),
    Column("policy_id", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("fetched_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("checked_us", BigInteger, nullable=False),
    Index("ix_sts_policy_expires", "expires_us"),
)

# ------------------------------------------------------------------------------------------ how much at once, and where

# How much each node sends to a destination at once (policy/pace), so that a restart neither forgets an overloaded destination
# nor begins small with a good one.  Transitions, all made by WindowStore.save from what the node has in memory:
#     (none) -> row     a run changed the window, or reached a destination first, or found it not to be reached
#     row -> row        the same, later; `changed_us` and `why` are of the last change
#     row -> (none)     SqlDestinations.purge: unchanged for as long as trace rows are kept
# A node reads its rows once, when it starts, and owns them; nobody else changes them.
destination_window = Table(
    "destination_window",
    metadata,
    Column("node", String(160), primary_key=True),  # the settings' store.node, `#` and the worker's number; may be empty
    Column("domain", String(255), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("halved", Boolean, nullable=False),
    Column("reach", String(16), nullable=False),  # ports.Reach
    Column("changed_us", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_destination_window_changed", "changed_us"),
)

# ------------------------------------------------------------------------------------------- what destinations once had

# One row per destination that was ever seen with DANE or an MTA-STS policy in `enforce` mode (policy/history); the states
# are what was known last, and what could not be found out never changes them.
destination_history = Table(
    "destination_history",
    metadata,
    Column("organization", String(64), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("dane", String(16), nullable=False),
    Column("dane_first_us", BigInteger),  # when it first and last had it; null: never
    Column("dane_last_us", BigInteger),
    Column("sts", String(16), nullable=False),
    Column("sts_first_us", BigInteger),
    Column("sts_last_us", BigInteger),
)

# What changed there; deleted by age like trace rows.
drift_event = Table(
    "drift_event",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),  # policy/history.DriftKind
    Column("detail", Text, nullable=False),
    Column("known_since_us", BigInteger),  # when the protection was first seen, and last
    Column("last_seen_us", BigInteger),
    Index("ix_drift_event_at", "at_us"),
    Index("ix_drift_event_domain", "organization", "domain"),
)

# ------------------------------------------------------------------------------ what attempts saw of DANE and MTA-STS


# Attempts by destination and UTC day (policy/readiness), those with mail and those of probes apart.  Nodes add to the numbers
# every few seconds; of the troubles the latest stays.  Deleted by age like trace rows.
def _observed(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("organization", String(64), primary_key=True),
        Column("domain", String(255), primary_key=True),
        Column("day", String(10), primary_key=True),  # 2026-11-22
        Column("attempts", BigInteger, nullable=False),
        Column("dane_satisfied", BigInteger, nullable=False),
        Column("dane_failed", BigInteger, nullable=False),
        Column("dane_not_offered", BigInteger, nullable=False),
        Column("dane_unknown", BigInteger, nullable=False),
        Column("dane_trouble_us", BigInteger),  # the last attempt that was not satisfied, and why; null: none
        Column("dane_trouble", Text),
        Column("sts_satisfied", BigInteger, nullable=False),
        Column("sts_failed", BigInteger, nullable=False),
        Column("sts_not_offered", BigInteger, nullable=False),
        Column("sts_unknown", BigInteger, nullable=False),
        Column("sts_trouble_us", BigInteger),
        Column("sts_trouble", Text),
        Index(f"ix_{name}_day", "day"),
    )


observation_day = _observed("observation_day")
probe_day = _observed("probe_day")

# ---------------------------------------------------------------------------------------------- what probes look after

# One row per destination that is, or was, worth probing (services/watch).  Transitions:
#     (none) -> row     a node found it worth watching; `due_us` is when it is probed first
#     row -> row        a node takes it, by moving `due_us` ahead while it is as it was read: it probes; if it dies,
#                       the destination is due again by then.  When the probe is over, `due_us` is the time of the next, and
#                       the rest what it saw; a probe that saw nothing leaves `sighting` as it was
#     row -> (none)     SqlWatchLog.purge: not probed for as long as trace rows are kept
destination_watch = Table(
    "destination_watch",
    metadata,
    Column("organization", String(64), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("due_us", BigInteger, nullable=False),
    Column("probed_us", BigInteger, nullable=False),  # when a probe last ended; before the first: when it was added
    Column("trouble", Text, nullable=False),  # why that one saw nothing; empty: it did
    Column("sighting", Text),  # policy/sighting_json; null: none yet
    Index("ix_destination_watch_due", "due_us"),
)

# What changed there, good or bad (policy/sighting_changes): the last ones of each destination, and none older than trace rows.
destination_change = Table(
    "destination_change",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),  # policy/sighting_changes.ChangeKind
    Column("host", String(255), nullable=False),  # empty for those of the whole destination
    Column("text", Text, nullable=False),
    Index("ix_destination_change_domain", "organization", "domain", "id"),
    Index("ix_destination_change_at", "at_us"),
)

# --------------------------------------------------------------------------------------------------------- alerts

# What administrators are told of changes (drift_event), one row per event and channel.  Transitions of `state`:
#     (none) -> waiting     written together with its drift event, unless alike was told lately; or by `sealroute alerts test`
#     waiting -> waiting    a node takes it to send it (due_us is then when it is tried again); a try that failed
#     waiting -> sent       the webhook took it; or its mail entered the queue, in the same transaction
#     waiting -> given-up   the webhook did not take it for a day of tries
# Rows are deleted by age like trace rows.
alert = Table(
    "alert",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("domain", String(255), nullable=False),  # empty for a test
    Column("kind", String(16), nullable=False),  # policy/history.DriftKind, or `test`
    Column("channel", String(16), nullable=False),  # policy/alerts.Channel
    Column("state", String(16), nullable=False),  # policy/alerts.AlertState
    Column("created_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("body", Text, nullable=False),  # JSON, as the webhook gets it
    Column("last_error", Text, nullable=False),
    Index("ix_alert_due", "state", "due_us"),
    Index("ix_alert_domain", "organization", "domain", "created_us"),
    Index("ix_alert_created", "created_us"),
)

# --------------------------------------------------------------------------------- pinned connectors on their way to MX

# One row per move, for good; steps and who makes them stand in policy/move.  A step is one transaction: this row, the
# connectors it changes, and the audit of all of them; on a roll-back by a gateway the alert, too.  The row is changed only
# while it is at the step that was read, so of several nodes one rolls back.
connector_move = Table(
    "connector_move",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("connector_guid", String(36), nullable=False),
    Column("connector_name", String(64), nullable=False),
    Column("step", String(16), nullable=False),  # policy/move.MoveStep
    Column("started_us", BigInteger, nullable=False),
    Column("record", Text, nullable=False),  # policy/move_json
    Index("ix_connector_move_organization", "organization", "started_us"),
    Index(
        "ix_connector_move_active",
        "organization",
        "connector_guid",
        unique=True,
        sqlite_where=text("step IN ('observing', 'mandatory')"),
        postgresql_where=text("step IN ('observing', 'mandatory')"),
    ),
)

# What attempts through a moved connector saw since its start: as observation_day, by move instead of organisation; for good.
move_day = Table(
    "move_day",
    metadata,
    Column("move", String(16), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("day", String(10), primary_key=True),
    *(
        Column(column.name, column.type, nullable=column.nullable)
        for column in observation_day.columns
        if column.name not in ("organization", "domain", "day")
    ),
)
