"""MTA-STS: our reading of TXT record sets and policy files beside that of postfix-mta-sts-resolver.

Its own code judges, `STSResolver.resolve`; only its DNS look-up and its HTTPS client are replaced by what the case says.
Cases are good records and policies with up to two mutations, each drawn from a seed.  What the two make of a policy is
compared as (mode, max_age, mx patterns in compared form), and of a TXT set as the id.

Where they differ, the difference must be a documented one: either the text is outside the RFC's grammar, written down here
once more and independently of the parsers, or a field stands twice and both agree once only the first is left.
Install it with `pip install '.[compare]'`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace
from typing import Any

from sealroute.proto.mtasts.policy import PolicyInvalid, StsPolicy, parse_policy
from sealroute.proto.mtasts.txt import TxtStatus, parse_txt

GOOD_TXT = "v=STSv1; id=20260115T120000;"
GOOD_POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"

Text = Callable[[str, Random], str]


def _line(pattern: str, replacement: str) -> Text:
    return lambda text, random: re.sub(pattern, lambda match: match.expand(replacement), text, count=1)


def _anywhere(insert: str) -> Text:
    def change(text: str, random: Random) -> str:
        position = random.randrange(len(text) + 1)
        return text[:position] + insert + text[position:]

    return change


def _drop_octet(text: str, random: Random) -> str:
    position = random.randrange(len(text)) if text else 0
    return text[:position] + text[position + 1 :]


def _shuffled(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    random.shuffle(lines)
    return "".join(lines)


TXT_MUTATIONS: dict[str, Text] = {
    "no final semicolon": lambda text, random: text.removesuffix(";"),
    "no blanks": lambda text, random: text.replace(" ", ""),
    "blanks before semicolons": lambda text, random: text.replace(";", " ;"),
    "tabs": lambda text, random: text.replace(" ", "\t"),
    "blank in front": lambda text, random: " " + text,
    "blank at the end": lambda text, random: text + " ",
    "id first": lambda text, random: "id=1; v=STSv1;",
    "lower-case version": _line("STSv1", "stsv1"),
    "upper-case tag": _line("v=", "V="),
    "version 2": _line("STSv1", "STSv2"),
    "version 10": _line("STSv1", "STSv10"),
    "quoted version": _line("STSv1", '"STSv1"'),
    "no semicolon after the version": _line("STSv1;", "STSv1"),
    "no id": _line(r"id=\w+;?", ""),
    "empty id": _line(r"id=\w+", "id="),
    "two ids": _line(r"(id=\w+)", r"\1; id=2"),
    "second id broken": _line(r"(id=\w+)", r"\1; id=!"),
    "id of 32": _line(r"id=\w+", "id=" + "a" * 32),
    "id of 33": _line(r"id=\w+", "id=" + "a" * 33),
    "id with a hyphen": _line(r"id=\w+", "id=2026-01-15"),
    "id with an umlaut": _line(r"id=\w+", "id=bücher"),
    "blank in the id": _line(r"id=\w+", "id=2026 0115"),
    "blanks around =": _line("id=", "id = "),
    "extension": _line(r"(id=\w+)", r"\1; x-field=value"),
    "extension before the id": _line(r"id=", "x=1; id="),
    "extension with =": _line(r"(id=\w+)", r"\1; x=a=b"),
    "extension without value": _line(r"(id=\w+)", r"\1; x="),
    "field without =": _line(r"(id=\w+)", r"\1; word"),
    "bad extension name": _line(r"(id=\w+)", r"\1; -x=1"),
    "empty field": lambda text, random: text.replace("; ", ";; "),
    "an octet dropped": _drop_octet,
    "a control character": _anywhere("\x01"),
    "a backslash": _anywhere("\\"),
}
TXT_SETS: dict[str, Callable[[str], list[str]]] = {
    "alone": lambda text: [text],
    "twice": lambda text: [text, text],
    "beside another": lambda text: ["some other text", text],
    "beside SPF": lambda text: ["v=spf1 -all", text],
    "beside version 2": lambda text: ["v=STSv2; id=1;", text],
    "beside one without id": lambda text: ["v=STSv1;", text],
    "none": lambda text: [],
}
POLICY_MUTATIONS: dict[str, Text] = {
    "LF": lambda text, random: text.replace("\r\n", "\n"),
    "CR": lambda text, random: text.replace("\r\n", "\r"),
    "no final line end": lambda text, random: text.removesuffix("\r\n"),
    "order": _shuffled,
    "testing": _line("enforce", "testing"),
    "none": _line("enforce", "none"),
    "none without mx": lambda text, random: re.sub(r"mx: .*\r?\n", "", text.replace("enforce", "none")),
    "no mx": lambda text, random: re.sub(r"mx: .*\r?\n", "", text),
    "no version": _line(r"version: .*\r?\n", ""),
    "no mode": _line(r"mode: .*\r?\n", ""),
    "no max_age": _line(r"max_age: .*\r?\n", ""),
    "version 2": _line("STSv1", "STSv2"),
    "lower-case version": _line("STSv1", "stsv1"),
    "upper-case mode": _line("enforce", "Enforce"),
    "unknown mode": _line("enforce", "strict"),
    "empty mode": _line("mode: enforce", "mode:"),
    "max_age 0": _line("604800", "0"),
    "max_age maximal": _line("604800", "31557600"),
    "max_age above": _line("604800", "31557601"),
    "max_age huge": _line("604800", "99999999999"),
    "max_age negative": _line("604800", "-1"),
    "max_age with +": _line("604800", "+604800"),
    "max_age with _": _line("604800", "604_800"),
    "max_age decimal": _line("604800", "604800.0"),
    "max_age words": _line("604800", "a week"),
    "max_age leading zeros": _line("604800", "0000604800"),
    "max_age Arabic digits": _line("604800", "٦٠٤٨٠٠"),
    "second max_age": lambda text, random: text + "max_age: 1\r\n",
    "second max_age broken": lambda text, random: text + "max_age: x\r\n",
    "second mode": lambda text, random: text + "mode: none\r\n",
    "second version": lambda text, random: text + "version: STSv2\r\n",
    "no blank after colons": lambda text, random: text.replace(": ", ":"),
    "tabs after colons": lambda text, random: text.replace(": ", ":\t"),
    "blanks before colons": lambda text, random: text.replace(":", " :"),
    "blanks at line ends": lambda text, random: text.replace("\r\n", " \t\r\n"),
    "blanks at line starts": lambda text, random: "".join(" " + line for line in text.splitlines(keepends=True)),
    "upper-case key": _line("mode", "Mode"),
    "empty line": _line("mode", "\r\nmode"),
    "empty line at the end": lambda text, random: text + "\r\n",
    "line without colon": _line("mode", "comment\r\nmode"),
    "comment": _line("mode", "# comment: yes\r\nmode"),
    "byte order mark": lambda text, random: "\ufeff" + text,
    "extension": lambda text, random: text + "x-field: a value\r\n",
    "extension without value": lambda text, random: text + "x-field:\r\n",
    "extension with colon": lambda text, random: text + "x: a:b\r\n",
    "extension with umlaut": lambda text, random: text + "x: Bücher\r\n",
    "bad extension name": lambda text, random: text + "-x: 1\r\n",
    "upper-case mx": _line("mx.example.com", "MX.Example.COM"),
    "mx with final dot": _line("mx.example.com", "mx.example.com."),
    "mx with leading dot": _line("mx.example.com", ".example.com"),
    "mx wildcard inside": _line("mx.example.com", "mx.*.com"),
    "mx wildcard partial": _line("mx.example.com", "m*.example.com"),
    "mx bare wildcard": _line("mx.example.com", "*"),
    "mx two wildcards": _line("mx.example.com", "*.*.example.com"),
    "mx IDN": _line("mx.example.com", "mx.bücher.example"),
    "mx A-label": _line("mx.example.com", "mx.xn--bcher-kva.example"),
    "mx with blank": _line("mx.example.com", "mx. example.com"),
    "mx address": _line("mx.example.com", "192.0.2.1"),
    "mx literal": _line("mx.example.com", "[192.0.2.1]"),
    "mx underscore": _line("mx.example.com", "mx_1.example.com"),
    "mx list": _line("mx.example.com", "mx.example.com, mx2.example.com"),
    "mx empty": _line("mx: mx.example.com", "mx:"),
    "mx twice": _line("mx: mx.example.com", "mx: mx.example.com\r\nmx: mx.example.com"),
    "mx long label": _line("mx.example.com", "a" * 64 + ".example.com"),
    "mx with port": _line("mx.example.com", "mx.example.com:25"),
    "an octet dropped": _drop_octet,
    "a control character": _anywhere("\x01"),
    "a NUL": _anywhere("\x00"),
    "a form feed": _anywhere("\x0c"),
    "a line separator": _anywhere("\u2028"),
    "a no-break space": _anywhere("\u00a0"),
    "everything twice": lambda text, random: text + text,
    "empty": lambda text, random: "",
    "64 KiB": lambda text, random: text + "x: " + "y" * 65_000 + "\r\n",
    "more than 64 KiB": lambda text, random: text + "x: " + "y" * 66_000 + "\r\n",
}

Reading = tuple[Any, ...] | None
"""(mode, max_age, sorted mx) of a policy, (id,) of a TXT set; None when it is not accepted."""


@dataclass(frozen=True, slots=True)
class StsCase:
    """One TXT set or policy for both."""

    kind: str
    """`txt` or `policy`."""
    mutations: tuple[str, ...]
    txts: tuple[str, ...]
    policy: str

    def __str__(self) -> str:
        shown = self.policy if self.kind == "policy" else list(self.txts)
        return f"{self.kind}, {' + '.join(self.mutations) or 'unchanged'}: {ascii(shown)[:300]}"


def make_case(seed: int) -> StsCase:
    """The case of a seed: odd ones are policies, even ones TXT sets."""
    random = Random(seed)
    kind = "policy" if seed % 2 else "txt"
    mutations = POLICY_MUTATIONS if kind == "policy" else TXT_MUTATIONS
    chosen = random.sample(list(mutations), random.choices((0, 1, 2), (2, 58, 40))[0])
    text = GOOD_POLICY if kind == "policy" else GOOD_TXT
    for name in chosen:
        text = mutations[name](text, random)
    if kind == "policy":
        return StsCase(kind, tuple(chosen), (GOOD_TXT,), text)
    company = random.choice(list(TXT_SETS)) if random.random() < 0.3 else "alone"
    return StsCase(kind, (*chosen, company), tuple(TXT_SETS[company](text)), GOOD_POLICY)


# ------------------------------------------------------------------------------------------------------ the two sides


@dataclass(frozen=True, slots=True)
class OurReading:
    """What we read, and why not if not."""

    reading: Reading
    reason: str


def our_reading(case: StsCase) -> OurReading:
    if case.kind == "txt":
        txt = parse_txt(case.txts)
        return OurReading((txt.id,) if txt.status is TxtStatus.OK else None, txt.reason or "")
    policy = parse_policy(case.policy.encode())
    if isinstance(policy, PolicyInvalid):
        return OurReading(None, policy.reason)
    return OurReading(_of(policy), "")


def _of(policy: StsPolicy) -> Reading:
    return policy.mode.value, policy.max_age_seconds, tuple(sorted(policy.mx))


class OtherResolver:
    """postfix-mta-sts-resolver's STSResolver; raises ImportError when it is not installed.  Make it in an event loop."""

    def __init__(self) -> None:
        self._module: Any = importlib.import_module("postfix_mta_sts_resolver.resolver")
        logging.getLogger("RES").setLevel(logging.CRITICAL)
        self._resolver = self._module.STSResolver(timeout=5, loop=asyncio.get_running_loop())

    async def read(self, case: StsCase) -> Reading:
        records = [SimpleNamespace(text=text.encode()) for text in case.txts]
        body = case.policy.encode()

        async def query(name: str, rtype: str) -> list[SimpleNamespace]:
            return records

        self._resolver._resolver = SimpleNamespace(query=query)
        kept = self._module.aiohttp
        self._module.aiohttp = SimpleNamespace(ClientSession=lambda **_: _OneResponse(body))
        try:
            result, found = await self._resolver.resolve("example.com")
        finally:
            self._module.aiohttp = kept
        if result is not self._module.STSFetchResult.VALID:
            return None
        identifier, policy = found
        if case.kind == "txt":
            return (identifier,)
        return policy["mode"], policy["max_age"], tuple(sorted({mx.lower() for mx in policy.get("mx", ())}))


