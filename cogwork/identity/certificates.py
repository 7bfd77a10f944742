"""Client certificates: which principal a verified certificate is, by the rules of the settings."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from cogwork.errors import Unauthenticated
from cogwork.identity.roles import ROLES, Principal, Role

Certificate: TypeAlias = Mapping[str, Any]
"""What ``ssl.SSLSocket.getpeercert()`` gives of a certificate that was verified; empty for one that was not."""
Clients: TypeAlias = Mapping[str, Role]
"""Roles by rule, such as ``{"CN=ops,O=Example": "operator", "DNS:runner.example": "viewer"}``."""
SUBJECT: Final = {
    "CN": "commonName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "C": "countryName",
    "ST": "stateOrProvinceName",
    "L": "localityName",
    "UID": "userId",
    "EMAIL": "emailAddress",
}
ALTERNATIVES: Final = ("DNS", "URI", "email", "IP Address")
_PIECE: Final = re.compile(r"\\.|,|[^\\,]+|\\", re.DOTALL)
Fact: TypeAlias = tuple[str, str]
"""A name of the subject's or of a subject alternative, and its value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a certificate must say of its holder, all of it."""

    facts: frozenset[Fact]

    @classmethod
    def read(cls, text: str) -> Rule:
        r"""The rule of its text: ``CN=ops``, ``DNS:host.example``, ``URI:spiffe://x/y``, or several with commas between
        (``\,`` is a comma within a value).

        Raises:
            ValueError: it is none.
        """
        return cls(frozenset(_fact(part, text) for part in _parts(text)))


def principal_of(certificate: Certificate, clients: Clients, now: datetime | None = None) -> Principal:
    """Who holds the certificate: its role is that of the rule that asks most; of equal ones it is the least.

    Whoever calls has verified the certificate against the authority of the settings; nothing of that is done here but to look
    at its end.

    Raises:
        Unauthenticated: there is no verified certificate, it has ended, or no rule is about it.
        ValueError: a rule cannot be read.
    """
    if not certificate:
        raise Unauthenticated("no_certificate", _NOT_VALID)
    facts = frozenset(_facts(certificate))
    fitting = [(rule, role) for rule, role in _rules(clients) if rule.facts <= facts]
    if not fitting:
        raise Unauthenticated("no_rule", _NOT_VALID)
    until = _until(certificate)
    if until is not None and until <= (now or datetime.now(UTC)):
        raise Unauthenticated("expired", _NOT_VALID)
    _, role = min(fitting, key=lambda each: (-len(each[0].facts), ROLES.index(each[1])))
    names = dict(sorted(facts, reverse=True))
    name = names.get("CN") or next(iter(names.values()))
    metadata = {"serial": str(certificate.get("serialNumber", "")), "issuer": _issuer(certificate)}
    return Principal(
        id=_id(certificate), name=name[:255], role=role, via="certificate", expires_at=until, metadata=metadata
    )


_NOT_VALID: Final = "The client certificate is not valid"


def checked(clients: Mapping[str, str]) -> dict[str, str]:
    """The rules, each of which can be read; for a validator of settings.

    Raises:
        ValueError: one cannot be read, or its role is none.
    """
    for text, role in clients.items():
        Rule.read(text)
        if role not in ROLES:
            raise ValueError(f"{role!r} is no role: there are {', '.join(ROLES)}")
    return dict(clients)


def _rules(clients: Clients) -> Iterator[tuple[Rule, Role]]:
    for text, role in clients.items():
        yield Rule.read(text), role


def _parts(text: str) -> list[str]:
    parts = [""]
    for piece in _PIECE.findall(text):
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _fact(part: str, whole: str) -> Fact:
    for kind in ALTERNATIVES:
        if part.lower().startswith(f"{kind.lower()}:"):
            return _alternative(kind, _plain(part[len(kind) + 1 :], whole))
    name, equals, value = part.partition("=")
    if not equals or name.strip().upper() not in SUBJECT:
        known = ", ".join([*(f"{each}=" for each in SUBJECT), *(f"{each}:" for each in ALTERNATIVES)])
        raise ValueError(f"{whole[:200]!r} is no rule for certificates: its parts begin with one of {known}")
    return name.strip().upper(), _plain(value, whole)


def _plain(value: str, whole: str) -> str:
    plain = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL).strip()
    if not plain or "*" in plain:
        raise ValueError(f"{whole[:200]!r} is no rule for certificates: values are written out, without wildcards")
    return plain


def _alternative(kind: str, value: str) -> Fact:
    return kind, value.lower() if kind == "DNS" else value


def _facts(certificate: Certificate) -> Iterator[Fact]:
    short = {long: name for name, long in SUBJECT.items()}
    for relative in certificate.get("subject", ()):
        for name, value in relative:
            if name in short and value:
                yield short[name], value
    for kind, value in certificate.get("subjectAltName", ()):
        if kind in ALTERNATIVES and value:
            yield _alternative(kind, value)


def _until(certificate: Certificate) -> datetime | None:
    text = certificate.get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC) if text else None


def _issuer(certificate: Certificate) -> str:
    return ",".join(f"{name}={value}" for relative in certificate.get("issuer", ()) for name, value in relative)[:500]


def _id(certificate: Certificate) -> str:
    """The same for the same certificate: an authority gives a number once."""
    told = json.dumps([certificate.get("issuer", ()), certificate.get("serialNumber", "")])
    return f"cert-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
