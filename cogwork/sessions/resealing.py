"""Sealing anew what memory holds, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cogwork.sealing.again import AT_ONCE, Progress, text_again
from cogwork.sealing.seals import Seals
from cogwork.sealing.standing import KEY, TABLE, renewed, swept
from cogwork.sessions.covering import LOOKED_FOR, SEALED, SHOWN, opened_value, place_of, sealed_value
from cogwork.sessions.store import MemoryStore


def resealed(store: MemoryStore) -> Iterator[Progress]:
    """Seal all values that are not under the first key.

    Raises:
        EngineError: ``database_error``; a value cannot be opened.
    """
    sqlite = hasattr(store, "path")
    mark, later = ("?", "") if sqlite else ("%s", " for update")
    after = ("", "")
    while True:
        with store._cursor() as cursor:  # type: ignore[attr-defined]
            beyond = f"where (prefix, key) > ({mark}, {mark})"
            query = f"select prefix, key, value from store {beyond} order by prefix, key limit {AT_ONCE}{later}"
            rows = [_row(row) for row in cursor.execute(query, after).fetchall()]
            written = 0
            for prefix, key, value in rows:
                if (again := _again(store.seals, tuple(prefix.split(".")), key, value)) is not None:
                    change = f"update store set value = {mark} where prefix = {mark} and key = {mark}"
                    cursor.execute(change, (json.dumps(again), prefix, key))
                    written += 1
        yield Progress("memory", len(rows), written)
        if len(rows) < AT_ONCE:
            return
        after = rows[-1][:2]


def settled(store: MemoryStore) -> int:
    """Once all is sealed: say that only the first key is needed; 1 where others hold up that the file is written anew."""
    sqlite = hasattr(store, "path")
    mark = "?" if sqlite else "%s"
    with store._cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute(f"delete from {TABLE} where name like {mark}", (f"{KEY}%",))
        add = f"insert into {TABLE} (name, value) values ({mark}, {mark}) on conflict (name) do update set value = excluded.value"
        for row in renewed(store.seals).items():
            cursor.execute(add, row)
    return int(sqlite and not swept(store.conn))  # type: ignore[attr-defined]


def _row(row: Any) -> tuple[str, str, Mapping[str, Any]]:
    prefix, key, value = row.values() if isinstance(row, Mapping) else row
    return prefix, key, value if isinstance(value, Mapping) else json.loads(value)


def _again(seals: Seals, namespace: tuple[str, ...], key: str, value: Mapping[str, Any]) -> dict[str, Any] | None:
    text = value.get(SEALED)
    if isinstance(text, str):
        again = text_again(seals, text, place_of(namespace, key))
        return None if again is None else {**value, SEALED: again}
    plain = opened_value(seals, namespace, key, value)
    if namespace[0] == LOOKED_FOR and isinstance(mark := plain.get(SHOWN), str):
        plain[SHOWN] = seals.name(mark.encode())[: len(mark)]
    return sealed_value(seals, namespace, key, plain)
