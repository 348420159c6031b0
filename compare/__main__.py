"""`python -m compare [what ...] [--cases N] [--seed S]`: print the comparisons.

Exit code 1 when one has an undocumented difference.  What cannot run here (no root, a program or package missing) says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from compare import dane_openssl

DEFAULT_CASES = 10_000


def _dane(cases: int, seed: int) -> bool:
    tally = dane_openssl.compare(range(seed, seed + cases))
    print(dane_openssl.report(tally))
    return not tally.undocumented


COMPARISONS: dict[str, Callable[[int, int], bool]] = {"dane": _dane}


def main() -> int:
    parser = argparse.ArgumentParser(prog="compare", description="Sealroute's judgements beside other people's engines.")
    parser.add_argument("what", nargs="*", choices=[*COMPARISONS, []], help="which comparisons; all when none is named")
    parser.add_argument("--cases", type=int, default=DEFAULT_CASES, help="generated cases for DANE")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    wanted = parser.parse_args()
    good = [COMPARISONS[name](wanted.cases, wanted.seed) for name in wanted.what or COMPARISONS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
