"""The mutation check's own promises: which mutants there are, and that its page explains none that does not exist."""

from __future__ import annotations

import ast

import pytest

from tools.mutate import MODULES, explained_keys, path_of
from tools.mutate_operators import mutants

SOURCES = path_of("policy.decide").parents[1]
SOURCE = '''
def late(now, end, runs=0):
    """Whether it is over."""
    assert runs >= 0, "never"
    if now < end and runs != 3:
        return False
    note(now)
    return True
'''


def test_the_mutants_of_a_function() -> None:
    assert [mutant.key for mutant in mutants(SOURCE)] == [
        "late: 0 became 1 in `now, end, runs=0`",
        "late: 0 became -1 in `now, end, runs=0`",
        "late: negated `now < end and runs != 3`",
        "late: `now < end and runs != 3` with Or",
        "late: `now < end` with LtE",
        "late: `now < end` with GtE",
        "late: `runs != 3` with Eq",
        "late: 3 became 4 in `runs != 3`",
        "late: 3 became 2 in `runs != 3`",
        "late: `return False` became None",
        "late: False became True in `return False`",
        "late: removed `note(now)`",
        "late: `return True` became None",
        "late: True became False in `return True`",
    ]


def test_a_mutant_is_one_change_and_leaves_the_original_alone() -> None:
    every = list(mutants(SOURCE))
    made = [ast.unparse(mutant.tree()) for mutant in every]
    assert len({*made, ast.unparse(ast.parse(SOURCE))}) == len(every) + 1
    assert made == [ast.unparse(mutant.tree()) for mutant in every]


def test_alike_changes_have_numbers() -> None:
    keys = [mutant.key for mutant in mutants("a = f(x < y, x < y)") if "LtE" in mutant.key]
    assert keys == ["module: `x < y` with LtE", "module: `x < y` with LtE #2"]


def test_every_file_of_the_folders_is_checked() -> None:
    files = [path for folder in ("proto/dane", "proto/mtasts", "policy") for path in (SOURCES / folder).glob("*.py")]
    files += (SOURCES / "policy" / "transport").glob("*.py")
    assert {path for path in files if any(mutants(path.read_text()))} == {path_of(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_every_key_is_of_one_mutant(module: str) -> None:
    keys = [mutant.key for mutant in mutants(path_of(module).read_text())]
    assert len(set(keys)) == len(keys)


def test_only_mutants_that_exist_are_explained() -> None:
    """An explanation whose line has changed has to be thought through again."""
    there = {f"{module}.{mutant.key}" for module in MODULES for mutant in mutants(path_of(module).read_text())}
    explained = explained_keys()
    assert explained
    assert [key for key in explained if key not in there] == []
    assert len(set(explained)) == len(explained)
