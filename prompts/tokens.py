"""How many tokens a text has for a model: by the model's tokenizer where its data is on this machine, else an estimate.

The tokenizer is tiktoken. It would fetch the data of an encoding that it lacks; here nothing is ever fetched: what it would
read is known from its own code, and it is asked only where a file of that name and checksum lies where it looks.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

ESTIMATE: Final = "estimate by kinds of characters"
PER_MESSAGE: Final = 4
"""Tokens that frame one message of a conversation, as OpenAI's chat format has it."""
PER_REPLY: Final = 3
"""Tokens that open the answer."""
_PIECE: Final = re.compile(
    r"(?P<word> ?(?:[A-Z]?[a-z]+|[A-Z]+))|(?P<number> ?[0-9]+)|(?P<space>\s+)|(?P<mark> ?[!-/:-@\[-`{-~]+)"
    r"|(?P<latin>[\u00a0-\u024f]+)|(?P<near>[\u0370-\u052f\u2000-\u2bff]+)|(?P<middle>[\u0530-\u08ff]+)"
    r"|(?P<wide>[\u0250-\u036f\u0900-\uffff]+)|(?P<rest>.)",
    re.DOTALL,
)
_PER_CHARACTER: Final[Mapping[str, float]] = {"latin": 0.6, "near": 0.4, "middle": 0.65, "wide": 1.0, "rest": 2.5}
_ADDRESS: Final = re.compile(r"https?://\S+")
_CHECKSUM: Final = re.compile(r"[0-9a-f]{64}")
_SAME_COUNT: Final = {"o200k_harmony": "o200k_base"}
"""Encodings that differ from another one in special tokens only, which texts do not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """How many tokens; ``exact`` says that the model's own tokenizer counted, ``method`` which one or how it was estimated."""

    tokens: int
    exact: bool
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Counts for one model: the same text always has the same count."""

    count: Callable[[str], int]
    exact: bool = False
    method: str = ESTIMATE

    def of(self, text: str) -> TokenCount:
        """The count of ``text`` with how it came about."""
        return TokenCount(tokens=self.count(text), exact=self.exact, method=self.method)


@dataclass(frozen=True, slots=True)
class Encodings:
    """The encodings whose data can be read without the network.

    ``constructors`` are tiktoken's by name (those installed, without it); ``folder`` is where tiktoken keeps its data.
    """

    folder: Path | None
    constructors: Mapping[str, Callable[[], Any]] = field(default_factory=dict)

    def find(self, name: str) -> Any | None:
        """The encoding of that name; None where its data is not on disk, or is not what it should be."""
        constructor = self.constructors.get(name)
        if constructor is None or not self._at_hand(constructor):
            return None
        import tiktoken

        return tiktoken.Encoding(**constructor())

    def _at_hand(self, constructor: Callable[[], Any]) -> bool:
        """Whether the one file that the constructor reads is here: its address and checksum stand among its constants."""
        constants = [each for each in constructor.__code__.co_consts if isinstance(each, str)]
        addresses = [each for each in constants if _ADDRESS.fullmatch(each)]
        checksums = [each for each in constants if _CHECKSUM.fullmatch(each)]
        if self.folder is None or len(addresses) != 1 or len(checksums) != 1:
            return False
        try:
            data = (self.folder / hashlib.sha1(addresses[0].encode()).hexdigest()).read_bytes()
        except OSError:
            return False
        return hashlib.sha256(data).hexdigest() == checksums[0]


def counter(model: str = "") -> Counter:
    """What counts for a model, named as ``provider:model`` or just ``model``; an estimate where nothing is known of it."""
    name = _encoding(model.rpartition(":")[2] if not model.startswith("ft:") else model)
    return _counter(name) if name else _ESTIMATING


def count(text: str, model: str = "") -> TokenCount:
    """How many tokens ``text`` has for ``model``."""
    return counter(model).of(text)


def estimated(text: str) -> int:
    """The tokens of ``text``, guessed from its words, numbers, marks and scripts.

    A text that is continued never counts less. How far off it is, by kind of text: docs/decisions/0022.
    """
    return math.ceil(sum(_weight(match) for match in _PIECE.finditer(text)))


def _weight(match: re.Match[str]) -> float:
    kind, whole = match.lastgroup or "rest", match[0]
    length = len(whole.strip())
    match kind:
        case "word" if whole[0] == " " or whole[0].islower():
            return 1 + max(0, length - 7) * 0.16
        case "word":
            return 0.8 + length * 0.12
        case "number":
            return math.ceil(length / 3)
        case "space":
            return 1.0 if "\n" in whole or len(whole) > 1 else 0.0
        case "mark":
            return 0.5 + 0.4 * length
        case _:
            return length * _PER_CHARACTER[kind]


_ESTIMATING: Final = Counter(count=estimated)


def _encoding(model: str) -> str:
    """The name of the model's encoding; empty where tiktoken is not installed or does not know the model."""
    try:
        from tiktoken.model import encoding_name_for_model

        name = encoding_name_for_model(model)
    except (ImportError, KeyError):
        return ""
    return _SAME_COUNT.get(name, name)


@lru_cache(maxsize=8)
def _counter(name: str) -> Counter:
    from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS  # type: ignore[import-untyped]

    encoding = Encodings(data_folder(os.environ), ENCODING_CONSTRUCTORS).find(name)
    return counting(encoding) if encoding is not None else _ESTIMATING


def counting(encoding: Any) -> Counter:
    """What counts by a tiktoken encoding; words that name special tokens count as the text that they are."""
    return Counter(
        count=lambda text: len(encoding.encode_ordinary(text)), exact=True, method=f"tiktoken {encoding.name}"
    )


def data_folder(environment: Mapping[str, str]) -> Path | None:
    """Where tiktoken looks for its data; None where it is told to keep none, and so would always fetch it."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if name in environment:
            return Path(environment[name]) if environment[name] else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"
