"""`python -m fuzz [target ...] [--seconds N]`: coverage-guided fuzzing, one target after the other, each for N seconds.

Ends with exit code 1 when an invariant broke; the input that broke it is kept in `.fuzz/TARGET/`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from fuzz.targets import TARGETS, FuzzTarget

CORPUS = Path(".fuzz")
MAX_OCTETS = 4096
_GRACE_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz every parser that eats a peer's octets.")
    parser.add_argument("target", nargs="*", help=f"of {', '.join(TARGETS)}; all when none is named")
    parser.add_argument("--seconds", type=int, default=10, help="for each target")
    wanted = parser.parse_args()
    unknown = [name for name in wanted.target if name not in TARGETS]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install '.[fuzz]'", file=sys.stderr)
        return 2
    broken = [name for name in wanted.target or TARGETS if not fuzz(TARGETS[name], wanted.seconds)]
    print(f"{len(wanted.target or TARGETS) - len(broken)} targets held, {len(broken)} broke: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def fuzz(target: FuzzTarget, seconds: int) -> bool:
    """Fuzz one target in a process of its own; print a line; True when its invariant held."""
    folder = CORPUS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_OCTETS}", "-timeout=20", "-rss_limit_mb=2048"]
    command = [sys.executable, "-m", "fuzz.one", target.name, str(folder), f"-artifact_prefix={folder}/", *options]
    done = subprocess.run(command, capture_output=True, timeout=seconds + _GRACE_SECONDS, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    runs = re.search(r"Done (\d+) runs", said)
    held = done.returncode == 0 and runs is not None
    print(f"{target.name:18} {runs[1] if runs else '?':>9} runs  {'held' if held else 'BROKE'}  {target.invariant}", flush=True)
    if not held:
        print(said[-4000:], flush=True)
    return held


if __name__ == "__main__":
    sys.exit(main())
