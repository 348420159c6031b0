"""`python -m compare [what ...] [--cases N] [--seed S]`: print the comparisons.

Exit code 1 when one has an undocumented difference.  What cannot run here (no root, a program or package missing) says so.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable

from compare import dane_openssl, mtasts, posttls

DEFAULT_CASES = 10_000


def _dane(cases: int, seed: int) -> bool:
    tally = dane_openssl.compare(range(seed, seed + cases))
    print(dane_openssl.report(tally))
    return not tally.undocumented


def _mtasts(cases: int, seed: int) -> bool:
    try:
        tally = asyncio.run(mtasts.compare(range(seed, seed + cases)))
    except ImportError as error:
        print(f"MTA-STS, beside postfix-mta-sts-resolver: NOT COMPARED, {error}: pip install '.[compare]'")
        return True
    print(mtasts.report(tally))
    return not tally.undocumented


def _posttls(cases: int, seed: int) -> bool:
    return posttls.run() is not False


COMPARISONS: dict[str, Callable[[int, int], bool]] = {"dane": _dane, "posttls": _posttls, "mta-sts": _mtasts}


def main() -> int:
    parser = argparse.ArgumentParser(prog="compare", description="Sealroute's judgements beside other people's engines.")
    parser.add_argument("what", nargs="*", help=f"which comparisons: {', '.join(COMPARISONS)}; all when none is named")
    parser.add_argument("--cases", type=int, default=DEFAULT_CASES, help="how many generated cases of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    wanted = parser.parse_args()
    unknown = [name for name in wanted.what if name not in COMPARISONS]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(COMPARISONS)}")
    good = [COMPARISONS[name](wanted.cases, wanted.seed) for name in wanted.what or COMPARISONS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