class _OneResponse:
    """As much of an aiohttp session as the resolver uses: one answer of 200, text/plain, UTF-8."""

    status = 200
    charset = "utf-8"

    def __init__(self, body: bytes) -> None:
        self.headers = {"Content-Type": "text/plain", "Content-Length": str(len(body))}
        self.content = self
        self._rest = body

    def get(self, url: str, **options: Any) -> _OneResponse:
        return self

    async def read(self, count: int) -> bytes:
        chunk, self._rest = self._rest[:count], self._rest[count:]
        return chunk

    async def __aenter__(self) -> _OneResponse:
        return self

    async def __aexit__(self, *ignored: object) -> None:
        return None


# ------------------------------------------------------------------------------------------------------ the grammar

# The ABNF of RFC 8461 §3.1 and §3.2 once more, each as one pattern: it has no code in common with the parsers.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?=.{{1,253}}(?:[ \t\r\n]|\Z)){_LABEL}(?:\.{_LABEL})*"
_VCHAR = r"[\x21-\x7e\u0080-\U0010ffff]"
_FIELD = (
    r"(?:version:[ \t]*STSv1|mode:[ \t]*(?:testing|enforce|none)"
    rf"|mx:[ \t]*(?:\*\.)?{_DOMAIN}|max_age:[ \t]*[0-9]{{1,10}}"
    rf"|(?!(?:version|mode|mx|max_age):){_NAME}:[ \t]*{_VCHAR}(?:(?:\x20|{_VCHAR})*{_VCHAR})?)"
)
TXT_GRAMMAR = re.compile(
    rf"v=STSv1(?:[ \t]*;[ \t]*(?:id=[A-Za-z0-9]{{1,32}}|(?!id=){_NAME}=[\x21-\x3a\x3c\x3e-\x7e]+))+(?:[ \t]*;[ \t]*)?"
)
POLICY_GRAMMAR = re.compile(rf"{_FIELD}[ \t]*(?:\r?\n{_FIELD}[ \t]*)*(?:\r?\n)?")


