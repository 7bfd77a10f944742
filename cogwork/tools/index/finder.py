"""The search over the tools of an application, whose list may change while it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from cogwork.tools.index.tool_index import Hit, ToolIndex
from state.services import Effect, Tools


class Finder:
    """Finds the tools that the settings allow; both are made when they are first needed. A ``ToolFinder``.

    It may ask an embedding model over the network, and so block: call it from a thread where a loop must go on.
    """

    def __init__(self, tools: Callable[[], Tools], index: Callable[[], ToolIndex] = ToolIndex) -> None:
        self._tools, self._make = tools, index
        self._index: ToolIndex | None = None

    @property
    def index(self) -> ToolIndex:
        """The index, up to date with the tools of this moment.

        Raises:
            ImportError: a model for meanings is set, and what it needs is not installed.
        """
        if self._index is None:
            self._index = self._make()
        tools = self._tools()
        self._index.update(tool for name in tools.names() if (tool := tools.find(name)) is not None)
        return self._index

    @property
    def trouble(self) -> str:
        """Why the last search went by words alone although a model is set; empty where it did not."""
        return self._index.trouble if self._index is not None else ""

    def hits(
        self,
        query: str,
        k: int = 10,
        *,
        effect: Effect | Collection[Effect] | None = None,
        allowed: Iterable[str] | None = None,
    ) -> list[Hit]:
        """The tools themselves, as ``ToolIndex.search`` finds them."""
        return self.index.search(query, k, effect=effect, allowed=allowed)

    def search(self, query: str, k: int, among: Sequence[str] | None = None) -> list[str]:
        """The names of at most ``k`` tools that fit the query, best first; only those ``among`` where it is given."""
        return [hit.name for hit in self.hits(query, k, allowed=among)]
