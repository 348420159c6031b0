"""All settings together: each with its name and unit, default, bounds and description.

sealroute.example.toml and docs/reference/settings.md are printed from these models, so a setting that is not described
cannot exist.  Unknown keys are errors.  The way in is in inbound.py, the way out in outbound.py, the kinds of values in
values.py; reading the file is in load.py, looking at the files that settings name in check.py.
"""

from __future__ import annotations

import os
import socket
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from sealroute.settings.alerts import AlertSettings
from sealroute.settings.inbound import Auth, Limits, Listener, ListenerKind
from sealroute.settings.outbound import Delivery, MtaSts, Ndr, Resolver, Retry, Tls
from sealroute.settings.probes import ProbeSettings
from sealroute.settings.values import DomainName, IpAddress, MailAddress, Port, Section, choice


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    JSON = "json"
    CONSOLE = "console"


class Store(Section):
    """Where queue, connectors, trace and caches are kept."""

    url: str = Field(
        default="sqlite:////var/lib/sealroute/sealroute.db",
        max_length=1000,
        description="SQLAlchemy URL. `sqlite:///name.db` is relative to this file's folder, `sqlite:////dir/name.db` absolute; "
        "`postgresql+psycopg://user@host/name` for several nodes.",
    )

    node: str = Field(
        default="",
        max_length=64,
        description="Name of this node where several share one PostgreSQL store. Default: made up at each start.",
    )
    lease_seconds: int = Field(
        default=60, ge=10, le=3600, description="What a node was working on is taken over when it is silent for so long."
    )

    @field_validator("url")
    @classmethod
    def _in_folder(cls, url: str, info: ValidationInfo) -> str:
        """A SQLite file name relative to the configuration file's folder, as all file names here."""
        if "://" not in url:
            raise ValueError(f"{url!r} is not a database URL; write it as sqlite:////var/lib/sealroute/sealroute.db")
        scheme, _, rest = url.partition(":///")
        folder = (info.context or {}).get("folder")
        if not scheme.startswith("sqlite") or not rest or rest.startswith((":memory:", "/")) or not folder:
            return url
        return f"{scheme}:///{Path(folder) / rest}"


class TraceSettings(Section):
    """What message trace remembers."""

    retention_days: int = Field(default=90, ge=1, le=365, description="Older trace records are removed.")


class Logging(Section):
    """The log, on standard error."""

    level: Annotated[LogLevel, choice(LogLevel)] = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    format: Annotated[LogFormat, choice(LogFormat)] = Field(
        default=LogFormat.JSON, description="`json`: one object per line; `console`: coloured lines for people."
    )


class Http(Section):
    """/metrics and /healthz."""

    enabled: bool = Field(default=True, description="Whether to serve them at all.")
    address: IpAddress = Field(
        default="127.0.0.1", description="IP address to listen on. They are not protected: keep them inside."
    )
    port: Port = Field(default=8025, description="TCP port.")


class Lab(Section):
    """For labs and the demo only."""

    clock_speed: float = Field(
        default=1.0,
        ge=1,
        le=100000,
        description="The queue's clock runs so many times faster than the wall's, so that a day passes quickly.",
    )


class Settings(Section):
    """All settings of one gateway."""

    organization: str = Field(
        default="default", min_length=1, max_length=64, description="Owner of connectors and mail where none is named."
    )
    accepted_domains: tuple[DomainName, ...] = Field(
        default=(),
        max_length=10_000,
        strict=False,
        description="The organisation's own domains; connectors with AllAcceptedDomains match them.",
    )
    configured_hostname: DomainName | None = Field(
        default=None,
        alias="hostname",
        description="Our name in EHLO, greetings and Received lines. Default: the machine's full name.",
    )
    configured_postmaster: MailAddress | None = Field(
        default=None,
        alias="postmaster",
        description="From address of notifications (default: `postmaster@` and the host name), and where mail to the bare "
        "`<postmaster>` goes (default: it is refused).",
    )
    listeners: tuple[Listener, ...] = Field(
        default=(Listener(kind=ListenerKind.RELAY),),
        max_length=64,
        strict=False,
        description="Where mail is accepted; without any, relay from this machine itself on 127.0.0.1 port 25.",
    )
    workers: int = Field(
        default=1,
        ge=0,
        le=64,
        description="Processes that share the work, for machines with several cores; 0: as many as there are cores. Limits on "
        "connections out, on content held and on passwords checked at a time are divided among them; those on incoming "
        "connections hold for each worker.",
    )
    stay_on_processor: bool = Field(
        default=True,
        description="While there is much to do, a process's event loop and the thread that writes its store stay on one "
        "processor, which the system chooses: they take turns anyway, and need less time side by side. Linux only; without "
        "effect elsewhere.",
    )
    store: Store = Store()
    resolver: Resolver = Resolver()
    tls: Tls = Tls()
    mta_sts: MtaSts = MtaSts()
    delivery: Delivery = Delivery()
    retry: Retry = Retry()
    ndr: Ndr = Ndr()
    limits: Limits = Limits()
    auth: Auth = Auth()
    trace: TraceSettings = TraceSettings()
    probes: ProbeSettings = ProbeSettings()
    alerts: AlertSettings = AlertSettings()
    logging: Logging = Logging()
    http: Http = Http()
    lab: Lab = Lab()

    @cached_property
    def hostname(self) -> str:
        """Our name; the machine's full name is looked up once, when nothing was configured."""
        return self.configured_hostname or socket.getfqdn().lower()

    @property
    def worker_count(self) -> int:
        """How many processes do the work."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.workers or usable or 1

    @property
    def postmaster(self) -> str:
        """The From address of notifications."""
        return self.configured_postmaster or f"postmaster@{self.hostname}"

    @property
    def generating_server(self) -> str:
        """The server that notifications name."""
        return self.ndr.generating_server or self.hostname
