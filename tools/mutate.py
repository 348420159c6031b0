"""Do the unit tests notice when the pure core is wrong?  `make mutation`, or `python tools/mutate.py [module ...]`.

Every mutant of a module (tools/mutate_operators) is imported in its place in a forked process, and the module's tests run
there until the first fails.  A mutant that no test notices has survived: it is either equivalent, and explained in
docs/explain/mutation.md under its key, or a test is missing.  Exit code 1 when a survivor is not explained, or when an
explanation stands there for what is no survivor (any more).

`--list` prints every mutant and its fate; `--only TEXT` takes the mutants whose key contains the text.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.machinery
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[1]
EXPLAINED = ROOT / "docs" / "explain" / "mutation.md"
_FIGURES = ("<!-- counted by `make docs` -->", "<!-- until here -->")
MIN_SECONDS, TIMES_AS_LONG = 20.0, 10.0
"""A mutant that takes longer, also than so many times what the right module takes, loops or waits, and counts as noticed."""

sys.path[:0] = [entry for entry in (str(ROOT), str(ROOT / "src")) if entry not in sys.path]

from tools.mutate_operators import Mutant, mutants  # noqa: E402

_DANE = ("test_dane_verify.py", "test_dane_records.py", "test_mutants_dane.py")
_STS = ("test_mtasts_policy.py", "test_mtasts_txt.py", "test_mtasts_match.py", "test_mutants_mtasts.py")
_POLICY = ("test_verdict.py", "test_mutants_policy.py", "test_decide.py")
_DECIDE = ("test_mutants_decide.py", "test_decide.py")
_CONNECTOR = ("test_parameters.py", "test_mutants_connector.py")
_RULES = ("test_transport_rules.py",)
_RULE_TABLE = ("test_mutants_rules.py", "test_rule_commands.py")
MODULES: dict[str, tuple[str, ...]] = {
    "proto.dane.records": _DANE,
    "proto.dane.verify": _DANE,
    "proto.mtasts.match": _STS,
    "proto.mtasts.policy": _STS,
    "proto.mtasts.txt": _STS,
    "policy.decide": _DECIDE,
    "policy.modes": _DECIDE,
    "policy.rows": _DECIDE,
    "policy.require": _DECIDE,
    "policy.verdict": _POLICY,
    "policy.table": _POLICY,
    "policy.retry": ("test_retry.py", "test_mutants_policy.py"),
    "policy.pace": ("test_pace.py",),
    "policy.rate": ("test_rate.py",),
    "policy.readiness": ("test_readiness.py",),
    "policy.readiness_verdict": ("test_readiness.py",),
    "policy.outlook": ("test_sighting.py",),
    "policy.sighting": ("test_sighting.py",),
    "policy.sighting_changes": ("test_sighting.py",),
    "policy.sighting_json": ("test_sighting.py",),
    "policy.alerts": ("test_alerts.py",),
    "policy.attempt": ("test_record.py", "test_mutants_record.py"),
    "policy.record": ("test_record.py", "test_mutants_record.py"),
    "policy.requirement": ("test_mutants_record.py", *_POLICY),
    "policy.evidence": ("test_mutants_record.py", *_POLICY),
    "policy.reasons": ("test_reasons.py", "test_mutants_record.py"),
    "policy.choose": ("test_choose.py", "test_mutants_connector.py"),
    "policy.exceptions": ("test_exceptions.py",),
    "policy.move": ("test_move.py",),
    "policy.move_json": ("test_move.py",),
    "policy.move_steps": ("test_move.py",),
    "policy.history": ("test_mutants_history.py", "test_history.py"),
    "policy.transport.apply": _RULES,
    "policy.transport.checks": _RULE_TABLE,
    "policy.transport.docs": ("test_mutants_rules.py",),
    "policy.transport.facts": (*_RULES, "test_foresee.py", *_RULE_TABLE),
    "policy.transport.foresee": ("test_foresee.py",),
    "policy.transport.json": _RULE_TABLE,
    "policy.transport.kinds": _RULE_TABLE,
    "policy.transport.match": (*_RULES, "test_foresee.py"),
    "policy.transport.parameters": _RULE_TABLE,
    "policy.transport.patterns": (*_RULES, "test_mutants_rules.py"),
    "policy.transport.rule": (*_RULES, *_RULE_TABLE),
    "policy.transport.strictness": _RULES,
    "policy.connector": (*_CONNECTOR, "test_retry.py", "test_choose.py"),
    "policy.connector_docs": _CONNECTOR,
    "policy.connector_json": _CONNECTOR,
    "policy.connector_rules": _CONNECTOR,
    "policy.parameters": _CONNECTOR,
    "policy.parameter_json": _CONNECTOR,
    "policy.parameter_kinds": _CONNECTOR,
}
"""Each module with the tests that are to notice."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one mutant."""

    module: str
    mutant: Mutant
    how: str
    """`killed`, `broken` (it cannot be imported), `timeout` or `survived`."""

    @property
    def key(self) -> str:
        return f"{self.module}.{self.mutant.key}"


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives the mutant when its module is imported."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self._path))

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, str(self._path), "exec")

    def get_source(self, fullname: str) -> str:
        return ast.unparse(self._tree)


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation check of the pure core.")
    parser.add_argument("module", nargs="*", help=f"of {', '.join(MODULES)}; all when none is named")
    parser.add_argument("--list", action="store_true", help="print every mutant")
    parser.add_argument("--only", default="", help="mutants whose key contains this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    wanted = parser.parse_args()
    unknown = [name for name in wanted.module if name not in MODULES]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(MODULES)}")
    os.chdir(ROOT)
    preload()
    started = time.monotonic()
    explained = explained_keys()
    total: Counter[str] = Counter()
    for module in wanted.module or MODULES:
        path = path_of(module)
        source = path.read_text()
        begun = time.monotonic()
        if run(module, path, lambda: ast.parse(source), float("inf")) != "survived":  # noqa: B023
            print(f"the tests of {module} fail without any mutation")
            return 2
        limit = max(MIN_SECONDS, TIMES_AS_LONG * (time.monotonic() - begun))
        chosen = [mutant for mutant in mutants(source) if wanted.only in f"{module}.{mutant.key}"]
        with ThreadPoolExecutor(wanted.jobs) as pool:
            ends = pool.map(lambda mutant: run(module, path, mutant.tree, limit), chosen)  # noqa: B023
            fates = [Fate(module, mutant, how) for mutant, how in zip(chosen, ends, strict=True)]
        total += show(module, fates, explained, everything=wanted.list)
    print(
        f"{total['mutants']} mutants: {total['mutants'] - total['survived']} noticed, {total['survived']} survived, of which "
        f"{total['explained']} are explained; {time.monotonic() - started:.0f} seconds"
    )
    return 1 if total["survived"] > total["explained"] or total["needless"] else 0


