"""How things stand with a thread of the database: vacant, owned, or owned by a process that is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Standing: TypeAlias = Literal["vacant", "owned", "frozen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The row of a thread's owner.

    ``holder``       the process, and the name of its connections
    ``age``          of its beat, in seconds; since the start of the server where that came later
    ``same_server``  whether the server, and so the advisory locks, are still those of the beat
    """

    token: str
    holder: str
    age: float
    same_server: bool


def standing(free: bool, claim: Claim | None, ttl: float) -> Standing:
    """How things stand with a thread whose advisory lock is ``free`` or not, and whose owner left ``claim``.

    A restart of the server frees all locks while their owners live: they have ``ttl`` seconds to come back.
    """
    if claim is None:
        return "vacant" if free else "owned"
    if claim.age > ttl:
        return "vacant" if free else "frozen"
    return "vacant" if free and claim.same_server else "owned"
