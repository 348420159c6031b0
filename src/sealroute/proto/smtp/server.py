"""The SMTP server engine: bytes in, replies and events out, no I/O.

    engine.greet()
    for event in engine.receive_data(data): …      # act on it, then call the method its docstring names
    transport.write(engine.data_to_send())

Rules that hold here:
- One outcome at a time.  After StartTls, Authenticate or MessageReceived nothing more is read until the outcome is told;
  what the client pipelined meanwhile stays in the buffer, bounded.
- Nothing survives STARTTLS: bytes behind it end the session, and all state from before is forgotten [RFC 3207 §4.2].
- No content is ever run as commands: after a refused DATA the first unreadable command closes the session.
- Everything a client controls has a limit (session.ServerLimits); beyond it comes 421 or a refusal, never silence.
- The engine never raises for what a client sends.
- Every reply has an enhanced code but the greeting, the answers to EHLO and HELO, 334 and 354 [RFC 2034 §4].

Elsewhere: mail itself (transaction.py), counts and closing (conversation.py), AUTH's steps (sasl.py).
Sources: [RFC 5321], [RFC 2920] pipelining, [RFC 3207] STARTTLS, [RFC 4954] AUTH, [RFC 8689 §2] REQUIRETLS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import assert_never

from sealroute.base.errors import InputError
from sealroute.base.status import Reply
from sealroute.proto.smtp import sasl
from sealroute.proto.smtp.commands import Offered, refusal
from sealroute.proto.smtp.conversation import Waiting
from sealroute.proto.smtp.session import (
    AuthAccepted,
    Authenticate,
    AuthOutcome,
    AuthRefused,
    AuthThrottled,
    AuthUnavailable,
    Event,
    ServerLimits,
    SessionFacts,
    SessionPolicy,
    StartTls,
)
from sealroute.proto.smtp.transaction import Transactions

_OK = b"250 2.0.0 OK\r\n"

# ehlo = "EHLO" SP ( Domain / address-literal ) CRLF ; names with underscores are let through, they are common
_HELO = re.compile(r"[A-Za-z0-9._\-]{1,255}|\[[A-Za-z0-9:.\-]{1,64}\]")
_WEB = frozenset(("GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PATCH", "DELETE"))
"""A browser that was talked into posting to this port: what follows must not be read as mail."""


class ServerEngine(Transactions):
    """One session with one client."""

    def __init__(self, policy: SessionPolicy, limits: ServerLimits | None = None) -> None:
        super().__init__(policy, limits or ServerLimits())
        self._auth_failures = 0
        self._exchange: sasl.Exchange | None = None
        self._forget_client()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"waits for {self._waiting.value}"
        return f"<ServerEngine {self._policy.client_ip} {state}, {self._messages} messages, {self._input!r}>"

    # -------------------------------------------------------------------------------------------- for whoever drives it

    @property
    def facts(self) -> SessionFacts:
        """What is known about the session so far."""
        if self._facts is None:
            policy = self._policy
            version, cipher = self._tls or ("", "")
            user, organization = self._user or ("", policy.organization)
            self._facts = SessionFacts(
                policy.client_ip, policy.origin, organization, self._helo, self._esmtp, version, cipher, user
            )
        return self._facts

    def greet(self) -> None:
        """Put the greeting out; once, after the handshake where TLS is implicit."""
        self._put(f"220 {self._policy.hostname} ESMTP Sealroute\r\n".encode("ascii", "replace"))

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes in; returns what the driver must act on, in order: at most one that needs an outcome, or Close."""
        if self._closed:
            return []
        self._input.add(data)
        if self._waiting is Waiting.TLS and data:
            self._close("plaintext behind STARTTLS")
        elif self._waiting is not Waiting.NOTHING and len(self._input) > self._limits.backlog_bytes:
            self._hang_up("4.7.0", "Too much sent ahead of replies", "backlog")
        return self._run()

    def tls_started(self, version: str, cipher: str) -> None:
        """The handshake is done; everything said before is forgotten [RFC 3207 §4.2]."""
        self._input.clear()
        self._waiting = Waiting.NOTHING
        self._tls = (version, cipher)
        self._forget_client()

    def auth_done(self, outcome: AuthOutcome) -> list[Event]:
        """The answer to Authenticate."""
        self._waiting = Waiting.NOTHING
        if self._closed:
            return []
        match outcome:
            case AuthAccepted(user, organization):
                self._user = (user, organization)
                self._facts = None
                self._put(b"235 2.7.0 Authentication succeeded\r\n")
            case AuthRefused():
                self._auth_failed(refusal(535, "5.7.8", "User name or password is wrong"))
            case AuthThrottled(wait_seconds):
                self._auth_failed(refusal(454, "4.7.0", f"Too many failed logins; try again in {wait_seconds} seconds"))
            case AuthUnavailable():
                self._auth_failed(refusal(454, "4.7.0", "Passwords cannot be checked now; try again later"))
            case _:
                assert_never(outcome)
        return self._run()

    # --------------------------------------------------------------------------------------------------------- commands

    def _forget_client(self) -> None:
        self._helo = ""
        self._esmtp = True
        self._user = None
        self._facts = None
        self._exchange = None
        policy = self._policy
        over_tls = self._tls is not None
        self._offered = Offered(self._limits.message_bytes, over_tls, policy.offers_auth and over_tls, policy.postmaster)
        self._forget_transaction()

    def _read_command(self) -> bool:
        limits = self._limits
        is_auth = self._input.peek(5).upper() == b"AUTH "
        line = self._read_line(limits.auth_line_bytes if is_auth else limits.command_line_bytes)
        if line is None:
            return False
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            self._unreadable(refusal(500, "5.5.2", "The command contains control characters or is not UTF-8"))
            return True
        verb, _, arguments = text.partition(" ")
        verb = verb.upper()
        handler = _COMMANDS.get(verb)
        if handler is not None:
            handler(self, arguments)
        elif verb in _WEB:
            self._hang_up("4.7.0", "This is a mail server, not a web server", "HTTP request")
        else:
            self._unreadable(refusal(500, "5.5.1", "Command not recognized"))
        return True

    def _unreadable(self, reply: Reply) -> None:
        self._fault(reply)
        if self._unsynchronized:
            self._hang_up("4.5.0", "The message was sent without waiting for 354", "unsynchronized content")

    def _ehlo_command(self, arguments: str) -> None:
        if not self._hello(arguments, esmtp=True):
            return
        words = ["PIPELINING", f"SIZE {self._limits.message_bytes}", "8BITMIME", "SMTPUTF8", "CHUNKING"]
        words += ["ENHANCEDSTATUSCODES", "DSN"]
        if self._policy.offers_tls and self._tls is None:
            words.append("STARTTLS")
        if self._offered.tls:
            words.append("REQUIRETLS")
        if self._offered.auth:
            words.append("AUTH " + " ".join(sasl.MECHANISMS))
        self._say(Reply(250, (f"{self._policy.hostname} greets {self._helo}", *words)))

    def _helo_command(self, arguments: str) -> None:
        if self._hello(arguments, esmtp=False):
            self._say(Reply(250, (self._policy.hostname,)))

    def _hello(self, arguments: str, *, esmtp: bool) -> bool:
        name = arguments.strip()
        if _HELO.fullmatch(name) is None:
            self._fault(refusal(501, "5.5.4", "Give your host name or address literal"))
            return False
        self._count_idle()
        if self._closed:
            return False
        self._helo = name
        self._esmtp = esmtp
        self._facts = None
        self._forget_transaction()
        return True

    def _starttls_command(self, arguments: str) -> None:
        if self._tls is not None:
            self._fault(refusal(503, "5.5.1", "TLS is already active"))
        elif not self._policy.offers_tls:
            self._fault(refusal(502, "5.5.1", "STARTTLS is not offered"))
        elif arguments.strip():
            self._fault(refusal(501, "5.5.4", "STARTTLS takes no arguments"))
        elif len(self._input):
            self._say(refusal(503, "5.5.1", "Closing the connection: nothing may be sent behind STARTTLS before TLS"))
            self._close("plaintext behind STARTTLS")
        else:
            self._put(b"220 2.0.0 Ready to start TLS\r\n")
            self._waiting = Waiting.TLS
            self._events.append(StartTls())

    def _auth_command(self, arguments: str) -> None:
        mechanism, _, initial = arguments.partition(" ")
        mechanism = mechanism.upper()
        if not self._policy.offers_auth:
            self._fault(refusal(502, "5.5.1", "AUTH is not offered"))
        elif self._tls is None:
            self._fault(refusal(538, "5.7.11", "Encryption required; STARTTLS must come first"))
        elif not self._helo or self._mail is not None or self._user is not None:
            self._fault(refusal(503, "5.5.1", "AUTH must come after EHLO, before MAIL, and only once"))
        elif mechanism not in sasl.MECHANISMS:
            self._fault(refusal(504, "5.5.4", f"Mechanism not offered; use {' or '.join(sasl.MECHANISMS)}"))
        else:
            self._exchange = sasl.Exchange(mechanism)
            self._step = self._read_auth_line
            self._auth_step(initial.strip() or None)

    def _read_auth_line(self) -> bool:
        line = self._read_line(self._limits.auth_line_bytes)
        if line is None:
            return False
        if line == b"*":
            self._auth_failed(refusal(501, "5.7.0", "Authentication cancelled"))
        else:
            self._auth_step(line.decode("ascii", "replace"))
        return True

    def _auth_step(self, response: str | None) -> None:
        assert self._exchange is not None
        try:
            answer = self._exchange.step(response)
        except InputError as error:
            self._auth_failed(refusal(501, "5.5.2", f"Authentication failed: {error}"))
            return
        if isinstance(answer, bytes):
            self._put(answer)
            return
        self._end_exchange()
        self._waiting = Waiting.AUTH
        self._events.append(Authenticate(answer.user, answer.password))

    def _end_exchange(self) -> None:
        self._exchange = None
        self._step = self._read_command

    def _auth_failed(self, reply: Reply) -> None:
        self._end_exchange()
        self._say(reply)
        self._auth_failures += 1
        if self._auth_failures >= self._limits.auth_attempts:
            self._hang_up("4.7.0", "Too many failed logins", "failed logins")

    def _rset_command(self, arguments: str) -> None:
        self._forget_transaction()
        self._idle_command(_OK)

    def _noop_command(self, arguments: str) -> None:
        self._idle_command(_OK)

    def _vrfy_command(self, arguments: str) -> None:
        if arguments.strip():
            self._idle_command(b"252 2.5.0 Addresses are not verified here; send the message to find out\r\n")
        else:
            self._fault(refusal(501, "5.5.4", "VRFY needs an address"))

    def _help_command(self, arguments: str) -> None:
        self._idle_command(b"214 2.0.0 This is Sealroute, an outbound mail gateway; RFC 5321 describes its commands\r\n")

    def _expn_command(self, arguments: str) -> None:
        self._fault(refusal(502, "5.5.1", "There are no lists here to expand"))

    def _quit_command(self, arguments: str) -> None:
        self._put(b"221 2.0.0 Bye\r\n")
        self._close("quit")

    def _idle_command(self, answer: bytes) -> None:
        self._put(answer)
        self._count_idle()


_COMMANDS: dict[str, Callable[[ServerEngine, str], None]] = {
    "MAIL": ServerEngine._mail_command,
    "RCPT": ServerEngine._rcpt_command,
    "DATA": ServerEngine._data_command,
    "BDAT": ServerEngine._bdat_command,
    "EHLO": ServerEngine._ehlo_command,
    "HELO": ServerEngine._helo_command,
    "STARTTLS": ServerEngine._starttls_command,
    "AUTH": ServerEngine._auth_command,
    "RSET": ServerEngine._rset_command,
    "NOOP": ServerEngine._noop_command,
    "VRFY": ServerEngine._vrfy_command,
    "HELP": ServerEngine._help_command,
    "EXPN": ServerEngine._expn_command,
    "QUIT": ServerEngine._quit_command,
}
