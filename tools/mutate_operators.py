"""The ways in which tools/mutate.py makes a module wrong: one small change to its syntax tree at a time.

Operators: comparisons weakened or turned round, `and` and `or` exchanged, conditions negated, numbers moved by one, True and
False exchanged, + and - exchanged, results dropped, statements and `case` branches removed, filters of comprehensions taken
away.  Left alone: docstrings, annotations, decorators, assertions, `__repr__`, branches that cannot be reached
(`assert_never`), what only a module started as a program does, wording of messages.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,), ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}  # fmt: skip
_REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)


Path = tuple[tuple[str, int | None], ...]
Change = Callable[[ast.AST], None]
Site = tuple[str, int, str, Path, Change]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong version of a module."""

    key: str
    """`function: change`, with `#2` and so on for those alike; stays the same when lines move.

    A changed value is named with the expression it stands in, so that what is said of one is not taken for another.
    """
    line: int
    right: ast.Module
    path: Path
    change: Change

    def tree(self) -> ast.Module:
        """The wrong version; `right` stays as it is."""
        changed = copy.deepcopy(self.right)
        self.change(_at(changed, self.path))
        return ast.fix_missing_locations(changed)


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module's source."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    for function, line, words, path, change in _Finder().find(tree):
        key = f"{function}: {words}"
        seen[key] += 1
        yield Mutant(key if seen[key] == 1 else f"{key} #{seen[key]}", line, tree, path, change)


def _at(node: ast.AST, path: Path) -> ast.AST:
    for name, index in path:
        child = getattr(node, name)
        node = child if index is None else child[index]
    return node


def _put(name: str, value: Callable[[ast.AST], object]) -> Change:
    return lambda node: setattr(node, name, value(node))


class _Finder:
    """Walks a tree and says where what can be changed."""

    def find(self, tree: ast.Module) -> Iterator[Site]:
        self._around: ast.AST = tree
        yield from self._walk(tree, (), "module")

    def _walk(self, node: ast.AST, path: Path, function: str) -> Iterator[Site]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = node.name if function == "module" else f"{function}.{node.name}"
        if isinstance(node, ast.Assert) or (isinstance(node, ast.FunctionDef) and node.name == "__repr__"):
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            return
        for words, change in _changes(node):
            within = f" in `{_short(self._around)}`" if isinstance(node, ast.Constant) else ""
            yield function, getattr(node, "lineno", 0), words + within, path, change
        around = self._around
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._around = node.args
        elif isinstance(node, ast.stmt | ast.expr) and not isinstance(node, ast.UnaryOp | ast.Slice):
            self._around = node
        yield from self._walk_fields(node, path, function)
        self._around = around

    def _walk_fields(self, node: ast.AST, path: Path, function: str) -> Iterator[Site]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            if isinstance(value, ast.AST):
                yield from self._walk(value, (*path, (name, None)), function)
            elif isinstance(value, list):
                yield from self._walk_list(node, name, value, (path, function))

    def _walk_list(self, node: ast.AST, name: str, items: list[object], where: tuple[Path, str]) -> Iterator[Site]:
        path, function = where
        for index, item in enumerate(items):
            if not isinstance(item, ast.AST):
                continue
            if name in ("body", "orelse", "finalbody") and isinstance(item, _REMOVABLE) and not _is_text(item):
                words = f"removed `{_short(item)}`"
                yield function, item.lineno, words, path, _remove(name, index)
            if name == "cases" and isinstance(item, ast.match_case) and len(items) > 1 and not _cannot_happen(item):
                yield function, item.pattern.lineno, f"dropped case `{_short(item.pattern)}`", path, _drop(name, index)
            if name == "ifs":
                yield function, getattr(item, "lineno", 0), f"dropped filter `{_short(item)}`", path, _drop(name, index)
            if _is_text(item) or (isinstance(item, ast.match_case) and _cannot_happen(item)):
                continue
            yield from self._walk(item, (*path, (name, index)), function)


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """What can be done to this very node."""
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                for other in _COMPARISONS[type(operator)]:
                    yield f"`{_short(node)}` with {other.__name__}", _operator(index, other)
        case ast.BoolOp(op=operator):
            other_bool = ast.Or if isinstance(operator, ast.And) else ast.And
            yield f"`{_short(node)}` with {other_bool.__name__}", _put("op", lambda _: other_bool())
        case ast.BinOp(op=ast.Add() | ast.Sub() as sign):
            other_sign = ast.Sub if isinstance(sign, ast.Add) else ast.Add
            yield f"`{_short(node)}` with {other_sign.__name__}", _put("op", lambda _: other_sign())
        case ast.If() | ast.While() | ast.IfExp():
            yield f"negated `{_short(node.test)}`", _put("test", _negated)
        case ast.Constant(value=bool() as value):
            yield f"{value} became {not value}", _put("value", lambda _: not value)
        case ast.Constant(value=int() as number):
            for step in (1, -1):
                yield f"{number} became {number + step}", _put("value", lambda _, step=step: number + step)  # type: ignore[misc]
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield f"`{_short(node)}` became None", _put("value", lambda _: ast.Constant(None))
        case _:
            return


def _operator(index: int, other: type[ast.cmpop]) -> Change:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.Compare)
        node.ops[index] = other()

    return change


def _negated(node: ast.AST) -> ast.expr:
    assert isinstance(node, ast.If | ast.While | ast.IfExp)
    return ast.UnaryOp(ast.Not(), node.test)


def _remove(name: str, index: int) -> Change:
    return lambda node: getattr(node, name).__setitem__(index, ast.Pass())


def _drop(name: str, index: int) -> Change:
    return lambda node: getattr(node, name).__delitem__(index)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _cannot_happen(case: ast.match_case) -> bool:
    return "assert_never" in ast.unparse(case)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 72 else text[:69] + "..."
