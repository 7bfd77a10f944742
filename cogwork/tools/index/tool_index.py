"""The index of tools: kept up with a list of tools that changes, and searched by words, and by meaning where a model is given."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogwork.breaker import Breaker
from cogwork.tools.index.fusion import fused
from cogwork.tools.index.lexical import Lexical
from cogwork.tools.index.wording import Wording, wording
from state.errors import Fault
from state.services import Effect, Tool

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from cogwork.tools.index.meaning import Meaning

MAX_HITS: Final = 1_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hit:
    """A tool that was found; ``score`` is from 0 to 1 and compares within one search only."""

    name: str
    score: float
    tool: Tool


class ToolIndex:
    """Search over the names, descriptions and parameters of tools; may be used from any thread.

    ``embeddings`` adds search by meaning (needs numpy, of the extra ``cogwork[embeddings]``); a search of which the model
    fails goes by words alone, ``trouble`` says why, and the model is left alone for a while. ``cache`` is a file that keeps
    vectors between processes.

    Raises:
        ImportError: embeddings are given and numpy is not installed.
    """

    def __init__(
        self, tools: Iterable[Tool] = (), *, embeddings: Embeddings | None = None, cache: Path | None = None
    ) -> None:
        self._tools: dict[str, Tool] = {}
        self._digests: dict[str, str] = {}
        self._lexical = Lexical()
        self._meaning = None if embeddings is None else _meaning(embeddings, cache)
        self._unlearnt: tuple[set[str], dict[str, Wording]] = (set(), {})
        self._breaker = Breaker(service="embeddings", threshold=1)
        self._lock = threading.RLock()
        self.trouble = ""
        """Why the last search went by words alone although a model is given; empty where it did not."""
        self.update(tools)

    def __len__(self) -> int:
        return len(self._tools)

    def update(self, tools: Iterable[Tool]) -> int:
        """Take over this list of tools: of those that say the same as before nothing is done anew. How many changed."""
        listed = {tool.name: tool for tool in tools}
        with self._lock:
            gone = {name for name in self._tools if name not in listed}
            come: dict[str, Wording] = {}
            for name, tool in listed.items():
                if self._tools.get(name) is not tool and self._digests.get(name) != (text := wording(tool)).digest:
                    come[name] = text
            changed = gone | {name for name in come if name in self._tools}
            self._tools = listed
            if gone or come:
                self._take(changed, come)
        return len(gone) + len(come)

    def _take(self, gone: set[str], come: Mapping[str, Wording]) -> None:
        self._lexical.change(gone, come)
        for name in gone:
            del self._digests[name]
        self._digests |= {name: text.digest for name, text in come.items()}
        if self._meaning is not None:
            left, learn = self._unlearnt
            self._unlearnt = left | gone, {name: text for name, text in learn.items() if name not in gone} | dict(come)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        effect: Effect | Collection[Effect] | None = None,
        allowed: Iterable[str] | None = None,
    ) -> list[Hit]:
        """At most ``k`` tools that fit the query, best first; those of one score by name.

        ``effect`` leaves only tools with that effect, or one of those; ``allowed`` only those of these names or patterns.
        Any text is a query; nothing in it is syntax.
        """
        with self._lock:
            among = self._among(effect, allowed)
            by_words = {name: score for name, score in self._lexical.scores(query).items() if name in among}
            by_meaning = {name: like for name, like in self._likenesses(query).items() if name in among}
            scores = fused(by_words, by_meaning)
            best = sorted(scores, key=lambda name: (-round(scores[name], 9), name))[: max(0, min(k, MAX_HITS))]
            return [Hit(name, round(scores[name], 4), self._tools[name]) for name in best]

    def _among(self, effect: Effect | Collection[Effect] | None, allowed: Iterable[str] | None) -> Collection[str]:
        names: Collection[str] = self._tools.keys() if allowed is None else _matching(self._tools, allowed)
        if effect is None:
            return names
        effects = {effect} if isinstance(effect, str) else set(effect)
        return {name for name in names if self._tools[name].effect in effects}

    def _likenesses(self, query: str) -> Mapping[str, float]:
        """The likeness of every tool to the query; empty without a model, and where it fails."""
        meaning = self._meaning
        if meaning is None or not query.strip():
            return {}
        try:
            return self._guarded(lambda: self._learnt(meaning).scores(query))
        except Fault as fault:
            self.trouble = fault.message
            _log.info("Tools are searched by words alone: %s", fault.message)
            return {}

    def _learnt(self, meaning: Meaning) -> Meaning:
        gone, come = self._unlearnt
        if gone or come:
            meaning.change(gone, come)
            self._unlearnt = set(), {}
        return meaning

    def _guarded(self, ask: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        """What the model answers, unless it failed a moment ago."""
        self._breaker.enter("model")
        try:
            answered = ask()
        except Exception as error:
            # An embedding model is anybody's code: whatever it raises, the search by words still answers.
            fault = Fault("unavailable", f"the embedding model failed: {type(error).__name__}", origin="model")
            self._breaker.failed(fault)
            raise fault from error
        self._breaker.succeeded()
        self.trouble = ""
        return answered


def _meaning(embeddings: Embeddings, cache: Path | None) -> Meaning:
    try:
        from cogwork.tools.index.meaning import Meaning, VectorCache
    except ImportError as error:
        raise ImportError("Search by meaning needs numpy: install cogwork[embeddings]", name="numpy") from error
    model = next((m for at in ("model", "model_name") if isinstance(m := getattr(embeddings, at, None), str)), None)
    if cache is None or model is None:
        return Meaning(embeddings)
    return Meaning(embeddings, VectorCache(cache, f"{type(embeddings).__qualname__}:{model}"))


def _matching(names: Collection[str], allowed: Iterable[str]) -> set[str]:
    given = set(allowed)
    patterns = [pattern for pattern in given if re.search(r"[*?\[]", pattern)]
    return {name for name in names if name in given or any(fnmatchcase(name, pattern) for pattern in patterns)}
