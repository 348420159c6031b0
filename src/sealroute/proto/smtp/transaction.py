"""One mail transaction after another: MAIL, RCPT, then DATA or BDAT, then the wait for the outcome.

Rules that hold here:
- Order: MAIL once, RCPT after it, content after at least one accepted RCPT; else 503 [RFC 5321 §4.1.4].
- Who may send is decided at MAIL, from values the driver gave; nothing is stored before.
- Content with a bare CR or LF is refused whole, after its end (550 5.6.11), and is never cut or mended.
- A BDAT chunk is consumed whatever the answer, so that it can never be read as commands [RFC 3030 §2].
- Content beyond the limit is dropped as it comes; beyond twice the limit the session ends.

Elsewhere: finding the end of content (input.py), parameters (commands.py).
Sources: [RFC 5321 §3.3], [RFC 3030] BDAT, [RFC 1870] SIZE, [RFC 4954 §6] 530, [RFC 6409 §4.3] submission.
"""

from __future__ import annotations

import re

from sealroute.base.mail import BodyType, Envelope, Recipient
from sealroute.base.status import Reply
from sealroute.proto.smtp.commands import Mail, Offered, parse_mail, parse_rcpt, refusal
from sealroute.proto.smtp.conversation import Conversation, Waiting
from sealroute.proto.smtp.data import has_lone_cr_or_lf
from sealroute.proto.smtp.input import unstuff
from sealroute.proto.smtp.session import Event, MessageReceived, ServerLimits, SessionFacts, SessionPolicy

_SENDER_OK = b"250 2.1.0 Sender OK\r\n"
_RECIPIENT_OK = b"250 2.1.5 Recipient OK\r\n"
_GO_AHEAD = b"354 End with <CR><LF>.<CR><LF>\r\n"
_TOO_MANY_RECIPIENTS = b"452 4.5.3 Too many recipients; send the rest in another message\r\n"
_BARE = refusal(550, "5.6.11", "Bare CR or LF in the message; lines must end in CRLF")
_EXCESS_FACTOR = 9
"""RCPTs beyond the limit get 452 and are no error [RFC 5321 §4.5.3.1.10], but not for ever: up to this many times it."""
_STUFFING_SHARE = 32
"""SIZE counts without stuffed dots [RFC 1870 §5]; they may add up to this part of the limit before we stop keeping it."""

# bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CRLF
# chunk-size = 1*DIGIT
# end-marker = "LAST"
_CHUNK = re.compile(r"([0-9]{1,12})( +LAST)?", re.IGNORECASE)


