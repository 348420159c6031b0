"""The sending side of SMTP as a machine without I/O: octets in, octets out, outcomes as values [RFC 5321].

    GREETING → EHLO (→ HELO on 5yz) → IDLE                         no STARTTLS offered, wanted, or granted
                                    → STARTTLS → HANDSHAKE → IDLE  the caller does TLS, then calls secured()
    IDLE → MAIL → IDLE     one mail; the first after TLS begins with EHLO, so that nothing is said before begin()
    any  → DEAD            `failure` says why

Rules: octets after the 220 to STARTTLS, which an attacker may have put there, end the connection as any reply does that
nobody asked for [RFC 3207 §6].  Recipients that are undecided when the connection ends get its failure as their outcome;
decided ones keep theirs.

Round trips: with PIPELINING [RFC 2920] MAIL, all RCPT and DATA go out together; with CHUNKING [RFC 3030] too, content of
up to `chunking_max_bytes` goes along as one BDAT LAST, so the whole mail is one flight.  Larger content waits for the
RCPT replies, lest megabytes travel for nothing.

Elsewhere: client_dialogue.py (pairing of commands and replies), client_mail.py (commands, and what a server cannot take),
replies.py (framing); time limits and sockets are in net/.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sealroute.base.status import Reply
from sealroute.proto.smtp.capabilities import NO_CAPABILITIES, Capabilities, parse_capabilities
from sealroute.proto.smtp.client_dialogue import Dialogue, Handler, State
from sealroute.proto.smtp.client_mail import Ending, Mail, MailCommands, Outcome, mail_commands
from sealroute.proto.smtp.data import canonical, encode_data

CONTENT = "(end of data)"
"""What the transcript shows as said before the reply to the content."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How this side behaves."""

    helo_name: str
    starttls: bool = True
    """Use STARTTLS when offered."""
    chunking_max_bytes: int = 65536
    """Largest content sent by BDAT together with MAIL and RCPT; 0: never."""
    max_recipients: int = 100
    """RCPT commands in one mail transaction [RFC 5321 §4.5.3.1.8]; more follow in further transactions."""


