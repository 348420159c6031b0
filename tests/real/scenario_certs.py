"""What the mail hosts of a scenario present: each maker gives the chain for one host name, and names what TLSA may point at.

A maker is `(Site) -> Presented`; the ones with arguments return makers.  `leaf` is what usage 3 means, `ca` and `root` what usage 2
means.  Authorities are shared by the scenarios of a world, unless a scenario needs one with a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simnet.pki import CLIENT_AUTH, Ca, Entity, Wish, pem, self_signed


@dataclass
class Pki:
    """A web PKI and a private one, each with a root and an issuing authority below it."""

    web_root: Ca = field(default_factory=lambda: Ca("Web Root"))
    private_root: Ca = field(default_factory=lambda: Ca("Private Root"))
    web: Ca = field(init=False)
    private: Ca = field(init=False)

    def __post_init__(self) -> None:
        self.web = self.web_root.ca("Web Issuing")
        self.private = self.private_root.ca("Private Issuing")


@dataclass(frozen=True)
class Site:
    """Where a certificate is wanted."""

    pki: Pki
    host: str
    real: Callable[[str], str]
    """A name as the scenario writes it to the name in the world."""

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The given names, the host's own when there are none."""
        return tuple(map(self.real, names)) or (self.host,)

    def wish(self, wish: Wish | None) -> Wish | None:
        """The wish, its subject a name in the world."""
        return replace(wish, subject=self.real(wish.subject)) if wish is not None and wish.subject else wish


@dataclass(frozen=True)
class Presented:
    """The certificates as sent, leaf first, and everything a TLSA record may name."""

    sent: tuple[Entity, ...]
    named: Mapping[str, Entity]

    def write(self, folder: Path, stem: str) -> tuple[str, str]:
        """(chain file, key file)."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        chain.write_bytes(pem(self.sent))
        key.write_bytes(self.sent[0].key_pem)
        key.chmod(0o600)
        return str(chain), str(key)


Certify = Callable[[Site], Presented]
EXPIRED = Wish(expired=True)
CLIENT_ONLY = Wish(eku=(CLIENT_AUTH,))
COMMON_NAME_ONLY = Wish(san=False)


def alone(*names: str, wish: Wish | None = None) -> Certify:
    """A certificate that vouches for itself; for the host's own name when none is given."""

    def certify(site: Site) -> Presented:
        leaf = self_signed(*site.names(names), wish=site.wish(wish))
        return Presented((leaf,), {"leaf": leaf})

    return certify


def _chain(ca: Ca, leaf: Entity, sent: str) -> Presented:
    named = {"leaf": leaf, "ca": ca, "root": ca.issuers(root=True)[-1]}
    return Presented(tuple(named[word] for word in sent.split()), named)


def private(*names: str, wish: Wish | None = None, sent: str = "leaf ca") -> Certify:
    """Leaf below `ca` below `root`, authorities of somebody's own; `sent` says what is presented, in order."""
    return lambda site: _chain(site.pki.private, site.pki.private.leaf(*site.names(names), wish=site.wish(wish)), sent)


def web(*names: str, wish: Wish | None = None, sent: str = "leaf ca") -> Certify:
    """The same below the authorities that everybody trusts."""
    return lambda site: _chain(site.pki.web, site.pki.web.leaf(*site.names(names), wish=site.wish(wish)), sent)


def below_root(*names: str) -> Certify:
    """A leaf right below the private root; `ca` is that root, and is not sent."""

    def certify(site: Site) -> Presented:
        root = site.pki.private_root
        leaf = root.leaf(*site.names(names))
        return Presented((leaf,), {"leaf": leaf, "ca": root, "root": root})

    return certify


def with_strangers(site: Site) -> Presented:
    """A good private chain with certificates in between that do not belong to it, root included, one of them twice."""
    named = private()(site).named
    return Presented(
        (named["leaf"], site.pki.web, self_signed("stranger.test"), named["root"], named["ca"], named["ca"]), named
    )


def under_expired_ca(site: Site) -> Presented:
    """A good leaf below an issuing authority whose time is over."""
    ca = site.pki.private_root.ca("Private Issuing of old", EXPIRED)
    return _chain(ca, ca.leaf(site.host), "leaf ca root")


def under_expired_root(site: Site) -> Presented:
    """A good leaf and a good issuing authority, the root above them over."""
    ca = Ca("Private Root of old", wish=EXPIRED).ca("Private Issuing")
    return _chain(ca, ca.leaf(site.host), "leaf ca root")


def too_deep(site: Site) -> Presented:
    """The root allows no authority below it, and there is one."""
    ca = Ca("Private Root of one level", wish=Wish(path_length=0)).ca("Private Issuing too deep")
    return _chain(ca, ca.leaf(site.host), "leaf ca root")


def below_a_server(site: Site) -> Presented:
    """The issuer is itself a server certificate, which may not issue."""
    ca = Ca("server.test", site.pki.private, Wish(is_ca=False, cert_sign=False))
    return _chain(ca, ca.leaf(site.host), "leaf ca")


def forged(site: Site) -> Presented:
    """The leaf names the issuing authority, which never signed it."""
    return _chain(site.pki.private, site.pki.private.leaf(site.host, wish=Wish(forged=True)), "leaf ca")


def from_tomorrow() -> Wish:
    """For a certificate whose time has not come."""
    return Wish(not_before=datetime.now(UTC) + timedelta(days=1))
