"""Which of two demands is the stricter: the ladders that modes and TlsSettings stand on."""

from __future__ import annotations

from typing import TypeVar

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings

M = TypeVar("M", SmtpDaneMode, MtaStsMode)

_MODES = ("None", "ReportOnly", "Opportunistic", "Mandatory")
_TLS = (None, TlsSettings.ENCRYPTION_ONLY, TlsSettings.CERTIFICATE_VALIDATION, TlsSettings.DOMAIN_VALIDATION)


def mode_rank(mode: SmtpDaneMode | MtaStsMode) -> int:
    return _MODES.index(mode.value)


def tls_rank(settings: TlsSettings | None) -> int:
    return _TLS.index(settings)


def stricter_mode(one: M, other: M) -> M:
    """The stricter of two modes."""
    return max(one, other, key=mode_rank)
