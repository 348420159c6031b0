"""Words and patterns as conditions hold them against text, in time linear in the text whatever stands there.

Words [Exchange Online]: in any case, as whole words: neither letter nor digit may stand right before or after.  Patterns are
regular expressions of RE2, which has neither look-around nor back references and never backtracks: no text that a sender makes
up can stall the gateway.  In any case, anywhere in the text unless `^` or `$` says otherwise.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sealroute.base.errors import InputError

MAX_WORD_CHARACTERS = 128
MAX_PATTERN_CHARACTERS = 512
MAX_ALL_WORDS_CHARACTERS = 4096
"""Of one condition's words together."""
MAX_PATTERN_STEPS = 5000
"""What a pattern may compile to."""
PATTERN_MEMORY = 1 << 20
"""What one compiled pattern may take; a pattern that needs more is refused."""
WORDS_MEMORY = 8 << 20
"""The same for all words of one condition together."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """The pattern, compiled; raises InputError saying what is wrong with it."""
    return _compile(pattern, pattern, PATTERN_MEMORY)


@lru_cache(maxsize=4096)
def compiled_words(words: tuple[str, ...]) -> Any:
    """All the words as one pattern, so that a text is gone through once; raises InputError when they are too much for that."""
    # A word's end is the end of a word where it is a letter or digit itself; words that are alike in that share the test.
    alike: dict[tuple[bool, bool], list[str]] = {}
    for word in words:
        alike.setdefault((word[:1].isalnum(), word[-1:].isalnum()), []).append("".join(map(_literal, word)))
    parts = (
        f"{_BEGIN if begins else ''}(?:{'|'.join(group)}){_END if ends else ''}" for (begins, ends), group in alike.items()
    )
    return _compile("|".join(parts), f"{len(words)} words", WORDS_MEMORY)


_BEGIN, _END = r"(?:^|[^\pL\pN])", r"(?:$|[^\pL\pN])"


def _literal(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"


def _compile(pattern: str, shown: str, memory: int) -> Any:
    import re2  # type: ignore[import-untyped]  # when a rule has words or a pattern, and not before: most commands have none

    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    options.case_sensitive = False
    options.never_capture = True
    try:
        found = re2.compile(pattern.encode(), options)
    except re2.error as error:
        text = " ".join(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said) for said in error.args)
        raise InputError(f"{shown!r} is not a pattern: {text}") from None
    return found


def words_cost(words: tuple[str, ...]) -> int:
    """What it costs to look for the words, for each character of the text; a unit is some 7 ns where it goes worst."""
    return 1 + sum(map(len, words)) // 128


def pattern_cost(pattern: str) -> int:
    """The same for a pattern: the steps of which, with a text made for it, each is taken for each character."""
    return int(compiled(pattern).programsize)


def has_word(text: str, words: tuple[str, ...]) -> bool:
    """Whether one of the words stands in the text as a whole word."""
    return compiled_words(words).search(text.encode("utf-8", "replace")) is not None


def matches_pattern(text: str, pattern: str) -> bool:
    """Whether the pattern is found in the text."""
    return compiled(pattern).search(text.encode("utf-8", "replace")) is not None
