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
PATTERN_MEMORY = 1 << 20
"""What one compiled pattern may take; a pattern that needs more is refused."""
PATTERN_COST = 8
"""How much longer a pattern looks at a character than a word does."""


def contains_word(folded_text: str, folded_word: str) -> bool:
    """Whether the word stands in the text as a whole word; both are casefolded."""
    before, after = folded_word[:1].isalnum(), folded_word[-1:].isalnum()
    at = folded_text.find(folded_word)
    while at >= 0:
        end = at + len(folded_word)
        if not (before and at and folded_text[at - 1].isalnum()) and not (after and folded_text[end : end + 1].isalnum()):
            return True
        at = folded_text.find(folded_word, at + 1)
    return False


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """The pattern, compiled; raises InputError saying what is wrong with it."""
    import re2  # type: ignore[import-untyped]  # when a rule has a pattern, and not before: most commands have none

    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.case_sensitive = False
    options.never_capture = True
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise InputError(f"{pattern!r} is not a pattern: {text}") from None


def matches_pattern(text: str, pattern: str) -> bool:
    """Whether the pattern is found in the text."""
    return compiled(pattern).search(text.encode("utf-8", "replace")) is not None
