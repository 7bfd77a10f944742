"""The chain of the audit log: each entry holds a digest of itself and of the entry before it, so that no change goes unseen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cogwork.records.columns import EPOCH, micros
from state.values import Json

NOTHING: Final = "0" * 64
"""What the first entry holds as the digest of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the audit log holds of one deed; ``previous`` is the digest of the entry before."""

    seq: int
    at: datetime
    principal_id: str
    principal_name: str
    role: str
    via: str
    verb: str
    target: str
    outcome: str
    door: str
    request_id: str
    details: Mapping[str, Json]
    previous: str = ""
    digest: str = ""

    def to_dict(self) -> dict[str, Json]:
        """The entry as plain JSON, as it is exported."""
        return {**dataclasses.asdict(self), "details": dict(self.details), "at": self.at.isoformat()}

    def after(self, last: Mark) -> Entry:
        """The entry as the next one of the chain."""
        placed = dataclasses.replace(self, seq=last.seq + 1, previous=last.digest)
        return dataclasses.replace(placed, digest=digest_of(placed))


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the chain: the number of an entry, and its digest; whoever holds one can tell that all before is unchanged."""

    seq: int = 0
    digest: str = NOTHING

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"

    @classmethod
    def read(cls, text: str) -> Mark:
        """The mark of its text.

        Raises:
            ValueError: it is none.
        """
        seq, _, digest = text.strip().partition(":")
        if not (seq.isascii() and seq.isdigit() and len(seq) < 19) or len(digest) != len(NOTHING):
            raise ValueError(f"{text[:100]!r} is no mark: it is a number, a colon and 64 hexadecimal digits")
        return cls(int(seq), digest.lower())


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry that is not as it was written, and why."""

    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a chain holds: how many entries were looked at, the last of them, and where it is broken."""

    entries: int
    last: Mark
    broken: Broken | None = None


def digest_of(entry: Entry) -> str:
    """The SHA-256 of all that the entry holds, the digest of the one before it included."""
    told: dict[str, Any] = dataclasses.asdict(entry)
    del told["digest"]
    told["at"] = micros(entry.at)
    told["details"] = dict(entry.details)
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def follow(entries: Iterable[Entry], begin: Mark | None = None) -> Followed:
    """Follow the chain from the entry after ``begin`` to its end, or to the first entry that is not as it was written."""
    last, count = begin or Mark(), 0
    for entry in entries:
        if (why := _wrong(entry, last)) is not None:
            return Followed(count, last, Broken(min(entry.seq, last.seq + 1), why))
        last, count = Mark(entry.seq, entry.digest), count + 1
    return Followed(count, last)


def _wrong(entry: Entry, last: Mark) -> str | None:
    if entry.seq > last.seq + 1:
        return "it is missing"
    if entry.seq < last.seq + 1:
        return "it stands where a later one belongs"
    if entry.digest != digest_of(entry):
        return "it was altered"
    if entry.previous != last.digest:
        return "it does not follow from the one before it, of which one was altered or put in"
    return None


def entry_of(told: Mapping[str, Any]) -> Entry:
    """The entry of a row, or of a line of an export.

    Raises:
        ValueError: something is missing, too much, or of another kind.
    """
    names = {field.name for field in dataclasses.fields(Entry)}
    if set(told) != names:
        raise ValueError(f"it has not the fields of an entry: {', '.join(sorted(names ^ set(told)))[:200]}")
    at = told["at"] if isinstance(told["at"], datetime) else datetime.fromisoformat(told["at"])
    if at.tzinfo is None or not isinstance(told["seq"], int) or not isinstance(told["details"], dict) or at < EPOCH:
        raise ValueError("seq, at or details are of another kind")
    return Entry(**{**told, "at": at})
