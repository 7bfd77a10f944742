"""Sealing anew what is kept already: what is plain or under an older key, under the first one."""

from __future__ import annotations

from dataclasses import dataclass

from cogwork.sealing.seals import Seals, sealed_under, text_sealed_under

AT_ONCE = 200
"""Rows in one transaction."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One batch: of which table, how many rows were looked at, and how many of them were sealed anew."""

    part: str
    looked: int
    sealed: int


def bytes_again(seals: Seals, data: bytes, place: str) -> bytes | None:
    """The data under the first key; None where it is so already.

    Raises:
        KeyMissing, Unopened: it cannot be opened.
    """
    return None if sealed_under(data) == seals.ring.ids[0] else seals.sealed(seals.opened(data, place), place)


def text_again(seals: Seals, text: str, place: str) -> str | None:
    """The text under the first key; None where it is so already.

    Raises:
        KeyMissing, Unopened: it cannot be opened.
    """
    if text_sealed_under(text) == seals.ring.ids[0]:
        return None
    return seals.sealed_text(seals.opened_text(text, place), place)
