"""Commands out, replies in: the pairing of the two on one client connection, without I/O.

Rules: every reply answers a command that went out before it, in order [RFC 2920 §3.1]; anything else is a violation and
ends the connection.  A reply of 421 ends it too [RFC 5321 §3.8].

Elsewhere: which command follows which reply is in client.py, framing in replies.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from sealroute.base.errors import PeerError
from sealroute.base.status import Reply
from sealroute.proto.smtp.client_mail import Ending, Outcome
from sealroute.proto.smtp.replies import ReplyParser

Handler = Callable[[Reply, int], None]


class State(Enum):
    """Where the connection stands."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    """The caller does the TLS handshake now, then calls secured() or lost()."""
    IDLE = "idle"
    """The caller may begin() or quit()."""
    MAIL = "mail"
    QUIT = "quit"
    DEAD = "dead"
    """The caller closes the connection; after quit() `failure` is None."""


class Dialogue:
    """The pairing; a subclass queues commands and handles replies."""

    def __init__(self) -> None:
        self.state = State.GREETING
        self.failure: Outcome | None = None
        """Why the connection is dead."""
        self.log: list[tuple[str, Reply]] = []
        """(what was said, what came back)."""
        self._parser = ReplyParser()
        self._output: list[bytes] = []
        self._expected: deque[tuple[Handler, int, str]] = deque()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value}, waits for {[said for _, _, said in self._expected]}>"

    @property
    def dead(self) -> bool:
        return self.state is State.DEAD

    @property
    def waits_for(self) -> str:
        """What is expected next, for messages about silence: `greeting` or `reply to ...`; empty when nothing is."""
        if not self._expected:
            return ""
        return "greeting" if self.state is State.GREETING else f"reply to {self._expected[0][2]}"

    def take_output(self) -> bytes:
        """The octets to send now; each is given out once."""
        output = self._output
        if len(output) == 1:
            return output.pop()
        octets = b"".join(output)
        output.clear()
        return octets

    def receive(self, data: bytes) -> None:
        """Take in what the peer sent; nothing that it sends raises."""
        if self.state is State.DEAD or self.state is State.HANDSHAKE:
            return
        parser, expected = self._parser, self._expected
        parser.feed(data)
        try:
            while expected:
                reply = parser.next_reply()
                if reply is None:
                    return
                handler, index, said = expected.popleft()
                self.log.append((said, reply))
                if reply.code == 421:
                    self._die(Outcome(Ending.POSTPONED, reply))
                    return
                last = not expected
                handler(reply, index)
                if self.dead:
                    return
                if last and parser.pending:
                    # What the handler has queued answers no more; it must not go out.
                    break
            if parser.pending:
                self._spoke_unasked()
        except PeerError as error:
            self._die(Outcome(Ending.VIOLATION, detail=str(error)))

    def lost(self, ending: Ending, detail: str) -> None:
        """The connection is gone or given up: LOST or TIMED_OUT."""
        if self.state is not State.DEAD:
            self._die(Outcome(ending, detail=detail))

    def _say(self, handler: Handler, index: int, command: str) -> None:
        self._output.append(f"{command}\r\n".encode())
        self._expected.append((handler, index, command))

    def _spoke_unasked(self) -> None:
        """Octets came that answer nothing: a server that closes an idle connection, or a violation."""
        try:
            reply = self._parser.next_reply()
        except PeerError:
            reply = None
        if reply is not None and reply.code == 421 and self.state is State.IDLE:
            self._die(Outcome(Ending.POSTPONED, reply))
            return
        what = f"sent {str(reply)!r}" if reply else "sent octets"
        after = " in plaintext after its reply to STARTTLS" if self.state is State.HANDSHAKE else ""
        self._die(Outcome(Ending.VIOLATION, detail=f"the server {what}{after}, which answers no command"))

    def _unfit(self, reply: Reply) -> None:
        """The reply just logged cannot follow what was said."""
        said = self.log[-1][0]
        self._die(Outcome(Ending.VIOLATION, detail=f"the reply {str(reply)!r} cannot follow {said}"))

    def _die(self, failure: Outcome) -> None:
        self.failure = failure
        self.state = State.DEAD
        self._output.clear()
        self._expected.clear()
