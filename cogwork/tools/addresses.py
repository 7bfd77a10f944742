"""Which addresses and hosts may be reached: a list of allowed hosts, and no address of a network of one's own behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_GLOBAL_V6: Final = ip_network("2000::/3")
_CARRYING_V4: Final = tuple(map(ip_network, ("2001::/23", "2002::/16", "192.88.99.0/24")))
"""Ways to an IPv4 address through an IPv6 network: Teredo and other registered uses, 6to4, and its relays."""
_UNUSED: Final = tuple(map(ip_network, ("192.0.0.0/24", "3fff::/20", "2001:db8::/32")))
"""Of these, versions of Python differ in what they call global."""
_OWN: Final = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
"""What a host that is allowed to be private may be on; never link-local addresses, where clouds serve credentials."""
_ISATAP: Final = re.compile("^[0-9a-f]{16}0[02]005efe")
_ENTRY: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^\s:/@?#\\%\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A host as it is written in an allow-list; without ``port`` it means the usual one of the scheme."""

    host: str
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Place:
        """The place that ``name``, ``name:port``, ``1.2.3.4`` or ``[::1]:8080`` means.

        Raises:
            ValueError: it is none of these; patterns and URLs are not.
        """
        found = _ENTRY.fullmatch(text.lower())
        if found is None or "*" in text or (found["port"] and not 0 < int(found["port"]) < 65536):
            raise ValueError(f"{text!r} is no host: write a name or address, and a port where it is not the usual one")
        return cls(found["host"].strip("[]"), int(found["port"]) if found["port"] else None)


@dataclass(frozen=True, slots=True)
class Reach:
    """The hosts that may be reached; ``private`` are those of them that may be on a network of one's own, or this machine."""

    hosts: frozenset[Place] = frozenset()
    private: frozenset[Place] = frozenset()

    @classmethod
    def of(cls, hosts: Iterable[str], private: Iterable[str] = ()) -> Reach:
        """The reach of these lists; a private host need not be named in the other one.

        Raises:
            ValueError: an entry is no host.
        """
        own = frozenset(map(Place.read, private))
        return cls(frozenset(map(Place.read, hosts)) | own, own)

    def fault(self, scheme: str, host: str, port: int | None) -> str | None:
        """Why that place may not be reached, in one sentence; None where it may."""
        if scheme not in DEFAULT_PORTS:
            return f"the scheme {scheme!r} is neither https nor http"
        if not _listed(self.hosts, scheme, host, port):
            return f"the host {host if port is None else f'{host}:{port}'} is not in the list of allowed hosts"
        if scheme == "http" and not self.is_private(scheme, host, port):
            return f"{host} is asked without encryption, which only private hosts may be"
        return None

    def is_private(self, scheme: str, host: str, port: int | None) -> bool:
        """Whether the place may have an address of one's own network."""
        return _listed(self.private, scheme, host, port)


def is_reachable(address: str, *, private: bool) -> bool:
    """Whether a connection may be made to this address: a public one, or for ``private`` places one of one's own network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if private and any(parsed in network for network in _OWN):
        return True
    return _is_public(parsed)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if any(address in network for network in (*_CARRYING_V4, *_UNUSED)):
        return False
    if isinstance(address, IPv4Address):
        return True
    return address in _GLOBAL_V6 and address.scope_id is None and not _ISATAP.match(address.packed.hex())


def _listed(places: frozenset[Place], scheme: str, host: str, port: int | None) -> bool:
    usual = DEFAULT_PORTS.get(scheme)
    if port in (None, usual):
        return Place(host) in places or Place(host, usual) in places
    return Place(host, port) in places
