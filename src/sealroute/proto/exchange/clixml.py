"""`Get-OutboundConnector | Export-Clixml`: PowerShell's own XML [MS-PSRP §2.2.5].

    Objs = 1*Obj                            ; or one Obj whose LST holds the connectors
    Obj  = [TN] [ToString] [primitive] [LST / IE / QUE / STK / DCT] [Props] [MS]

Read with expat: a document type declaration is refused before anything in it is looked at, so there are no entities to
expand and nothing to fetch; depth and size are bounded.  An enum comes out as {"value": number, "Value": name}, as JSON has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from sealroute.base.errors import InputError
from sealroute.proto.exchange.export import Exported, bounded, text_of

MAX_DEPTH = 40
MAX_ELEMENTS = 500_000
_LISTS = ("LST", "IE", "QUE", "STK")
_TEXTS = ("S", "G", "DT", "TS", "URI", "C", "XD", "Version", "ToString", "D", "Db", "Sg", "SBK")
_NUMBERS = ("I32", "I64", "I16", "U32", "U64", "U16", "By", "SB")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


@dataclass(slots=True)
class _Node:
    tag: str
    attributes: dict[str, str]
    children: list[_Node] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), "".join(self.texts))


def read_clixml(raw: bytes) -> tuple[Exported, ...]:
    """The objects in the file; raises InputError."""
    root = _parse(text_of(raw))
    if root.tag != "Objs":
        raise InputError(f"the file begins with <{root.tag}>, not with <Objs> as Export-Clixml writes it")
    values = _Values(root)
    found: list[_Node] = []
    for node in root.children:
        list_node = next((child for child in node.children if child.tag in _LISTS), None)
        found += [node] if list_node is None else list_node.children
    records = []
    for number, node in enumerate(found, 1):
        properties = values.properties(node)
        if not properties:
            raise InputError(f"object {number} has no properties")
        records.append(Exported(f"object {number}", properties))
    return bounded(records)


def _parse(text: str) -> _Node:
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    top = _Node("", {})
    open_nodes = [top]
    count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(open_nodes) > MAX_DEPTH or count > MAX_ELEMENTS:
            raise InputError(f"the XML has more than {MAX_ELEMENTS} elements, or is nested more than {MAX_DEPTH} deep")
        node = _Node(tag.rpartition(":")[2], attributes)
        open_nodes[-1].children.append(node)
        open_nodes.append(node)

    def refuse(*_: Any) -> None:
        raise InputError("the XML has a document type declaration; Export-Clixml writes none")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: open_nodes.pop()
    parser.CharacterDataHandler = lambda data: open_nodes[-1].texts.append(data)
    parser.StartDoctypeDeclHandler = refuse
    try:
        # A declaration that names UTF-16 is no longer true of the decoded text; the parser is told UTF-8 above.
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        raise InputError(f"line {error.lineno}: the XML cannot be read: {expat.ErrorString(error.code)}") from None
    return top.children[0]


class _Values:
    """Nodes as plain values; objects written once and referred to later (`<Ref RefId=...>`) are found again."""

    def __init__(self, root: _Node) -> None:
        self._known: dict[str, _Node] = {}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node.tag == "Obj" and "RefId" in node.attributes:
                self._known[node.attributes["RefId"]] = node
            waiting += node.children

    def properties(self, node: _Node) -> dict[str, Any]:
        """Those of one object, adapted ones and notes alike."""
        found: dict[str, Any] = {}
        for part in node.children:
            if part.tag in ("Props", "MS"):
                for child in part.children:
                    name = child.attributes.get("N", "")
                    if name in found:
                        raise InputError(f"the property {name!r} is given twice in one object")
                    found[name] = self.value(child)
        return found

    def value(self, node: _Node, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise InputError("the XML's references lead round in a circle")
        match node.tag:
            case "Nil":
                return None
            case "B":
                return node.text.strip().lower() == "true" if node.text.strip().lower() in ("true", "false") else node.text
            case "Ref":
                there = self._known.get(node.attributes.get("RefId", ""))
                if there is None:
                    raise InputError("the XML refers to an object that is not in it")
                return self.value(there, depth + 1)
            case "Obj":
                return self._object(node, depth)
            case tag if tag in _NUMBERS:
                return _number(node.text)
            case tag if tag in _TEXTS:
                return node.text
        return {"XML": node.tag}

    def _object(self, node: _Node, depth: int) -> Any:
        spoken, number = None, None
        for child in node.children:
            if child.tag in _LISTS:
                return [self.value(item, depth + 1) for item in child.children]
            if child.tag == "ToString":
                spoken = child.text
            elif child.tag in _NUMBERS:
                number = _number(child.text)
            elif child.tag in _TEXTS:
                return child.text
        if number is not None:
            return {"value": number, "Value": spoken} if spoken is not None else number
        return spoken if spoken is not None else {"XML": "Obj"}


def _number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,20}", text.strip(), re.ASCII):
        raise InputError(f"{text[:40]!r} is not a number")
    return int(text)
