"""Sessions: messages over an open SMTP connection, and what became of each recipient in the words of policy/attempt.

Rules: every recipient has a fate; only a negative reply to this message or recipient, or a feature that the server lacks, is
FAILED; whatever else goes wrong is DEFERRED, and the finding says how far it came.  When the content had gone out and no
reply came, the detail says that the message may arrive twice: losing it would be worse [RFC 1047].

Elsewhere: the connection in net/smtp_connection; opening it in net/dial; whether the handshake is good enough in
policy/verdict.
"""

from __future__ import annotations

from typing import cast

from sealroute.base.mail import Recipient
from sealroute.base.status import Reply
from sealroute.net.smtp_connection import SmtpConnection
from sealroute.policy.attempt import Fate, RecipientFate
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import HandshakeFacts
from sealroute.ports import DialTarget, Transaction, TransactionResult
from sealroute.proto.smtp.client_dialogue import State
from sealroute.proto.smtp.client_mail import Ending, Outcome


class SmtpSession:
    """ports.Session on an SmtpConnection."""

    def __init__(
        self, connection: SmtpConnection, target: DialTarget, facts: HandshakeFacts, connect_ms: float, tls_ms: float | None
    ) -> None:
        self.facts = facts
        self.replies: tuple[tuple[str, Reply], ...] = tuple(connection.client.log)
        self.connect_ms = connect_ms
        """From the first packet to the end of the opening dialogue, TLS handshake not counted."""
        self.tls_ms = tls_ms
        self._connection = connection
        self._target = target

    def __repr__(self) -> str:
        return f"<SmtpSession {self._target.host} [{self._target.ip}]:{self._target.port} {self._connection!r}>"

    @property
    def usable(self) -> bool:
        return self._connection.open and self._connection.client.state is State.IDLE

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """Send one message; a recipient of a broken connection is DEFERRED, the finding says how far it came."""
        client = self._connection.client
        if not self.usable:
            gone = client.failure or Outcome(Ending.LOST, detail="the connection was closed before anything was sent")
            return TransactionResult(self._fates(transaction.recipients, [gone] * len(transaction.recipients)), (), False)
        await self._connection.transact(transaction)
        return TransactionResult(
            self._fates(transaction.recipients, cast(list[Outcome], client.outcomes)), tuple(client.log), self.usable
        )

    async def greet(self) -> Finding | None:
        """Say EHLO after the handshake, if that is still to come, and nothing more; why no mail could follow, or None."""
        client = self._connection.client
        if self.usable:
            await self._connection.transact(Transaction("", ()))
            self.replies += tuple(client.log)
        return finding(client.failure, self._target) if client.failure is not None else None

    async def close(self) -> None:
        """QUIT, bounded in time; never raises."""
        await self._connection.quit()

    def _fates(self, recipients: tuple[Recipient, ...], outcomes: list[Outcome]) -> tuple[RecipientFate, ...]:
        dsn = self._connection.client.capabilities.dsn
        fates = []
        for recipient, outcome in zip(recipients, outcomes, strict=True):
            if outcome.ending is Ending.ACCEPTED:
                fates.append(RecipientFate(recipient.address, Fate.DELIVERED, outcome.reply, None, dsn))
            else:
                fates.append(
                    RecipientFate(recipient.address, _FATE[outcome.ending], outcome.reply, finding(outcome, self._target))
                )
        return tuple(fates)


_FATE = {
    Ending.REFUSED: Fate.FAILED,
    Ending.UNSUPPORTED: Fate.FAILED,
    Ending.NO_REQUIRETLS: Fate.FAILED,
    Ending.HOST_REFUSED: Fate.DEFERRED,
    Ending.POSTPONED: Fate.DEFERRED,
    Ending.LOST: Fate.DEFERRED,
    Ending.TIMED_OUT: Fate.DEFERRED,
    Ending.VIOLATION: Fate.DEFERRED,
}
_REASON = {
    Ending.REFUSED: Reason.REJECTED,
    Ending.UNSUPPORTED: Reason.FEATURE_UNSUPPORTED,
    Ending.NO_REQUIRETLS: Reason.REQUIRETLS_UNSUPPORTED,
    Ending.HOST_REFUSED: Reason.HOST_REJECTED,
    Ending.POSTPONED: Reason.TRY_LATER,
    Ending.LOST: Reason.CONNECTION_LOST,
    Ending.TIMED_OUT: Reason.CONNECT_TIMEOUT,
    Ending.VIOLATION: Reason.PROTOCOL_ERROR,
}


def finding(outcome: Outcome, target: DialTarget) -> Finding:
    """Why it did not succeed; the detail is the peer's reply where it gave one."""
    reply = outcome.reply
    return Finding(
        _REASON[outcome.ending],
        detail=outcome.detail or str(reply or ""),
        host=target.host,
        ip=target.ip,
        code=outcome.code or (reply.enhanced if reply else None),
        basic=reply.code if reply else None,
    )
