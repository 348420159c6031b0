"""Whether a rule's conditions are met by a message: yes, no, or it cannot be told and why.

*Unknown is never absent*, here too: a word that was not found in a text of which part could not be read is not absent from
it.  What an unknown means for the message is decided in policy/transport/apply.

Bounded: all conditions of all rules together may spend so much on one message (`Work`); what would come after that is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from sealroute.base.errors import InputError
from sealroute.base.names import address_domain
from sealroute.base.unseen import Unseen
from sealroute.policy.transport.facts import MessageFacts, Seen
from sealroute.policy.transport.patterns import has_word, matches_pattern, pattern_cost, words_cost
from sealroute.policy.transport.rule import EXCEPT, Conditions, SenderAddressLocation, TransportRule

WORK_UNITS = 32 * 1024 * 1024
"""What all rules together may spend on one message: a quarter of a second where everything goes worst."""


class Truth(Enum):
    """What is known of a condition."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Judged:
    """A truth; for UNKNOWN, of which conditions and why."""

    truth: Truth
    unseen: frozenset[Unseen] = frozenset()
    conditions: tuple[str, ...] = ()
    """Field names as in rule.value_of."""


YES, NO = Judged(Truth.YES), Judged(Truth.NO)


class Work:
    """How much may still be spent on one message, and what was found: between its groups only the domain differs."""

    def __init__(self, units: int = WORK_UNITS) -> None:
        self._left = units
        self.known: dict[tuple[str, str], Judged] = {}
        """By rule (GUID), and condition or exception."""

    def allow(self, units: int) -> bool:
        self._left -= units
        return self._left >= 0


def judge(rule: TransportRule, facts: MessageFacts, work: Work, domain: str) -> Judged:
    """Whether the rule's conditions are met, for the message's recipients in `domain`.

    Exceptions count as the standard says: met, the rule does not apply; unknown, the rule is unknown.
    """
    met = _all(_conditions(rule, "", facts, work, domain))
    if met.truth is Truth.NO:
        return NO
    excepted = _any(_conditions(rule, EXCEPT, facts, work, domain))
    if excepted.truth is Truth.YES:
        return NO
    unknown = [item for item in (met, excepted) if item.truth is Truth.UNKNOWN]
    return _unknown(unknown) if unknown else YES


def _all(conditions: Iterator[tuple[str, Judged]]) -> Judged:
    unknown: list[Judged] = []
    for name, judged in conditions:
        if judged.truth is Truth.NO:
            return NO
        if judged.truth is Truth.UNKNOWN:
            unknown.append(Judged(Truth.UNKNOWN, judged.unseen, (name,)))
    return _unknown(unknown) if unknown else YES


def _any(conditions: Iterator[tuple[str, Judged]]) -> Judged:
    unknown: list[Judged] = []
    for name, judged in conditions:
        if judged.truth is Truth.YES:
            return YES
        if judged.truth is Truth.UNKNOWN:
            unknown.append(Judged(Truth.UNKNOWN, judged.unseen, (name.removesuffix("_"),)))
    return _unknown(unknown) if unknown else NO


def _unknown(found: Sequence[Judged]) -> Judged:
    unseen = frozenset(why for item in found for why in item.unseen)
    return Judged(Truth.UNKNOWN, unseen, tuple(name for item in found for name in item.conditions))


# -------------------------------------------------------------------------------------------------- the conditions

Look = Callable[[TransportRule, Conditions, MessageFacts, Work], Judged]


def _conditions(rule: TransportRule, prefix: str, facts: MessageFacts, work: Work, domain: str) -> Iterator[tuple[str, Judged]]:
    """(name, judged) of each condition, or exception, that is asked.

    The cheap ones come first: who stops early need not look at the body.
    """
    asked = rule.unless if prefix else rule.when
    if asked.recipient_domain_is:
        yield f"{prefix}recipient_domain_is", YES if _in_domains(domain, asked.recipient_domain_is) else NO
    for field, look in _LOOKS.items():
        if _is_asked(asked, field):
            name = prefix + field
            judged = work.known.get((rule.guid, name))
            if judged is None:
                judged = work.known[rule.guid, name] = look(rule, asked, facts, work)
            yield name, judged


def _is_asked(asked: Conditions, name: str) -> bool:
    return getattr(asked, name) not in (None, ())


def _in_domains(domain: str, patterns: Sequence[str]) -> bool:
    for pattern in patterns:
        if pattern == "*" or pattern == domain or (pattern.startswith("*.") and domain.endswith(pattern[1:])):
            return True
    return False


def _size(_rule: TransportRule, asked: Conditions, facts: MessageFacts, _work: Work) -> Judged:
    if facts.size_bytes is None:
        return Judged(Truth.UNKNOWN, frozenset({Unseen.NO_MESSAGE}))
    over = asked.message_size_over
    return YES if over is not None and facts.size_bytes > over else NO


