"""The house's arrows: a floor imports only from floors below it, and the pure floors touch no I/O, clock or chance."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "sealroute"
PURE = ("base", "proto", "policy")
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "ssl",
    "sqlalchemy",
    "logging",
    "structlog",
    "time",
    "random",
    "secrets",
    "httpx",
    "uvloop",
}
MAY_IMPORT = {
    "base": {"base"},
    "proto": {"base"},
    "policy": {"base", "proto", "policy"},
    "ports": {"base", "proto", "policy", "ports"},
    "services": {"base", "proto", "policy", "ports", "services"},
    "net": {"base", "proto", "policy", "ports", "net"},
    "store": {"base", "proto", "policy", "ports", "store"},
    "settings": {"base", "proto", "policy", "settings"},
    "faces": {"base", "proto", "policy", "ports", "services", "settings", "faces", "app", "parts"},
}
ONE_FILE_ONLY = {"ssl": {"net/tls.py"}}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def offences() -> Iterator[str]:
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        floor = relative.parts[0].removesuffix(".py")
        for line, module in imports(path):
            where = f"{relative}:{line} imports {module}"
            top = module.split(".")[0]
            if floor in PURE and top in IMPURE_MODULES:
                yield f"{where}: {floor} is pure"
            if top in ONE_FILE_ONLY and str(relative) not in ONE_FILE_ONLY[top]:
                yield f"{where}: only {ONE_FILE_ONLY[top]} may"
            if top != "sealroute" or floor not in MAY_IMPORT or module == "sealroute":
                continue
            target = module.split(".")[1]
            if target not in MAY_IMPORT[floor]:
                yield f"{where}: {floor} may not use {target}"
            if floor == "proto" and target == "proto" and module.split(".")[2] != relative.parts[1]:
                yield f"{where}: proto folders do not import each other"


def test_every_floor_imports_only_from_below() -> None:
    # proto files may import their own folder; that is checked above, so allow the floor itself here.
    MAY_IMPORT["proto"].add("proto")
    assert list(offences()) == []
