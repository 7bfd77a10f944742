"""The keys of the settings: read from variables and files, told apart by ids that say nothing of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field, model_validator

from cogwork.sealing.errors import UnusableKey
from cogwork.secrets import SecretSource
from cogwork.sections import Section

if TYPE_CHECKING:
    from cogwork.sealing.xaes import Xaes

KEY_BYTES: Final = 32
ID_BYTES: Final = 8


class KeySource(Section):
    """Where a key is read from: an environment variable or a file that holds 32 bytes in base64."""

    env: str | None = Field(None, description="The environment variable that holds it.")
    file: Path | None = Field(None, description="The file that holds it, and nothing else.")

    @model_validator(mode="after")
    def _one(self) -> KeySource:
        if [self.env, self.file].count(None) != 1:
            raise ValueError("a key comes from one place: {env = …} or {file = …}")
        return self

    @property
    def name(self) -> str:
        """The source for people."""
        return f"the variable {self.env}" if self.env is not None else f"the file {self.file}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key; what is done with it is done with keys derived from it, each for one purpose."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @property
    def id(self) -> str:
        """What stands beside all that it has sealed."""
        return self.derived("id").hex()[: 2 * ID_BYTES]

    def derived(self, purpose: str) -> bytes:
        """Another key, from which neither this one nor those of other purposes follow."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"cogwork {purpose}".encode()).derive(self.secret)


@dataclass(frozen=True)
class Ring:
    """Keys in their order: the first seals, all open. An empty ring seals nothing."""

    keys: tuple[Key, ...] = ()

    @cached_property
    def ciphers(self) -> Mapping[str, Xaes]:
        """The cipher of each key, by its id."""
        from cogwork.sealing.xaes import Xaes

        return {key.id: Xaes(key.derived("seal")) for key in self.keys}

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids, in order."""
        return tuple(key.id for key in self.keys)


def ring_of(sources: Iterable[KeySource], environment: Mapping[str, str]) -> Ring:
    """The keys that these sources hold.

    Raises:
        UnusableKey: one cannot be read, or is no key.
    """
    return Ring(tuple(_read(source, environment) for source in sources))


def _read(source: KeySource, environment: Mapping[str, str]) -> Key:
    try:
        text = SecretSource(env=source.env, file=source.file).read(environment).strip()
        return Key(base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True))
    except binascii.Error:
        why = "it is no base64"
    except ValueError as err:
        why = str(err)
    raise UnusableKey(
        f"The encryption key of {source.name} cannot be used: {why}. Make one with `openssl rand -base64 {KEY_BYTES}`"
    )