def in_grammar(case: StsCase) -> bool:
    """Whether the policy, or every TXT record that begins like one of ours, is as the RFC writes it.

    A field that may stand once is read as that field the first time; what follows under its name is like an extension.
    """
    case = _first_entries(case, later_ones_as="x-")
    if case.kind == "policy":
        return POLICY_GRAMMAR.fullmatch(case.policy) is not None
    return all(TXT_GRAMMAR.fullmatch(text) for text in case.txts if text.startswith("v=STSv1"))


def _first_entries(case: StsCase, later_ones_as: str = "") -> StsCase:
    """The case with only the first of each field that may stand once; the later ones dropped, or under a prefixed name."""
    if case.kind == "policy":
        once = ("version", "mode", "max_age")
        return replace(case, policy=_once(case.policy, "\n", ":", once, later_ones_as))
    return replace(case, txts=tuple(_once(text, ";", "=", ("id",), later_ones_as) for text in case.txts))


def _once(text: str, between: str, after_name: str, names: tuple[str, ...], later_ones_as: str) -> str:
    seen: set[str] = set()
    kept = []
    for part in text.split(between):
        blanks = part[: len(part) - len(part.lstrip(" \t"))] if between == ";" else ""
        name = part[len(blanks) :].partition(after_name)[0]
        if name not in names or name not in seen:
            kept.append(part)
        elif later_ones_as:
            kept.append(blanks + later_ones_as + part[len(blanks) :])
        seen.add(name)
    return between.join(kept)