def path_of(module: str) -> Path:
    return ROOT / "src" / "sealroute" / (module.replace(".", "/") + ".py")


def explained_keys() -> list[str]:
    """What the page explains: the items of its lists that are keys."""
    return re.findall(r"^- `` (.+?) ``$", EXPLAINED.read_text(), re.M)


def page() -> str:
    """docs/explain/mutation.md with its figures counted anew; that all else is noticed is what `main` finds out."""
    explained = explained_keys()
    rows = ["| module | mutants | noticed | explained |", "|---|---|---|---|"]
    total: Counter[str] = Counter()
    for module in MODULES:
        keys = {f"{module}.{mutant.key}" for mutant in mutants(path_of(module).read_text())}
        kept = len(keys.intersection(explained))
        total.update(keys=len(keys), kept=kept)
        rows.append(f"| `{module}` | {len(keys)} | {len(keys) - kept} | {kept or '–'} |")
    rows.append(f"| all | {total['keys']} | {total['keys'] - total['kept']} | {total['kept']} |")
    block = "\n\n".join((_FIGURES[0], "\n".join(rows), _FIGURES[1]))
    before, _, rest = EXPLAINED.read_text().partition(_FIGURES[0])
    return before + block + rest.partition(_FIGURES[1])[2]


def show(module: str, fates: list[Fate], explained: list[str], *, everything: bool) -> Counter[str]:
    """Print one module's result; the counts."""
    counts = Counter(fate.how for fate in fates)
    survivors = [fate for fate in fates if fate.how == "survived"]
    unexplained = [fate for fate in survivors if fate.key not in explained]
    needless = [fate for fate in fates if fate.how != "survived" and fate.key in explained]
    print(f"{module:22} {len(fates):5} mutants  " + ", ".join(f"{count} {how}" for how, count in counts.items()), flush=True)
    for fate in fates if everything else unexplained:
        what = "SURVIVED" if fate in unexplained else fate.how
        print(f"    {what:9} {fate.mutant.line:4}  {fate.key}", flush=True)
    for fate in needless:
        print(f"    explained, but {fate.how}: {fate.key}", flush=True)
    return Counter(
        mutants=len(fates), survived=len(survivors), explained=len(survivors) - len(unexplained), needless=len(needless)
    )


def preload() -> None:
    """Import what no mutant can change, so that forks need not."""
    import cryptography.x509
    import dns.message
    import hypothesis.strategies
    import OpenSSL.crypto
    import pytest
    import pytest_asyncio

    import sealroute.base.chain
    import sealroute.base.pem
    import simnet.pki

    # Nobody reads the failing example, so it need not be made small.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None, max_examples=60, phases=phases
    )
    hypothesis.settings.load_profile("mutation")
    assert all((cryptography, dns, OpenSSL, pytest, pytest_asyncio, sealroute, simnet))


def run(module: str, path: Path, tree: Callable[[], ast.Module], seconds: float) -> str:
    """Run the module's tests against this tree in a forked process; what became of the mutant."""
    process = os.fork()
    if process == 0:
        _child(f"sealroute.{module}", path, tree, MODULES[module])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {0: "survived", 1: "killed"}.get(code, "broken")
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "timeout"


def _child(name: str, path: Path, tree: Callable[[], ast.Module], tests: tuple[str, ...]) -> None:
    """Never returns."""
    code = 3
    with contextlib.suppress(BaseException):
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        import pytest

        sys.meta_path.insert(0, _Mutated(name, path, tree()))
        files = [str(ROOT / "tests" / "unit" / test) for test in tests]
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "--no-header", "--tb=no", "-W", "ignore"]
        code = int(pytest.main([*options, *files]))
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
