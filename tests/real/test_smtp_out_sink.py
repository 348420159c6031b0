"""Delivery to a receiver that is not ours: Postfix's smtp-sink, which dumps what it was given."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sealroute.base.mail import BodyType, Recipient
from sealroute.net.dial import SmtpDialer
from sealroute.net.smtp_connection import DialSettings
from sealroute.policy.attempt import Fate
from sealroute.ports import DialFailed, DialTarget, Session, Transaction

SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/lib/postfix/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(SINK is None, reason="Postfix's smtp-sink is not installed")

CONTENTS = [
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n",
    b"Subject: eight bits\r\n\r\n" + "Grüße\r\n".encode() * 100,
    b"Subject: large\r\n\r\n" + (b"." + b"x" * 75 + b"\r\n") * 20_000,
]


@contextlib.asynccontextmanager
async def sink(folder: Path, *options: str) -> AsyncIterator[int]:
    """A sink on a free port, ready, dumping into the folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    assert SINK is not None
    # As root it insists on becoming someone else, who must be able to write into the folder it stands in.
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    folder.chmod(0o777)
    process = await asyncio.create_subprocess_exec(
        SINK, *user, *options, "-d", "mail-", f"inet:127.0.0.1:{port}", "100", cwd=folder
    )
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None, "smtp-sink ended at once"
                await asyncio.sleep(0.05)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def connect(port: int) -> Session:
    session = await SmtpDialer(DialSettings(helo_name="gw.example.com")).dial(DialTarget("mx", "127.0.0.1", port, None))
    assert not isinstance(session, DialFailed), session
    return session


def mail(content: bytes) -> Transaction:
    recipients = (Recipient("b@example.net"), Recipient("c@example.net"))
    return Transaction("a@example.com", recipients, content, body=BodyType.EIGHT_BIT)


@pytest.mark.parametrize("options", [[], ["-p"], ["-e"]], ids=["pipelining", "no pipelining", "HELO only"])
async def test_content_arrives_byte_identical(tmp_path: Path, options: list[str]) -> None:
    async with sink(tmp_path, *options) as port:
        session = await connect(port)
        contents = [content for content in CONTENTS if "-e" not in options or content.isascii()]
        for content in contents:
            result = await session.transact(mail(content))
            assert [fate.fate for fate in result.recipients] == [Fate.DELIVERED, Fate.DELIVERED], result
        await session.close()
    dumped = [file.read_bytes() for file in tmp_path.glob("mail-*")]
    assert len(dumped) == len(contents)
    for content in contents:
        # The dump has LF line ends, begins with lines of the sink's own and ends with an empty one.
        (copy,) = (dump for dump in dumped if content.splitlines()[0] in dump)
        own, text = copy.split(b"Subject: ", 1)
        assert b"Subject: " + text == content.replace(b"\r\n", b"\n") + b"\n"
        assert b"X-Rcpt-Args: <b@example.net>" in own
        assert b"X-Rcpt-Args: <c@example.net>" in own


@pytest.mark.parametrize(
    ("options", "fate", "detail"),
    [
        (["-r", "RCPT"], Fate.DEFERRED, "450 4.3.0 Error: command failed"),
        (["-f", "RCPT"], Fate.FAILED, "500 5.3.0 Error: command failed"),
        (["-f", "."], Fate.FAILED, "500 5.3.0 Error: command failed"),
        (["-q", "DATA"], Fate.DEFERRED, "the server closed the connection before its reply to DATA"),
    ],
)
async def test_refusals_of_a_real_server(tmp_path: Path, options: list[str], fate: Fate, detail: str) -> None:
    async with sink(tmp_path, *options) as port:
        session = await connect(port)
        result = await session.transact(mail(CONTENTS[0]))
        assert {(item.fate, item.finding and item.finding.detail) for item in result.recipients} == {(fate, detail)}
        await session.close()
