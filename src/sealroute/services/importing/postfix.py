"""Postfix's `smtp_tls_policy_maps` and `transport_maps` as connectors-to-be.

Nothing is made weaker than Postfix had it: what could only be met more weakly is not made, and a note says so.  Levels other
than `dane` and `dane-only` look at no DANE in Postfix; here they get ReportOnly, which delivers as before and records what
DANE and MTA-STS would have said.  A policy belongs to the next hop [postconf(5)], so both tables are read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.proto.postfix.nexthop import NextHop
from sealroute.proto.postfix.tls_policy import Level, TlsPolicy
from sealroute.proto.postfix.transport import Transport
from sealroute.services.importing.model import Draft, Imported, Kept, Note

_LOOKING: dict[str, Any] = {"smtp_dane_mode": SmtpDaneMode.REPORT_ONLY, "mta_sts_mode": MtaStsMode.REPORT_ONLY}
_KEEP = "Keep this entry in Postfix, or make a connector by hand."


class _Unmade(Exception):
    """Nothing as strict can be made; the text says why."""


def read_postfix(policies: Sequence[TlsPolicy], transports: Sequence[Transport], default: Connector) -> Imported:
    """Both tables together; either may be empty."""
    return _Reader(policies, transports, default).read()


class _Reader:
    def __init__(self, policies: Sequence[TlsPolicy], transports: Sequence[Transport], default: Connector) -> None:
        self._policies, self._transports, self._default = policies, transports, default
        self._by_destination = {policy.destination: policy for policy in policies}
        self._notes: list[Note] = []
        self._used: set[int] = set()

    def read(self) -> Imported:
        drafts = [draft for item in self._transports if (draft := self._of_transport(item))]
        routed = {item.pattern for item in self._transports}
        for policy in self._policies:
            if policy.line not in self._used and (draft := self._of_policy(policy, routed)):
                drafts.append(draft)
        return Imported(tuple(drafts), tuple(self._notes))

    def _of_transport(self, item: Transport) -> Draft | None:
        where = f"transport line {item.line}: {item.pattern}"
        try:
            if item.one_user:
                raise _Unmade("a connector is chosen by domain, not by user.")
            if not item.is_smtp:
                raise _Unmade(f"the transport {item.transport}: is not SMTP to the outside.")
            if ported := [hop for hop in item.nexthops if hop.port]:
                raise _Unmade(f"{ported[0]} has a port of its own, and connectors have none.")
            hops = item.nexthops
            values: dict[str, Any] = {"recipient_domains": (item.pattern,)}
            if hops:
                values |= {"use_mx_record": False, "smart_hosts": tuple(dict.fromkeys(map(_smart_host, hops)))}
            found = self._policy_for(item.pattern, hops)
            values |= self._tls(found, hops) if found else {}
        except _Unmade as error:
            self._lost(where, str(error))
            return None
        if found is None:
            said = "no TLS policy in the table applies; smtp_tls_security_level of main.cf did."
            self._notes.append(
                Note(Kept.EXACT, where, said, "Both modes are Opportunistic; set TlsSettings if main.cf demanded TLS.")
            )
        return self._draft(values, item.pattern, where)

    def _policy_for(self, pattern: str, hops: Sequence[NextHop]) -> TlsPolicy | None:
        keys = [str(hop) for hop in hops] or [pattern]
        found = {key: self._lookup(key) for key in keys}
        lines = {policy.line if policy else 0 for policy in found.values()}
        self._used |= lines
        if len(lines) > 1:
            raise _Unmade("its next hops have different TLS policies, and a connector has one.")
        return next(iter(found.values()))

    def _lookup(self, key: str) -> TlsPolicy | None:
        if key.startswith("["):
            return self._by_destination.get(key)
        name = key.removeprefix("*.") if key.startswith("*.") else key
        if name is not key:
            return self._by_destination.get(f".{name}")
        parents = [name[at:] for at, char in enumerate(name) if char == "."]
        return next((self._by_destination[item] for item in (name, *parents) if item in self._by_destination), None)

    def _of_policy(self, policy: TlsPolicy, routed: set[str]) -> Draft | None:
        where = f"TLS policy line {policy.line}: {policy.destination}"
        hop = policy.nexthop
        if hop is not None and (hop.bracketed or hop.port):
            self._lost(where, "it is for a next hop that no transport leads to.", "Give the transport table as well.")
            return None
        pattern = f"*.{policy.below}" if hop is None else hop.name
        if pattern in routed:
            self._lost(
                where,
                "the transport table sends this domain elsewhere, so Postfix did not use it either.",
                "Nothing is to be done.",
            )
            return None
        try:
            values = {"recipient_domains": (pattern,)} | self._tls(policy, ())
        except _Unmade as error:
            self._lost(where, str(error))
            return None
        return self._draft(values, pattern, where)

    def _tls(self, policy: TlsPolicy, hops: Sequence[NextHop]) -> dict[str, Any]:
        where = f"TLS policy line {policy.line}: {policy.destination}"
        if "tafile" in dict(policy.attributes):
            raise _Unmade("tafile limits whom to trust, and a connector trusts every public root.")
        for name, _ in policy.attributes:
            self._notes.append(
                Note(
                    Kept.LOST,
                    where,
                    f"{name} has no counterpart.",
                    "TLS versions, ciphers and server name are the gateway's own.",
                )
            )
        match policy.level:
            case Level.NONE | Level.MAY:
                if policy.level is Level.NONE:
                    self._notes.append(
                        Note(
                            Kept.LOST, where, "TLS cannot be switched off.", "It is tried, and mail goes without when it fails."
                        )
                    )
                return dict(_LOOKING)
            case Level.ENCRYPT:
                return _LOOKING | {"tls_settings": TlsSettings.ENCRYPTION_ONLY}
            case Level.DANE:
                return _LOOKING | {"smtp_dane_mode": SmtpDaneMode.OPPORTUNISTIC}
            case Level.DANE_ONLY:
                return _LOOKING | {"smtp_dane_mode": SmtpDaneMode.MANDATORY}
            case Level.FINGERPRINT:
                raise _Unmade("a certificate cannot be pinned by its fingerprint; a TLSA record at the partner does that.")
            case Level.VERIFY | Level.SECURE:
                return _LOOKING | {
                    "tls_settings": TlsSettings.DOMAIN_VALIDATION,
                    "tls_domain": self._tls_domain(policy, hops, where),
                }

    def _tls_domain(self, policy: TlsPolicy, hops: Sequence[NextHop], where: str) -> str:
        """One name stands for all that Postfix would take: fewer certificates pass, never more."""
        nexthop = hops[0].name if len(hops) == 1 else policy.nexthop.name if policy.nexthop and not hops else ""
        wanted = policy.match or (("hostname",) if policy.level is Level.VERIFY else ("nexthop", "dot-nexthop"))
        bracketed = len(hops) == 1 and hops[0].bracketed
        meant = {"nexthop": nexthop, "dot-nexthop": f".{nexthop}" if nexthop else "", "hostname": nexthop if bracketed else ""}
        names = [name for word in wanted if (name := meant.get(word, word))]
        # With MX routing a certificate mostly names a host below the domain; with a host in brackets, the host itself.
        below = [name for name in names if name.startswith(".")]
        chosen = next(iter(names if bracketed else below + names), "")
        if not chosen:
            raise _Unmade("the name to find in the certificate is the MX host's own, and TlsDomain is one fixed name.")
        if chosen.startswith(".") or len(names) < len(wanted) or len(names) > 1:
            shown = f"*{chosen}" if chosen.startswith(".") else chosen
            self._notes.append(
                Note(
                    Kept.EXACT,
                    where,
                    f"of {':'.join(wanted)} TlsDomain keeps {shown}, one label for the star.",
                    "Stricter than before: look at the partner's certificates first.",
                )
            )
        return f"*{chosen}" if chosen.startswith(".") else chosen

    def _lost(self, where: str, what: str, fix: str = _KEEP) -> None:
        self._notes.append(Note(Kept.LOST, where, f"no connector is made: {what}", fix))

    def _draft(self, values: dict[str, Any], pattern: str, where: str) -> Draft:
        name = f"Postfix {pattern}"[:64]
        return Draft(replace(self._default, guid=str(uuid4()), name=name, **values), where)


def _smart_host(hop: NextHop) -> str:
    return f"[{hop.name}]" if hop.bracketed and ":" not in hop.name and not hop.name.rpartition(".")[2].isdigit() else hop.name