class SmtpClient(Dialogue):
    """One connection's dialogue.  After each receive(), secured(), begin() or quit(): send take_output(), look at `state`."""

    def __init__(self, options: ClientOptions) -> None:
        super().__init__()
        self.capabilities: Capabilities = NO_CAPABILITIES
        self.encrypted = False
        self.starttls_offered = False
        self.starttls_reply: Reply | None = None
        self.content_unsent = False
        """Set by the caller while part of the last take_output() has not left yet."""
        self.content_sent = False
        """True from the moment the last octet of content was given out until its reply."""
        self.outcomes: list[Outcome | None] = []
        """One per recipient of the last mail; no None once the state has left MAIL."""
        self._options = options
        self._plan: deque[tuple[Handler, int, str]] = deque()
        """Commands of the transaction that have not gone out."""
        self._ehlo_due = False
        self._dirty = False
        """The server may still hold a half-made transaction: RSET comes first."""
        self._mail: Mail | None = None
        self._commands = MailCommands("", {}, {})
        self._waiting: list[int] = []
        """Recipients of later transactions."""
        self._now: list[int] = []
        """Recipients of this transaction."""
        self._accepted: list[int] = []
        self._mail_refused = False
        self._expected.append((self._on_greeting, 0, "(connect)"))

    def secured(self) -> None:
        """The TLS handshake is done.  What the server offered before does not count any more [RFC 3207 §4.2]."""
        self.encrypted = True
        self.capabilities = NO_CAPABILITIES
        self._ehlo_due = True
        self.state = State.IDLE

    def begin(self, mail: Mail) -> None:
        """Send a mail; only in IDLE.  The outcomes are complete when the state is IDLE or DEAD again."""
        assert self.state is State.IDLE
        self.state = State.MAIL
        self.log = []
        self._mail = mail
        self.outcomes = [None] * len(mail.recipients)
        if self._ehlo_due:
            self._say(self._on_ehlo, 0, f"EHLO {self._options.helo_name}")
        else:
            self._prepare()

    def quit(self) -> None:
        """Say goodbye; only in IDLE.  DEAD when the server answered."""
        self.state = State.QUIT
        self._say(self._on_quit, 0, "QUIT")

    def _die(self, failure: Outcome) -> None:
        if self.state is State.STARTTLS and failure.reply is not None:
            self.starttls_reply = failure.reply
        in_doubt = self.content_sent and not self._output and failure.reply is None
        super()._die(failure)
        self._plan.clear()
        self._mail = None
        if in_doubt:
            detail = f"{failure.detail}; the whole message had been sent, so it may arrive twice"
            doubtful = Outcome(failure.ending, detail=detail)
            for index in self._now:
                self.outcomes[index] = self.outcomes[index] or doubtful
        self.outcomes = [outcome or failure for outcome in self.outcomes]

    # ---------------------------------------------------------------------------------------------------------- opening

    def _on_greeting(self, reply: Reply, _: int) -> None:
        if reply.code // 100 == 2:
            self.state = State.EHLO
            self._say(self._on_ehlo, 0, f"EHLO {self._options.helo_name}")
        else:
            self._host_says_no(reply)

    def _on_ehlo(self, reply: Reply, _: int) -> None:
        if reply.code // 100 == 2:
            self._greeted(parse_capabilities(reply))
        elif reply.permanent:
            self._say(self._on_helo, 0, f"HELO {self._options.helo_name}")
        else:
            self._host_says_no(reply)

    def _on_helo(self, reply: Reply, _: int) -> None:
        if reply.code // 100 == 2:
            self._greeted(NO_CAPABILITIES)
        else:
            self._host_says_no(reply)

    def _greeted(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self._ehlo_due = False
        self.starttls_offered = self.starttls_offered or (capabilities.starttls and not self.encrypted)
        if self.state is State.MAIL:
            self._prepare()
        elif capabilities.starttls and self._options.starttls:
            self.state = State.STARTTLS
            self._say(self._on_starttls, 0, "STARTTLS")
        else:
            self.state = State.IDLE

    def _on_starttls(self, reply: Reply, _: int) -> None:
        self.starttls_reply = reply
        if reply.code == 220:
            self.state = State.HANDSHAKE
        elif reply.positive:
            # Whether such a server now waits for a ClientHello or for a command cannot be known.
            self._unfit(reply)
        else:
            self.state = State.IDLE

    def _host_says_no(self, reply: Reply) -> None:
        if reply.permanent:
            self._die(Outcome(Ending.HOST_REFUSED, reply))
        elif reply.transient:
            self._die(Outcome(Ending.POSTPONED, reply))
        else:
            self._unfit(reply)

    def _on_quit(self, _reply: Reply, _: int) -> None:
        self.state = State.DEAD

    # ------------------------------------------------------------------------------------------------------------- mail

    def _prepare(self) -> None:
        assert self._mail is not None
        commands = mail_commands(self._mail, self.capabilities, encrypted=self.encrypted)
        if isinstance(commands, Outcome):
            self.outcomes = [commands] * len(self.outcomes)
            self._end_mail()
            return
        for index, outcome in commands.refused.items():
            self.outcomes[index] = outcome
        self._commands = commands
        self._waiting = list(commands.rcpt)
        self._next_transaction()

    def _next_transaction(self) -> None:
        """Begin a transaction for the next recipients that have no outcome, or end the mail."""
        if not self._waiting:
            self._end_mail()
            return
        assert self._mail is not None
        server = self.capabilities
        limit = min(self._options.max_recipients, server.max_recipients or self._options.max_recipients)
        self._now, self._waiting = self._waiting[:limit], self._waiting[limit:]
        self._accepted = []
        self._mail_refused = False
        plan = self._plan
        if self._dirty:
            plan.append((self._on_rset, 0, "RSET"))
        plan.append((self._on_mail, 0, self._commands.mail))
        plan.extend([(self._on_rcpt, index, self._commands.rcpt[index]) for index in self._now])
        content = self._mail.content
        if server.chunking and server.pipelining and len(content) <= self._options.chunking_max_bytes:
            content = content if self._mail.crlf_only else canonical(content)
            plan.append((self._on_content, 0, f"BDAT {len(content)} LAST"))
            self._send_plan()
            self._output.append(content)
            self.content_sent = True
        else:
            plan.append((self._on_data, 0, "DATA"))
            self._send_plan()

    def _send_plan(self) -> None:
        """Send all that is planned, or without PIPELINING the next command."""
        if not self._plan:
            return
        if self.capabilities.pipelining:
            self._output.append("".join([f"{said}\r\n" for _, _, said in self._plan]).encode())
            self._expected.extend(self._plan)
            self._plan.clear()
        else:
            self._say(*self._plan.popleft())

    def _on_rset(self, reply: Reply, _: int) -> None:
        if reply.code // 100 != 2:
            # Without a clean slate the server's answers to what follows would be about the last mail.
            self._unfit(reply)
            return
        self._dirty = False
        self._send_plan()

    def _on_mail(self, reply: Reply, _: int) -> None:
        self._dirty = True
        if reply.code // 100 == 2:
            self._send_plan()
        elif outcome := self._no(reply):
            self._mail_refused = True
            for index in self._now:
                self.outcomes[index] = outcome
            self._stop_unless_pipelined()

    def _on_rcpt(self, reply: Reply, index: int) -> None:
        if reply.code // 100 == 2:
            if not self._mail_refused:
                self._accepted.append(index)
        elif (outcome := self._no(reply)) is None:
            return
        elif not self._mail_refused:
            self.outcomes[index] = outcome
        if not self._accepted and len(self._plan) == 1:
            self._stop_unless_pipelined()
        else:
            self._send_plan()

    def _stop_unless_pipelined(self) -> None:
        """Nothing can come of this transaction; without PIPELINING the rest of it is not said."""
        if not self._expected:
            self._plan.clear()
            self._end_transaction()

    def _on_data(self, reply: Reply, _: int) -> None:
        assert self._mail is not None
        if reply.code == 354:
            if self._accepted:
                self._output.append(encode_data(self._mail.content, crlf_only=self._mail.crlf_only))
                self.content_sent = True
                self._expected.append((self._on_content, 0, CONTENT))
            else:
                # Every recipient was refused and the server wants content all the same [RFC 2920 §3.1].
                self._output.append(b".\r\n")
                self._expected.append((self._on_cancelled, 0, "."))
        elif outcome := self._no(reply):
            self._decide(outcome)
            self._end_transaction()

    def _on_content(self, reply: Reply, _: int) -> None:
        if self.content_unsent:
            # A server that answers before it has everything is out of step: a no counts, a yes cannot be true.
            self.content_sent = False
            if reply.positive:
                self._unfit(reply)
            else:
                self._decide(Outcome(Ending.REFUSED if reply.permanent else Ending.POSTPONED, reply))
                self._die(Outcome(Ending.LOST, detail="the server answered before the end of the message"))
        elif reply.code // 100 == 2:
            self._dirty = False
            self._decide(Outcome(Ending.ACCEPTED, reply))
            self._end_transaction()
        elif outcome := self._no(reply):
            self._decide(outcome)
            self._end_transaction()

    def _on_cancelled(self, _reply: Reply, _: int) -> None:
        self._end_transaction()

    def _no(self, reply: Reply) -> Outcome | None:
        """The outcome of a negative reply; None when it is no such thing: then the connection is dead."""
        if reply.permanent:
            return Outcome(Ending.REFUSED, reply)
        if reply.transient:
            return Outcome(Ending.POSTPONED, reply)
        self._unfit(reply)
        return None

    def _decide(self, outcome: Outcome) -> None:
        for index in self._accepted:
            self.outcomes[index] = outcome

    def _end_transaction(self) -> None:
        """Recipients that were too many for a server that took the others go into a further transaction."""
        self.content_sent = False
        if any(map(self._delivered, self._accepted)):
            again = [index for index in self._now if self._too_many(index)]
            for index in again:
                self.outcomes[index] = None
            self._waiting = again + self._waiting
        self._next_transaction()

    def _delivered(self, index: int) -> bool:
        outcome = self.outcomes[index]
        return outcome is not None and outcome.ending is Ending.ACCEPTED

    def _too_many(self, index: int) -> bool:
        """Refused by 452 for the number of recipients [RFC 5321 §4.5.3.1.10]."""
        outcome = self.outcomes[index]
        reply = outcome.reply if outcome else None
        return reply is not None and reply.code == 452 and (reply.enhanced is None or str(reply.enhanced) == "4.5.3")

    def _end_mail(self) -> None:
        self._mail = None
        self.state = State.IDLE
