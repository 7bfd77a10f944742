"""Secrets of servers, kept out of what servers say: faults, events, logs and results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from state.values import Json

MASK: Final = "***"
SHORTEST: Final = 6
"""Shorter values are left alone: they would hide half of every text."""
_TELLING: Final = re.compile(
    r"key|token|secret|passw|auth|cred|cookie|session|signature|dsn|database|private|bearer", re.IGNORECASE
)
_PLAIN_HEADERS: Final = frozenset({"accept", "accept-language", "user-agent", "content-type", "cache-control"})


class Redaction:
    """Replaces the secrets of one server by ``***``; knows none until it is told of them."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._others: set[str] = set()
        self._secrets: re.Pattern[str] | None = None
        self._all: re.Pattern[str] | None = None

    def learn(self, env: Mapping[str, str], headers: Mapping[str, str], further: Iterable[str] = ()) -> None:
        """Hide this environment, these headers, and what is secret whatever it is called.

        Values whose name says nothing of a secret are hidden in what is told of faults, but not in results, where they may
        stand as ordinary words.
        """
        named = {**env, **{k: v for k, v in headers.items() if k.lower() not in _PLAIN_HEADERS}}
        secret = [v for k, v in named.items() if k in headers or _TELLING.search(k)]
        self._known |= {part for value in (*secret, *further) for part in _parts(value)}
        self._others |= {value for value in named.values() if len(value) >= SHORTEST}
        self._secrets, self._all = _pattern(self._known), _pattern(self._known | self._others)

    def told(self, text: str) -> str:
        """A text that tells people or logs something."""
        return self._all.sub(MASK, text) if self._all else text

    def value(self, value: Json) -> Json:
        """A result, of plain JSON."""
        return self._hidden(value) if self._secrets else value

    def _hidden(self, value: Json) -> Json:
        match value:
            case str():
                assert self._secrets is not None
                return self._secrets.sub(MASK, value)
            case list():
                return [self._hidden(each) for each in value]
            case dict():
                return {self._hidden(key): self._hidden(each) for key, each in value.items()}
            case _:
                return value


def _parts(value: str) -> Iterable[str]:
    """The value, and the credentials within ``Bearer …``."""
    return (part for part in (value, value.partition(" ")[2]) if len(part) >= SHORTEST)


def _pattern(values: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(values, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
