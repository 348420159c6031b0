"""How fast the SMTP server engine alone is: run by hand, `python benchmarks/smtp_server_engine.py [messages] [--profile]`.

Feeds one engine pipelined MAIL, RCPT, DATA and 10 KiB of content in portions of 64 KiB, as a socket would hand them over,
and counts what comes out.  No sockets, no queue; the figure is processor time of one core.
"""

from __future__ import annotations

import cProfile
import sys
import time

from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp.server import ServerEngine
from sealroute.proto.smtp.session import MessageReceived, ServerLimits, SessionPolicy

LINE = b"The quick brown fox jumps over the lazy dog, and so it goes on and on.\r\n"
CONTENT = b"Subject: benchmark\r\n\r\n" + LINE * ((10 * 1024 - 22) // len(LINE))
MESSAGE = b"MAIL FROM:<a@example.com> SIZE=10240\r\nRCPT TO:<b@example.net>\r\nDATA\r\n" + CONTENT + b".\r\n"
PORTION = 65_536
QUEUED = Reply(250, ("queued",), Enhanced(2, 6, 0))


def run(messages: int) -> float:
    """Seconds of processor time for so many messages."""
    engine = ServerEngine(
        SessionPolicy("gw.example.com", "127.0.0.1", may_relay=True), ServerLimits(messages_per_session=messages)
    )
    engine.greet()
    engine.receive_data(b"EHLO client.example.com\r\n")
    stream = MESSAGE * 100
    done = 0
    start = time.process_time()
    while done < messages:
        for at in range(0, len(stream), PORTION):
            events = engine.receive_data(stream[at : at + PORTION])
            while events:
                if not isinstance(events[0], MessageReceived) or events[0].content != CONTENT:
                    raise SystemExit(f"unexpected: {events[0]}")
                done += 1
                if done == messages:
                    return time.process_time() - start
                events = engine.message_done(QUEUED)
            engine.data_to_send()
    raise AssertionError("unreachable")


def main(arguments: list[str]) -> None:
    profile = "--profile" in arguments
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    messages = numbers[0] if numbers else 50_000
    if profile:
        cProfile.runctx("run(messages)", globals(), locals(), sort="tottime")
        return
    seconds = run(messages)
    print(f"{messages} messages of {len(CONTENT)} octets: {messages / seconds:,.0f}/s, {seconds / messages * 1e6:.1f} µs each")


if __name__ == "__main__":
    main(sys.argv[1:])
