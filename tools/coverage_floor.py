"""Fails when the pure core is not covered completely, branches included.

usage: coverage_floor.py COVERAGE.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

COMPLETE = ("base", "proto/dane", "proto/mtasts", "policy")


def gaps(report: dict[str, dict[str, dict[str, list[object]]]]) -> list[str]:
    """`file: lines and branches not run` for every file that must be covered completely."""
    found = []
    for name, data in sorted(report["files"].items()):
        inside = name.partition("sealroute/")[2]
        if not inside.startswith(tuple(f"{floor}/" for floor in COMPLETE)):
            continue
        if data["missing_lines"] or data["missing_branches"]:
            found.append(f"{name}: lines {data['missing_lines']}, branches {data['missing_branches']}")
    return found


if __name__ == "__main__":
    missing = gaps(json.loads(Path(sys.argv[1]).read_text()))
    for line in missing:
        sys.stderr.write(f"not covered: {line}\n")
    if not missing:
        sys.stdout.write(f"branch coverage of {', '.join(COMPLETE)}: 100 %\n")
    sys.exit(bool(missing))
