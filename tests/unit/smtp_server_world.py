"""One client and the server engine, without sockets: what the tests of the engine share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sealroute.base.mail import Envelope, Origin
from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import (
    AuthAccepted,
    Authenticate,
    AuthOutcome,
    AuthRefused,
    Close,
    Event,
    MessageReceived,
    ServerLimits,
    SessionFacts,
    SessionPolicy,
    StartTls,
)

RELAY = SessionPolicy("gw.example.com", "192.0.2.7", may_relay=True, offers_tls=True)
SUBMISSION = replace(RELAY, origin=Origin.SUBMISSION, may_relay=False, offers_auth=True)
QUEUED = Reply(250, ("queued",), Enhanced(2, 6, 0))
ENVELOPE = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"


@dataclass
class World:
    """Drives an engine as an adapter would, with outcomes that come at once."""

    engine: ServerEngine
    chunk: int = 0
    """Feed so many octets at a time; 0: all at once."""
    outcome: Reply = QUEUED
    stored: list[tuple[Envelope, bytes]] = field(default_factory=list)
    facts: list[SessionFacts] = field(default_factory=list)
    closed: str = ""

    def say(self, data: str | bytes) -> list[str]:
        """Send, act on what comes out; returns the reply lines."""
        octets = data.encode() if isinstance(data, str) else data
        size = self.chunk or max(1, len(octets))
        for start in range(0, len(octets), size):
            self.act(self.engine.receive_data(octets[start : start + size]))
        return self.lines()

    def act(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case MessageReceived(envelope, content, facts):
                    self.stored.append((envelope, content))
                    self.facts.append(facts)
                    self.act(self.engine.message_done(self.outcome))
                case Authenticate(user, password):
                    self.act(self.engine.auth_done(self.check(user, password)))
                case StartTls():
                    self.engine.tls_started("TLSv1.3", "TLS_AES_256_GCM_SHA384")
                case Close(reason):
                    self.closed = reason

    def check(self, user: str, password: str) -> AuthOutcome:
        return AuthAccepted(user, "fabrikam") if password == "secret" else AuthRefused()

    def lines(self) -> list[str]:
        return self.engine.data_to_send().decode("ascii").split("\r\n")[:-1]

    def codes(self, data: str | bytes) -> list[str]:
        """The first nine characters of each reply line: code and, where there is one, enhanced code."""
        return [line[:9].rstrip() if line[4:5] in "245" and line[5:6] == "." else line[:3] for line in self.say(data)]


def world(policy: SessionPolicy = RELAY, *, hello: str = "EHLO client.example.com\r\n", chunk: int = 0, **limits: int) -> World:
    made = World(ServerEngine(policy, ServerLimits(**limits)), chunk)
    made.engine.greet()
    made.say(hello)
    return made


def over_tls(policy: SessionPolicy = SUBMISSION, **limits: int) -> World:
    made = world(policy, hello="EHLO client.example.com\r\n", chunk=0, **limits)
    made.say("STARTTLS\r\n")
    made.say("EHLO client.example.com\r\n")
    return made