def _words(texts: Callable[[MessageFacts], Seen], field: str) -> Look:
    def look(_rule: TransportRule, asked: Conditions, facts: MessageFacts, work: Work) -> Judged:
        wanted: tuple[str, ...] = getattr(asked, field)
        return _search(texts(facts), lambda text: _has_word(text, wanted, work))

    return look


def _patterns(texts: Callable[[MessageFacts], Seen], field: str) -> Look:
    def look(_rule: TransportRule, asked: Conditions, facts: MessageFacts, work: Work) -> Judged:
        wanted: tuple[str, ...] = getattr(asked, field)
        return _search(texts(facts), lambda text: _has_pattern(text, wanted, work))

    return look


def _sender(field: str, test: Callable[[str, tuple[str, ...], Work], bool | None]) -> Look:
    def look(rule: TransportRule, asked: Conditions, facts: MessageFacts, work: Work) -> Judged:
        wanted: tuple[str, ...] = getattr(asked, field)
        return _search(_senders(rule.sender_address_location, facts), lambda text: test(text, wanted, work))

    return look


def _senders(where: SenderAddressLocation, facts: MessageFacts) -> Seen:
    if where is SenderAddressLocation.ENVELOPE:
        return facts.envelope_senders
    envelope, header = facts.envelope_senders, facts.header_senders
    both = Seen(envelope.texts + header.texts, envelope.lost | header.lost)
    return header if where is SenderAddressLocation.HEADER else both


def _header(name_field: str, field: str, test: Callable[[str, tuple[str, ...], Work], bool | None]) -> Look:
    def look(_rule: TransportRule, asked: Conditions, facts: MessageFacts, work: Work) -> Judged:
        name: str | None = getattr(asked, name_field)
        wanted: tuple[str, ...] = getattr(asked, field)
        return NO if name is None else _search(facts.header(name), lambda text: test(text, wanted, work))

    return look


def _extensions(_rule: TransportRule, asked: Conditions, facts: MessageFacts, _work: Work) -> Judged:
    wanted = {word.lower().lstrip(".") for word in asked.attachment_extension_matches_words}
    return _search(facts.attachment_extensions, lambda text: text in wanted)


def _search(seen: Seen, test: Callable[[str], bool | None]) -> Judged:
    """YES as soon as one text passes; UNKNOWN when something of them was lost, a test gave up, or readings differ."""
    some, gave_up = False, False
    for number, text in enumerate(seen.texts):
        answers = {test(text)} if seen.again == () else {test(text), test(seen.again[number])}
        if answers == {True}:
            return YES
        some = some or True in answers
        gave_up = gave_up or None in answers
    lost = seen.lost | ({Unseen.BOUND} if gave_up else set()) | ({Unseen.ENCODING} if some else set())
    return Judged(Truth.UNKNOWN, frozenset(lost)) if lost else NO


def _has_word(text: str, words: tuple[str, ...], work: Work) -> bool | None:
    """None: there was too much to look at."""
    return has_word(text, words) if work.allow(len(text) * words_cost(words)) else None


def _has_pattern(text: str, patterns: tuple[str, ...], work: Work) -> bool | None:
    """None: there was too much to look at."""
    if not work.allow(len(text) * sum(map(pattern_cost, patterns))):
        return None
    return any(matches_pattern(text, pattern) for pattern in patterns)


def _is_address(text: str, addresses: tuple[str, ...], _work: Work) -> bool | None:
    return text.casefold() in {address.casefold() for address in addresses}


def _is_in_domain(text: str, domains: tuple[str, ...], _work: Work) -> bool | None:
    try:
        return _in_domains(address_domain(text), domains)
    except InputError:
        return _in_domains(text.rpartition("@")[2].lower(), domains)


def _subject_or_body(facts: MessageFacts) -> Seen:
    subject, body = facts.subject, facts.body
    return Seen(subject.texts + body.texts, subject.lost | body.lost)


_LOOKS: Mapping[str, Look] = {
    "message_size_over": _size,
    "from_": _sender("from_", _is_address),
    "sender_domain_is": _sender("sender_domain_is", _is_in_domain),
    "from_address_contains_words": _sender("from_address_contains_words", _has_word),
    "from_address_matches_patterns": _sender("from_address_matches_patterns", _has_pattern),
    "subject_contains_words": _words(lambda facts: facts.subject, "subject_contains_words"),
    "subject_matches_patterns": _patterns(lambda facts: facts.subject, "subject_matches_patterns"),
    "header_contains_words": _header("header_contains_message_header", "header_contains_words", _has_word),
    "header_matches_patterns": _header("header_matches_message_header", "header_matches_patterns", _has_pattern),
    "attachment_extension_matches_words": _extensions,
    "attachment_name_matches_patterns": _patterns(lambda facts: facts.attachment_names, "attachment_name_matches_patterns"),
    "subject_or_body_contains_words": _words(_subject_or_body, "subject_or_body_contains_words"),
    "subject_or_body_matches_patterns": _patterns(_subject_or_body, "subject_or_body_matches_patterns"),
}
"""Every condition but the recipient's domain; the two header names are conditions together with their words or patterns."""
