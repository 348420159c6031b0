"""Runs one target under atheris until libFuzzer ends it: `python -m fuzz.one TARGET [libFuzzer options]`."""

from __future__ import annotations

import sys


def main() -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["sealroute"]):
        from fuzz.targets import TARGETS

    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