# ---------------------------------------------------------------------------------------------------------- classes


@dataclass(frozen=True, slots=True)
class Difference:
    """One documented way in which the readings differ."""

    name: str
    source: str
    why: str


OUTSIDE = Difference(
    "outside-the-grammar", "RFC 8461 §3.1, §3.2",
    "the text is not as the RFC's grammar has it: no record or policy for us, taken apart as far as it goes by the other",
)  # fmt: skip
FIRST = Difference(
    "first-entry-counts", "RFC 8461 §3.2",
    "a field that may stand once stands twice: the first counts for us, as the RFC says, the last for the other",
)  # fmt: skip
DIFFERENCES = (OUTSIDE, FIRST)


async def explain(other: OtherResolver, case: StsCase, ours: Reading, theirs: Reading) -> Difference | None:
    """The documented difference, or None."""
    if ours is None and theirs is not None and not in_grammar(case):
        return OUTSIDE
    once = _first_entries(case)
    return FIRST if once != case and await other.read(once) == ours else None


@dataclass(slots=True)
class StsTally:
    """What a run came to."""

    cases: int = 0
    agreed: int = 0
    both_accept: int = 0
    documented: Counter[str] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)


async def compare(seeds: Iterable[int]) -> StsTally:
    """Judge the cases of these seeds by both."""
    other, tally = OtherResolver(), StsTally()
    for seed in seeds:
        case = make_case(seed)
        ours, theirs = our_reading(case), await other.read(case)
        tally.cases += 1
        if ours.reading is not None and not in_grammar(case):
            tally.undocumented.append(f"seed {seed}: we accept what is outside the grammar: {case}")
        if ours.reading == theirs:
            tally.agreed += 1
            tally.both_accept += theirs is not None
            continue
        difference = await explain(other, case, ours.reading, theirs)
        if difference is None:
            tally.undocumented.append(f"seed {seed}: we: {ours.reading} {ours.reason}; they: {theirs}; {case}")
        else:
            tally.documented[difference.name] += 1
    return tally


def report(tally: StsTally) -> str:
    """The tally for people."""
    lines = [
        "MTA-STS, beside postfix-mta-sts-resolver",
        f"  {tally.cases:6} generated TXT sets and policies",
        f"  {tally.agreed:6} same reading ({tally.both_accept} accepted by both)",
        f"  {sum(tally.documented.values()):6} documented differences",
    ]
    lines += [f"         {count:5} {name}" for name, count in tally.documented.most_common()]
    lines.append(f"  {len(tally.undocumented):6} undocumented differences")
    lines += [f"         {text}" for text in tally.undocumented[:50]]
    return "\n".join(lines)
