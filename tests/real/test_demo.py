"""`make demo` does what it shows: every destination under every mode comes out as it should, and the sender is told why."""

from __future__ import annotations

from email import message_from_bytes, policy
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from simnet.demo import MODES, Demo, human_part
from simnet.destinations import DEMO

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def test_the_demo_comes_out_as_it_should(tmp_path: Path) -> None:
    output = StringIO()
    demo = Demo(Console(file=output, width=80), tmp_path)
    code = await demo.run()

    assert demo.wrong == []
    assert set(demo.outcomes) == {(mode, case.name) for mode in MODES for case in DEMO}
    notice = message_from_bytes(demo.notice, policy=policy.default)
    assert notice.get_content_type() == "multipart/report"
    story = " ".join(human_part(demo.notice).split())
    assert "The domain failed DANE validation: TLSA 3 1 1" in story
    assert "Who has to fix it The recipient's mail administrator" in story
    assert "How to fix it Publish a TLSA record that matches the certificate in use" in story
    assert "Code: 550 5.7.323 tlsa-invalid: " in story
    shown = output.getvalue()
    assert "Decided by" in shown
    assert "mx-found, dane-usable" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert code == 0
