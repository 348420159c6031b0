"""The benchmark works: a short run of Sealroute alone, every message counted, all processes gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_a_short_run_without_the_peer(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--scenario", "one-dane", "--no-peer", "--messages", "200", "--repeats", "1"]
    done = subprocess.run([*command, "--json", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(file.read_text())["one-dane"]["runs"]["Sealroute"]
    assert run["accepted"] == 200
    assert run["missing"] == run["doubled"] == run["strays"] == run["plaintext"] == 0
    assert run["cpu_ms"]["gateway"] > 0
    assert run["pss_mib"] > 10
    assert "delivered/s" in done.stdout
