"""What an archive says of itself: what it was made of and when, and the digest of each member."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from cogwork.backup.errors import Unsound
from state.values import Json

FORMAT: Final = 1
NAME: Final = "manifest.json"
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_MEMBERS: Final = 100_000
FILES: Final = "files/"
"""How the names of members begin that are files of the state folder."""
DUMP: Final = "database.dump"
"""The member that holds the dump of PostgreSQL."""
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive: its bytes, and their SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in an archive.

    ``revision`` is that of the records' schema, ``keys`` the ids of the encryption keys that are needed to read it, and
    ``schemas`` those of PostgreSQL, of which the first holds the records.
    """

    format: int = FORMAT
    cogwork: str
    made_at: str
    database: Literal["sqlite", "postgresql"]
    revision: str | None = None
    keys: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of all members."""
        return sum(member.size for member in self.members.values())

    def written(self) -> bytes:
        """The manifest as JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    def to_dict(self) -> dict[str, Json]:
        """The manifest for programs."""
        told: dict[str, Json] = json.loads(self.written())
        return told


_MANIFESTS: Final = TypeAdapter(Manifest)


def read(data: bytes) -> Manifest:
    """The manifest that was written so.

    Raises:
        Unsound: it is none, or names members that no backup has.
    """
    try:
        raw: Any = json.loads(data)
        if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
            raise Unsound(f"The archive has format {raw['format']}, and this cogwork knows {FORMAT}: use a newer one")
        manifest = _MANIFESTS.validate_python(raw)
    except (ValueError, ValidationError, RecursionError) as err:
        raise Unsound("The archive has no manifest that can be read: it is no backup of cogwork") from err
    if len(manifest.members) > MAX_MEMBERS:
        raise Unsound(f"The archive has {len(manifest.members):,} members, more than any backup")
    for name, member in manifest.members.items():
        if not (name == DUMP or name.startswith(FILES)) or not _PATH.fullmatch(name) or member.size < 0:
            raise Unsound(f"The archive has a member named {name[:100]!r}, which no backup has")
    return manifest


def fits(name: str) -> bool:
    """Whether a member may have that name."""
    return bool(_PATH.fullmatch(name)) and len(name) <= 100
