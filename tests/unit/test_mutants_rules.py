"""What the other tests of transport rules would not notice (tools/mutate)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sealroute.base.errors import InputError, OperatorError
from sealroute.base.unseen import Unseen
from sealroute.policy.modes import SmtpDaneMode
from sealroute.policy.transport import kinds, patterns
from sealroute.policy.transport.checks import MAX_COMMENTS_CHARACTERS, MAX_ITEMS, MAX_NAME_CHARACTERS, check
from sealroute.policy.transport.docs import rules_markdown
from sealroute.policy.transport.facts import MessageFacts, Seen, TracedFacts
from sealroute.policy.transport.json import rule_from_json, rule_to_json, to_record
from sealroute.policy.transport.parameters import TABLE
from sealroute.policy.transport.patterns import MAX_ALL_WORDS_CHARACTERS
from sealroute.policy.transport.rule import MAX_RULES, Conditions, RuleMode, RuleState, TransportRule

RULE = TransportRule(guid="g", name="Secret", smtp_dane_mode=SmtpDaneMode.MANDATORY)


def wrong(rule: TransportRule) -> list[str]:
    """Where the problems are."""
    return [problem.where for problem in check(rule, [], None).problems]


def test_the_bounds_of_texts_and_lists() -> None:
    assert (MAX_NAME_CHARACTERS, MAX_COMMENTS_CHARACTERS, MAX_ITEMS) == (64, 1024, 200)
    assert wrong(replace(RULE, name="n" * 64)) == []
    assert wrong(replace(RULE, name="n" * 65)) == ["Name"]
    assert wrong(replace(RULE, comments="c" * 1024)) == []
    assert wrong(replace(RULE, comments="c" * 1025)) == ["Comments"]
    senders = tuple(f"a{n}@contoso.com" for n in range(201))
    assert wrong(replace(RULE, when=Conditions(from_=senders[:200]))) == []
    assert wrong(replace(RULE, when=Conditions(from_=senders))) == ["From"]
    words = ("w" * 100,) * (MAX_ALL_WORDS_CHARACTERS // 100) + ("w" * (MAX_ALL_WORDS_CHARACTERS % 100),)
    assert wrong(replace(RULE, when=Conditions(subject_contains_words=words))) == []
    assert wrong(replace(RULE, when=Conditions(subject_contains_words=(*words, "w")))) == ["SubjectContainsWords"]


def test_of_a_name_that_is_none_the_beginning_is_shown() -> None:
    (problem,) = check(replace(RULE, name="n" * 79 + "xyz"), [], None).problems
    assert problem.what == f"{'n' * 79 + 'x'!r} is not a name."


def test_the_page_is_the_one_that_is_read() -> None:
    """Its text was read by people; whoever changes what prints it looks at the difference."""
    pages = Path(__file__).resolve().parents[2] / "docs" / "reference"
    assert rules_markdown() == (pages / "transport-rules.md").read_text(encoding="utf-8")


def test_the_page_has_every_parameter_once() -> None:
    page = rules_markdown()
    for parameter in TABLE:
        row = [line for line in page.splitlines() if line.startswith((f"| {parameter.name} |", f"| {parameter.name} ＊ |"))]
        assert len(row) == (not parameter.name.startswith("ExceptIf")), parameter.name


def test_what_a_rule_is_before_anything_is_said_of_it() -> None:
    assert (RULE.priority, RULE.version, MAX_RULES) == (0, 1, 300)


def test_the_bounds_of_words_and_patterns() -> None:
    assert (patterns.MAX_WORD_CHARACTERS, patterns.MAX_PATTERN_CHARACTERS) == (128, 512)
    assert (patterns.MAX_ALL_WORDS_CHARACTERS, patterns.MAX_PATTERN_STEPS) == (4096, 5000)
    assert (patterns.PATTERN_MEMORY, patterns.WORDS_MEMORY) == (1024 * 1024, 8 * 1024 * 1024)


def test_what_is_no_pattern_is_said_in_the_error_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as raised:
        patterns.compiled("a(unique")
    assert str(raised.value) == "'a(unique' is not a pattern: missing ): a(unique"
    assert capfd.readouterr() == ("", "")


def test_groups_cost_nothing() -> None:
    assert patterns.pattern_cost("(a)(b)c") == patterns.pattern_cost("abc")


def senders(field: str) -> Seen:
    content = f"From: {field}\r\n\r\n".encode()
    return MessageFacts("a@contoso.com", len(content), content).header_senders


def test_how_many_senders_are_looked_at() -> None:
    twenty = [f"a{number}@contoso.com" for number in range(20)]
    assert senders(", ".join(twenty)) == Seen(tuple(twenty))
    assert senders(", ".join([*twenty, "b@contoso.com"])) == Seen(tuple(twenty), frozenset({Unseen.BOUND}))


def test_how_much_of_a_from_field_is_looked_at() -> None:
    address = " <a@contoso.com>"
    long = "x" * (8192 - len(address)) + address
    assert senders(long) == Seen(("a@contoso.com",))
    assert senders("x" + long).lost >= {Unseen.BOUND}


def test_a_subject_of_the_trace_that_may_have_been_cut() -> None:
    assert TracedFacts("", 0, "x" * 255).subject.lost == frozenset()
    assert TracedFacts("", 0, "x" * 256).subject.lost == {Unseen.NOT_KEPT}


def test_what_stands_below_the_head_is_no_field() -> None:
    for end in ("\r\n", ""):
        content = f"Subject: hello\r\nX-Label: a{end}\r\n{end}X-Label: b\r\nX-Label: c\r\n".encode()
        found = MessageFacts("", len(content), content).header("x-label").texts
        assert found == (("a",) if end else ("a", "b", "c"))


def refused(parse: Callable[[str], object], text: str) -> str:
    with pytest.raises(InputError) as raised:
        parse(text)
    return str(raised.value)


def test_a_word() -> None:
    assert kinds.parse_word("w") == "w"
    assert kinds.parse_word(" " + "w" * 128) == "w" * 128
    assert kinds.parse_word("top   secret") == "top secret"
    assert refused(kinds.parse_word, "w" * 129) == f"{'w' * 60!r} has 129 characters: from 1 to 128 are allowed"
    assert refused(kinds.parse_word, " ") == "'' has 0 characters: from 1 to 128 are allowed"
    assert refused(kinds.parse_word, "a\x07b") == "'a\\x07b' has control characters"


def test_a_pattern() -> None:
    assert kinds.parse_regex("a" * 512) == "a" * 512
    assert refused(kinds.parse_regex, "a" * 513) == "it has 513 characters, more than 512"
    for text in ("a{1", "a1}"):
        assert "has a brace without the other" in refused(kinds.parse_regex, text)
    assert "is not a pattern" in refused(kinds.parse_regex, "(")
    steps = "a{1000}" * 4 + "a{%d}"
    assert kinds.parse_regex(steps % 996) == steps % 996
    assert refused(kinds.parse_regex, steps % 997).endswith("compiles to 5001 steps, more than 5000")


def test_a_size() -> None:
    for text, octets in (("1024 GB", 1 << 40), ("1.25 KB", 1280), ("1 GB", 1 << 30), ("3 MB (3,000 bytes)", 3000), ("17", 17)):
        assert kinds.parse_size(text) == octets
    for text in ("1099511627777", "1 KB (, bytes)", "1.5555 KB", "many", "-1"):
        refused(kinds.parse_size, text)
    assert "larger than any message" in refused(kinds.parse_size, "1 KB (1,099,511,627,777 bytes)")
    assert [kinds.show_size(octets) for octets in (0, 1024, 1 << 20, 3 << 29, 1 << 30, 1025)] == [
        "0 B (0 bytes)", "1 KB (1,024 bytes)", "1 MB (1,048,576 bytes)", "1.5 GB (1,610,612,736 bytes)",
        "1 GB (1,073,741,824 bytes)", "1025 B (1,025 bytes)",
    ]  # fmt: skip


def test_other_kinds() -> None:
    assert kinds.parse_extension(" *.Docx ") == "docx"
    assert "is not a file name's extension" in refused(kinds.parse_extension, "a/b")
    assert "is not the name of a header field" in refused(kinds.parse_field_name, "a b")
    for text in ("AuditAndNotify", "audit"):
        assert kinds.parse_mode(text) is RuleMode.AUDIT
    assert kinds.parse_mode(" ENFORCE") is RuleMode.ENFORCE
    refused(kinds.parse_mode, "test")
    assert (kinds.ENABLED.parse("false"), kinds.ENABLED.to_json(RuleState.ENABLED)) == (RuleState.DISABLED, True)


def test_which_kinds_are_lists_and_what_clears_them() -> None:
    many = {"WORDS": (), "REGEXES": (), "EXTENSIONS": (), "DOMAINS": (), "ADDRESSES": ()}
    assert {name: getattr(kinds, name).cleared for name in many} == many
    assert all(getattr(kinds, name).many for name in many)
    for name in ("FIELD_NAME", "SIZE", "CONNECTOR", "DANE_MODE", "STS_MODE", "TLS_SETTINGS"):
        kind = getattr(kinds, name)
        assert (kind.many, kind.cleared) == (False, None), name


def test_a_record_and_what_it_is_read_from() -> None:
    named = replace(RULE, name="Müller")
    record = to_record(named)
    assert list(record)[:2] == ["Name", "Identity"]
    assert record["Identity"] == "Müller"
    assert '"Name":"Müller"' in rule_to_json(named)
    with pytest.raises(OperatorError, match="RedirectMessageTo: this version of Sealroute does not know it"):
        rule_from_json(json.dumps(record | {"RedirectMessageTo": "a@contoso.com"}))
    assert rule_from_json(json.dumps(record | {"RedirectMessageTo": None})) == named
