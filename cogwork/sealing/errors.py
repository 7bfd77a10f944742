"""What can go wrong with what is sealed."""

from __future__ import annotations

from collections.abc import Sequence

from cogwork.store.errors import StoreError


class SealError(StoreError):
    """Sealed data cannot be used."""


class UnusableKey(SealError):
    """A key of the settings cannot be read, or is none; the sentence says which, and holds nothing of it."""


class KeyMissing(SealError):
    """Data was sealed under keys that the settings do not have; nothing is lost, and nothing was changed."""

    def __init__(self, where: str, ids: Sequence[str]) -> None:
        self.where, self.ids = where, tuple(ids)
        keys = f"the key {ids[0]}" if len(ids) == 1 else f"the keys {', '.join(ids)}"
        super().__init__(
            f"What {where} holds is sealed with {keys}, which the setting encryption_keys does not give: "
            "add it to the list; nothing was changed"
        )


class Unopened(SealError):
    """A sealed value is not as it was written, or stands where it was not put."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(f"A sealed value ({where}) was altered or moved: restore it from a backup")
