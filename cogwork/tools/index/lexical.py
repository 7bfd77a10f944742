"""Tools found by their words: BM25 over SQLite's full-text index, with stems, in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from cogwork.tools.index.wording import Wording, wanted

_TABLE: Final = "CREATE VIRTUAL TABLE tools USING fts5(name, description, parameters, tokenize = 'porter unicode61')"
_WEIGHTS: Final = "3.0, 1.0, 0.5"
"""Of the columns: a word of the name tells most, one of a parameter least."""


class Lexical:
    """The words of tools, by name; not for several threads at once."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._database.execute(_TABLE)
        self._rows: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 1

    def change(self, gone: Iterable[str], come: Mapping[str, Wording]) -> None:
        """Forget those tools, then take up these; a changed one is in both."""
        self._database.execute("BEGIN")
        for name in gone:
            row = self._rows.pop(name)
            del self._names[row]
            self._database.execute("DELETE FROM tools WHERE rowid = ?", (row,))
        for name, text in come.items():
            values = (self._next, text.name, text.description, text.parameters)
            self._database.execute(
                "INSERT INTO tools(rowid, name, description, parameters) VALUES (?, ?, ?, ?)", values
            )
            self._rows[name], self._names[self._next] = self._next, name
            self._next += 1
        self._database.execute("COMMIT")

    def scores(self, query: str) -> dict[str, float]:
        """A score above 0 for each tool that has a word of the query; the scores of two searches do not compare."""
        looked_for = wanted(query)
        if not looked_for:
            return {}
        expression = " OR ".join(f'"{word}"' for word in looked_for)
        found = self._database.execute(
            f"SELECT rowid, -bm25(tools, {_WEIGHTS}) FROM tools WHERE tools MATCH ?", (expression,)
        )
        return {self._names[row]: score for row, score in found}
