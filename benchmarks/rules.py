"""What transport rules cost: processor time per message and recipient domain, by kind of rule; and the worst that is allowed.

python -m benchmarks.rules
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sealroute.base.mail import Envelope, Message, Recipient
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.modes import SmtpDaneMode
from sealroute.policy.transport.rule import Conditions, TransportRule
from sealroute.services.apply_rules import RulesInForce

SECONDS = 0.5
"""Each case is repeated for so long; the fastest of its calls counts."""
HEAD = b"Received: from a by b\r\n\tid x; Tue\r\n" * 6 + (
    b"From: Alice <alice@sender.test>\r\nTo: bob@contoso.com\r\nSubject: Hello there\r\nMIME-Version: 1.0\r\n"
    b"msip_labels: MSIP_Label_x_Enabled=false\r\n"
)
TEXT = b"Lorem ipsum dolor sit amet consectetur\r\n" * 256
ATTACHED = (
    b"--x\r\nContent-Type: text/plain\r\n\r\n" + TEXT + b"\r\n--x\r\nContent-Type: application/pdf; name=a.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + (b"QUJD" * 19 + b"\r\n") * 70_000 + b"--x--\r\n"
)
MADE_FOR_IT = bytes(random.Random(1).choices(b"ab", k=300_000))


@dataclass(frozen=True, slots=True)
class Case:
    """Some rules of one kind, and a message."""

    name: str
    rules: int
    when: Conditions
    body: bytes = TEXT
    head: bytes = b""


WORDS = ("geheim", "vertraulich", "top secret", "confidential", "nur intern")
LABEL = Conditions(header_contains_message_header="msip_labels", header_contains_words=("MSIP_Label_2096f6a2_Enabled=true",))
CASES = (
    Case("recipient domain, not met", 1, Conditions(recipient_domain_is=("contoso.com",))),
    Case("recipient domain, not met", 10, Conditions(recipient_domain_is=("contoso.com",))),
    Case("sender domain, met", 1, Conditions(sender_domain_is=("sender.test",))),
    Case("label in the header, not met", 1, LABEL),
    Case("label in the header, not met", 10, LABEL),
    Case("five words in 10 KiB of text", 1, Conditions(subject_or_body_contains_words=WORDS)),
    Case("five words in 10 KiB of text", 10, Conditions(subject_or_body_contains_words=WORDS)),
    Case("a pattern in 10 KiB of text", 1, Conditions(subject_or_body_matches_patterns=(r"\b\d{4} \d{4}\b",))),
    Case("a pattern in 10 KiB of text", 10, Conditions(subject_or_body_matches_patterns=(r"\b\d{4} \d{4}\b",))),
    Case("attachment, 5 MiB", 1, Conditions(attachment_extension_matches_words=("dwg",)), ATTACHED,
         b"Content-Type: multipart/mixed; boundary=x\r\n"),
    Case("worst: words in 512 KiB of HTML", 300, Conditions(subject_or_body_contains_words=WORDS),
         b"<p>a &amp; b</p>\r\n" * 30_000, b"Content-Type: text/html\r\n"),
    Case("worst: a pattern made for its text", 300, Conditions(subject_or_body_matches_patterns=(r"a[ab]{100}x",)),
         MADE_FOR_IT),
)  # fmt: skip


def measure(case: Case) -> float:
    """Microseconds of the fastest call."""
    when = case.when
    rules = tuple(
        TransportRule(
            guid=str(number), name=f"Rule {number}", priority=number, when=when, smtp_dane_mode=SmtpDaneMode.MANDATORY
        )
        for number in range(case.rules)
    )
    envelope = Envelope("alice@sender.test", (Recipient("bob@fabrikam.com"),))
    content = HEAD + case.head + b"\r\n" + case.body
    message = Message(id="1", organization="default", envelope=envelope, content=content, received_at=datetime.now(UTC))
    own, connectors, force = default_connector(), tuple[Connector, ...](), RulesInForce()
    return min(_calls(lambda: force(message, "fabrikam.com", own, rules, connectors))) * 1e6


def _calls(call: object) -> Iterator[float]:
    assert callable(call)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        yield time.perf_counter() - started


def main() -> int:
    for case in CASES:
        sys.stdout.write(f"{case.rules:4d} × {case.name:36s} {measure(case):12,.1f} µs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
