"""Spans of time as an operator writes them: `5s`, `15m`, `1h`, `2d`, also joined (`1h30m`).

duration = 1*( 1*DIGIT unit )
unit     = "s" / "m" / "h" / "d"
"""

from __future__ import annotations

import re
from datetime import timedelta

_PART = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_WHOLE = re.compile(r"(?:\d{1,9}[smhd]){1,4}", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta:
    """The span that text names; raises ValueError saying how one is written."""
    bare = text.strip().lower().replace(" ", "")
    if not _WHOLE.fullmatch(bare):
        raise ValueError(f"{text!r} is not a span of time; write it as 30s, 15m, 4h, 2d or 1h30m")
    return timedelta(seconds=sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(bare)))


def format_duration(span: timedelta) -> str:
    """The span in the same form, largest units first, each only where it is needed: `24h` and not `1d`, as mail people say."""
    seconds = int(span.total_seconds())
    if seconds and seconds % 86400 == 0 and seconds > 86400:
        return f"{seconds // 86400}d"
    parts = []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
