"""The ground of the server engine: input, output, closing, and the counts that end a session.

`Conversation` knows nothing of SMTP's commands; transaction.py adds mail, server.py the rest.  A step reads one thing
from the input (a line, content, a chunk) and says whether it got anywhere; the loop stops when it did not, when an
outcome is outstanding, or when the session is over.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from sealroute.base.status import Reply
from sealroute.proto.smtp.commands import refusal
from sealroute.proto.smtp.input import BadLine, InputBuffer
from sealroute.proto.smtp.session import Close, Event, ServerLimits, SessionPolicy

MAX_TEXT_CHARACTERS = 400
"""Of one reply line: 512 octets with code and CRLF is what clients must take [RFC 5321 §4.5.3.1.5]."""


class Waiting(Enum):
    """Whose outcome the engine waits for."""

    NOTHING = "nothing"
    TLS = "tls"
    AUTH = "auth"
    MESSAGE = "message"


def format_reply(reply: Reply) -> bytes:
    """A reply as octets.  Whatever is not printable US-ASCII becomes `?`, so that no text can break the framing."""
    prefix = f"{reply.enhanced} " if reply.enhanced is not None else ""
    lines = reply.lines or ("",)
    last = len(lines) - 1
    return b"".join(
        f"{reply.code}{' ' if index == last else '-'}{prefix}{_printable(line)}\r\n".encode("ascii", "replace")
        for index, line in enumerate(lines)
    )


def _printable(text: str) -> str:
    text = text[:MAX_TEXT_CHARACTERS]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


class Conversation:
    """Lines in, replies and events out, bounded."""

    def __init__(self, policy: SessionPolicy, limits: ServerLimits) -> None:
        self._policy = policy
        self._limits = limits
        self._input = InputBuffer()
        self._out: list[bytes] = []
        self._out_octets = 0
        self._events: list[Event] = []
        self._waiting = Waiting.NOTHING
        self._closed = False
        self._leaving: Reply | None = None
        self._errors = 0
        self._idle = 0
        self._step: Callable[[], bool] = self._read_command

    @property
    def waiting(self) -> Waiting:
        """What the engine waits for, to be seen in logs and tests."""
        return self._waiting

    @property
    def outcome_due(self) -> bool:
        """The driver owes an outcome."""
        return self._waiting is not Waiting.NOTHING

    @property
    def backlogged(self) -> bool:
        """Input has come in ahead of an outcome: the driver should stop reading."""
        return self._waiting is not Waiting.NOTHING and len(self._input) > 0

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def in_content(self) -> bool:
        """A message is on its way in."""
        raise NotImplementedError

    def _read_command(self) -> bool:
        raise NotImplementedError

    def data_to_send(self) -> bytes:
        """What to write now; empty when nothing."""
        out, self._out, self._out_octets = self._out, [], 0
        return out[0] if len(out) == 1 else b"".join(out)

    def leave(self, text: str) -> list[Event]:
        """End the session with 421 as soon as no message is on its way in or waiting for its outcome."""
        self._leaving = refusal(421, "4.3.2", text)
        return self._run()

    def timed_out(self) -> list[Event]:
        """End the session now: the client was silent for too long."""
        self._hang_up("4.4.2", "Timed out", "timeout")
        return self._run()

    def _run(self) -> list[Event]:
        while not self._closed and self._waiting is Waiting.NOTHING:
            if self._leaving is not None and not self.in_content:
                self._say(self._leaving)
                self._close("leaving")
            elif self._out_octets > self._limits.output_bytes:
                self._hang_up("4.7.0", "Too many replies outstanding", "output")
            elif not self._step():
                break
        self._input.compact()
        events, self._events = self._events, []
        return events

    def _put(self, octets: bytes) -> None:
        self._out.append(octets)
        self._out_octets += len(octets)

    def _say(self, reply: Reply) -> None:
        self._put(format_reply(reply))

    def _close(self, reason: str) -> None:
        self._closed = True
        self._input.clear()
        self._events.append(Close(reason))

    def _hang_up(self, enhanced: str, text: str, reason: str) -> None:
        if not self._closed:
            self._say(refusal(421, enhanced, f"{text}; closing the connection"))
            self._close(reason)

    def _fault(self, reply: Reply) -> None:
        """Refuse something a well-behaved client would not have sent."""
        self._say(reply)
        self._errors += 1
        if self._errors >= self._limits.errors_per_session:
            self._hang_up("4.7.0", "Too many errors", "errors")

    def _count_idle(self) -> None:
        self._idle += 1
        if self._idle > self._limits.idle_commands:
            self._hang_up("4.7.0", "Too many commands without an accepted message", "idle commands")

    def _read_line(self, limit_bytes: int) -> bytes | None:
        """One line; None when it is not there yet, or was so bad that the session is over."""
        line = self._input.read_line(limit_bytes)
        if isinstance(line, BadLine):
            self._say(refusal(500, "5.5.2", f"Closing the connection: {line.value}"))
            self._close(line.value)
            return None
        return line