class Transactions(Conversation):
    """The part of the engine that moves mail."""

    def __init__(self, policy: SessionPolicy, limits: ServerLimits) -> None:
        super().__init__(policy, limits)
        self._helo = ""
        self._user: tuple[str, str] | None = None
        self._tls: tuple[str, str] | None = None
        self._offered = Offered(limits.message_bytes)
        self._messages = 0
        self._refused_recipients = 0
        self._pending_octets = 0
        self._facts: SessionFacts | None = None
        self._forget_transaction()

    @property
    def facts(self) -> SessionFacts:
        """What is known about the session so far."""
        raise NotImplementedError

    @property
    def in_content(self) -> bool:
        """A message is on its way in: DATA has not ended, or a BDAT is not followed by LAST."""
        return self._content is not None or self._chunk_left > 0 or self._step in (self._read_data, self._skip_data)

    @property
    def held_octets(self) -> int:
        """Memory that this session's input takes, the message being stored included."""
        return len(self._input) + self._pending_octets + (0 if self._content is None else len(self._content))

    def no_room(self) -> None:
        """Drop the message that is coming in and answer 452 at its end."""
        if self.in_content and self._failure is None:
            self._fail_content(refusal(452, "4.3.1", "No room for this message now; try again later"))
            if self._step == self._skip_data:
                # Give the memory back now, not when the client sends more.
                self._skip_data()
                self._input.compact()

    def message_done(self, reply: Reply) -> list[Event]:
        """The answer to MessageReceived: 250 once it is durably stored, else a refusal."""
        self._waiting = Waiting.NOTHING
        self._pending_octets = 0
        if self._closed:
            return []
        if reply.positive:
            self._messages += 1
            self._idle = self._errors = self._refused_recipients = 0
        self._say(reply)
        if reply.code == 421:
            self._close("refused with 421")
        elif not reply.positive:
            self._count_idle()
        return self._run()

    def _forget_transaction(self) -> None:
        self._mail: Mail | None = None
        self._recipients: list[Recipient] = []
        self._content: bytearray | None = None
        self._failure: Reply | None = None
        self._excess = self._discarded = self._chunk_left = self._chunk_size = 0
        self._chunk_last = False
        self._unsynchronized = False
        self._step = self._read_command

    # -------------------------------------------------------------------------------------------------------- envelope

    def _mail_command(self, arguments: str) -> None:
        refused = self._may_not_send()
        if refused is not None:
            self._fault(refused)
            return
        if self._messages >= self._limits.messages_per_session:
            self._hang_up("4.7.0", f"This session has carried {self._messages} messages", "messages")
            return
        mail = parse_mail(arguments, self._offered)
        if isinstance(mail, Reply):
            self._fault(mail)
            return
        self._unsynchronized = False
        self._mail = mail
        self._put(_SENDER_OK)

    def _may_not_send(self) -> Reply | None:
        if not self._helo:
            return refusal(503, "5.5.1", "Say EHLO first")
        if self._mail is not None:
            return refusal(503, "5.5.1", "A transaction is already under way; RSET ends it")
        policy = self._policy
        if self._user is not None or policy.may_relay:
            return None
        if not policy.offers_auth:
            return refusal(550, "5.7.1", f"Relay access denied: {policy.client_ip} is in no network that may relay here")
        if self._tls is None:
            return refusal(530, "5.7.0", "Authentication required; STARTTLS must come first")
        return refusal(530, "5.7.0", "Authentication required")

    def _rcpt_command(self, arguments: str) -> None:
        if self._mail is None or self._content is not None or self._failure is not None:
            self._fault(refusal(503, "5.5.1", "MAIL must come before RCPT, and both before the message"))
            return
        if len(self._recipients) >= self._limits.recipients_per_message:
            self._excess += 1
            self._put(_TOO_MANY_RECIPIENTS)
            if self._excess > _EXCESS_FACTOR * self._limits.recipients_per_message:
                self._hang_up("4.5.3", "Too many recipients", "recipients")
            return
        recipient = parse_rcpt(arguments, self._offered, self._mail.smtputf8)
        if isinstance(recipient, Recipient):
            self._recipients.append(recipient)
            self._put(_RECIPIENT_OK)
            return
        self._say(recipient)
        self._refused_recipients += 1
        if self._refused_recipients >= self._limits.refused_recipients_per_session:
            self._hang_up("4.7.0", "Too many refused recipients", "refused recipients")

    # ------------------------------------------------------------------------------------------------------------ DATA

    def _data_command(self, arguments: str) -> None:
        refused = self._no_content_now(arguments)
        if refused is not None:
            # A client that does not wait for 354 sends the message now: nothing of it may be taken for commands.
            self._unsynchronized = True
            self._fault(refused)
            return
        self._put(_GO_AHEAD)
        self._input.begin_data()
        self._step = self._read_data

    def _no_content_now(self, arguments: str = "") -> Reply | None:
        if self._mail is None:
            return refusal(503, "5.5.1", "MAIL and RCPT must come first")
        if not self._recipients:
            return refusal(503, "5.5.1", "No recipient was accepted")
        if self._content is not None or self._failure is not None:
            return refusal(503, "5.5.1", "DATA cannot follow BDAT in one message")
        if arguments.strip():
            return refusal(501, "5.5.4", "DATA takes no arguments")
        return None

    def _read_data(self) -> bool:
        content = self._input.read_data()
        if content is None:
            if len(self._input) > self._limits.message_bytes + self._limits.message_bytes // _STUFFING_SHARE + 8:
                self._fail_content(self._too_big())
                return True
            return False
        if has_lone_cr_or_lf(content):
            self._end_failed(_BARE)
            return True
        content = unstuff(content)
        if len(content) > self._limits.message_bytes:
            self._end_failed(self._too_big())
        else:
            self._message_complete(content)
        return True

    def _skip_data(self) -> bool:
        before = len(self._input)
        if self._input.skip_data():
            self._end_failed(self._failure or self._too_big())
            return True
        self._discarded += before - len(self._input)
        if self._discarded > 2 * self._limits.message_bytes:
            self._hang_up("4.3.4", "Message far too big", "message size")
        return False

    # ------------------------------------------------------------------------------------------------------------ BDAT

    def _bdat_command(self, arguments: str) -> None:
        match = _CHUNK.fullmatch(arguments.strip())
        size = int(match[1]) if match is not None else 0
        if match is None or size > 2 * self._limits.message_bytes:
            # The size is not known or beyond all reason, so the chunk cannot be stepped over.
            reply = self._too_big() if match is not None else refusal(501, "5.5.4", "Write it as BDAT size [LAST]")
            self._say(reply)
            self._close("BDAT that cannot be stepped over")
            return
        self._chunk_left = self._chunk_size = size
        self._chunk_last = match[2] is not None
        if self._content is None and self._failure is None:
            self._failure = self._no_content_now()
            if self._failure is None:
                self._content = bytearray()
        if self._content is not None and len(self._content) + size > self._limits.message_bytes:
            self._fail_content(self._too_big())
        if size == 0 and not self._chunk_last:
            self._count_idle()
        if not self._closed:
            self._step = self._read_chunk

    def _read_chunk(self) -> bool:
        self._chunk_left -= self._input.read_chunk(self._chunk_left, self._content)
        if self._chunk_left:
            return False
        if self._failure is not None:
            out_of_order = self._failure.code == 503
            self._end_failed(self._failure, error=out_of_order)
        elif not self._chunk_last:
            self._step = self._read_command
            self._put(f"250 2.0.0 {self._chunk_size} octets received\r\n".encode("ascii"))
        else:
            content = bytes(self._content or b"")
            if has_lone_cr_or_lf(content):
                self._end_failed(_BARE)
            else:
                self._message_complete(content if not content or content.endswith(b"\r\n") else content + b"\r\n")
        return True

    # ---------------------------------------------------------------------------------------------------- end of content

    def _too_big(self) -> Reply:
        return refusal(552, "5.3.4", f"Message exceeds the limit of {self._limits.message_bytes} octets")

    def _fail_content(self, reply: Reply) -> None:
        """Keep nothing of the message from now on; the reply is given at its end."""
        self._failure = reply
        self._content = None
        if self._step == self._read_data:
            self._step = self._skip_data

    def _end_failed(self, reply: Reply, *, error: bool = False) -> None:
        self._forget_transaction()
        if error:
            self._fault(reply)
        else:
            self._say(reply)
            self._count_idle()

    def _message_complete(self, content: bytes) -> None:
        mail = self._mail
        assert mail is not None
        # 8-bit content under BODY=7BIT is taken as what it is, so that the next hop is told the truth.
        body = mail.body if content.isascii() else BodyType.EIGHT_BIT
        envelope = Envelope(mail.sender, tuple(self._recipients), body, mail.smtputf8, mail.ret, mail.envid, mail.require_tls)
        self._forget_transaction()
        self._pending_octets = len(content)
        self._waiting = Waiting.MESSAGE
        self._events.append(MessageReceived(envelope, content, self.facts))
