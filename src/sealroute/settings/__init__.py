"""The gateway's settings: one TOML file, overridden by `SEALROUTE_SECTION__KEY` environment variables.

models.py says what may be set, load.py reads it and names every problem with file, line and key, check.py looks at the
files that settings name, document.py prints the example file and the reference page.
"""

from __future__ import annotations

from sealroute.settings.check import check_files
from sealroute.settings.inbound import Auth, Limits, Listener, ListenerKind
from sealroute.settings.load import load, parse
from sealroute.settings.models import Http, Lab, LogFormat, Logging, LogLevel, Settings, Store, TraceSettings
from sealroute.settings.outbound import AddressFamily, Delivery, MtaSts, Ndr, Resolver, ResolverKind, Retry, StubZone, Tls

__all__ = [
    "AddressFamily",
    "Auth",
    "Delivery",
    "Http",
    "Lab",
    "Limits",
    "Listener",
    "ListenerKind",
    "LogFormat",
    "LogLevel",
    "Logging",
    "MtaSts",
    "Ndr",
    "Resolver",
    "ResolverKind",
    "Retry",
    "Settings",
    "Store",
    "StubZone",
    "Tls",
    "TraceSettings",
    "check_files",
    "load",
    "parse",
]
