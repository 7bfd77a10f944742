"""The command ``config``: which settings hold, and where each comes from."""

from __future__ import annotations

import json as _json
import os
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import MISSING, Refusal
from state.values import Json

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from cogwork.origins import Sources
    from cogwork.settings import Settings

HIDDEN: Final = "********"
_TELLING: Final = re.compile(r"(?i)key|token|secret|password|passwd|authorization|credential|cookie")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_VARIABLES: Final = re.compile(r"(?:[A-Za-z]+ )?\$\{[A-Za-z_]\w*\}")


def config(
    name: Annotated[str | None, typer.Argument(metavar="[SETTING]", help="Only this one.", show_default=False)] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain", metavar="SETTING", help="What one means, may be, is, and where each part comes from."
        ),
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="All settings with their defaults and meanings.")
    ] = False,
    json: context.Json = False,
) -> None:
    """The settings that hold here, and where each comes from. Secrets are not shown."""
    if defaults:
        _tell_defaults(json=json)
        return
    rows = effective(context.opened().settings)
    wanted = explain or name
    chosen = rows if wanted is None else _chosen(rows, wanted)
    if json:
        render.write_json(chosen)
    elif explain is not None:
        for key, row in chosen.items():
            _explain(key, row)
    else:
        table: list[list[str | tuple[str, str]]] = [
            [(key, "cyan"), _json.dumps(row["value"], ensure_ascii=False), (str(row["source"]), "dim")]
            for key, row in chosen.items()
        ]
        render.columns(table, ("SETTING", "VALUE", "SOURCE"))


def _chosen(rows: Mapping[str, dict[str, Json]], wanted: str) -> dict[str, dict[str, Json]]:
    """The setting of that name, those of the section, or the setting that it is a part of."""
    if found := {key: row for key, row in rows.items() if key == wanted or key.startswith(f"{wanted}.")}:
        return found
    outer = wanted.partition(".")[0]
    if outer != wanted and outer in rows:
        return {outer: rows[outer]}
    import difflib

    close = difflib.get_close_matches(wanted, rows, 1)
    raise Refusal(f"There is no setting {wanted!r}", f"did you mean {close[0]!r}?" if close else "", MISSING)


def _explain(key: str, row: Mapping[str, Any]) -> None:
    render.say((key, "bold cyan"), f"  {row['description']}")
    told = {"allowed": row["allowed"], "default": row["default"], "variable": row["variable"]}
    lines = {**told, "value": _json.dumps(row["value"], ensure_ascii=False), "from": row["source"]}
    for word, text in lines.items():
        render.say((f"  {word:<9}", "dim"), str(text))
    for place, source in row["parts"].items():
        render.say(("    ", ""), (place, "cyan"), f"  {source}")


def _tell_defaults(*, json: bool) -> None:
    from cogwork.settings import Settings

    rows = {
        name: {"default": default_of(info), "variable": variable_of(name, info), "description": info.description or ""}
        for name, info in leaves(Settings)
    }
    if json:
        render.write_json(rows)
        return
    table: list[list[str | tuple[str, str]]] = [
        [(name, "cyan"), row["default"], (row["variable"], "dim"), row["description"]] for name, row in rows.items()
    ]
    render.columns(table, ("SETTING", "DEFAULT", "VARIABLE", "MEANING"))


def effective(settings: Settings) -> dict[str, dict[str, Json]]:
    """Each setting, those of sections one by one, with its value, secrets hidden, and where that comes from.

    A text with variables is shown as its file has it. ``parts`` are the places within a table, each with its own source.
    """
    from cogwork.configuration import layers, merged
    from cogwork.origins import Sources

    files = layers(os.environ)
    written = merged(tuple(layer.written for layer in files))
    sources = Sources(layers=files, environment=os.environ)
    rows: dict[str, dict[str, Json]] = {}
    for name, info in leaves(type(settings)):
        path = name.split(".")
        alias = info.validation_alias if isinstance(info.validation_alias, str) else None
        value = reduce(getattr, path, settings)
        source = sources.origin(path, alias)
        raw = None if sources.variable(path, alias) else _within(written, [alias or path[0], *path[1:]])
        told = "forever" if value is None and _is_lasting(info) else shown(value, raw, path[-1])
        parts = dict(_parts(sources, path, told))
        origins = [origin.partition(":")[0] for origin in parts.values()]
        rows[name] = {
            "value": told,
            "source": ", ".join(dict.fromkeys(origins)) if len(set(origins)) > 1 else source or "default",
            "default": default_of(info),
            "variable": variable_of(name, info),
            "description": info.description or "",
            "allowed": allowed(info),
            "parts": parts,
        }
    return rows


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The settings by their names; those of sections, one by one, with the section's name before them."""
    from cogwork.sections import Section

    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def variable_of(name: str, info: FieldInfo) -> str:
    """The environment variable of a setting."""
    alias = info.validation_alias
    return alias if isinstance(alias, str) else f"COGWORK_{name.replace('.', '__').upper()}"


def default_of(info: FieldInfo) -> str:
    """A setting's default as its file would have it."""
    default = info.get_default(call_default_factory=True)
    if default is None:
        return "forever" if _is_lasting(info) else "none"
    if _is_duration(info):
        return _json.dumps(_duration(default))
    plain = [str(each) for each in default] if isinstance(default, list) else default
    return _json.dumps(plain if isinstance(plain, list | dict | bool | int | float) else str(plain), ensure_ascii=False)


def allowed(info: FieldInfo) -> str:
    """What a setting may be, in words."""
    from pydantic import TypeAdapter

    if _is_duration(info):
        return f"a duration such as 90d, 12h or 600 (seconds){', or forever' if _is_lasting(info) else ''}"
    made: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    schema = TypeAdapter(made).json_schema(mode="validation")
    return _words(schema, schema.get("$defs", {}))


def _is_lasting(info: FieldInfo) -> bool:
    from cogwork.sections import lasting

    return any(getattr(each, "func", None) is lasting for each in info.metadata)


def _is_duration(info: FieldInfo) -> bool:
    from cogwork.sections import period

    return _is_lasting(info) or any(getattr(each, "func", None) is period for each in info.metadata)


def _duration(seconds: float) -> str:
    """A duration as people write it, in its largest whole unit."""
    units = {"d": 86400, "h": 3600, "m": 60}
    return next((f"{seconds / size:g}{unit}" for unit, size in units.items() if seconds % size == 0), f"{seconds:g}s")


def _words(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(each, named) for each in schema["anyOf"] if each.get("type") != "null"))
    if "$ref" in schema:
        fields = named.get(schema["$ref"].rpartition("/")[2], {}).get("properties", {})
        return f"a table of {', '.join(fields)}" if fields else "a table"
    kind = {"array": "a list", "object": "a table by name", "integer": "a whole number", "number": "a number"}
    words = kind.get(schema.get("type", ""), {"boolean": "true or false"}.get(schema.get("type", ""), "a text"))
    if isinstance(inner := schema.get("additionalProperties"), Mapping):
        words += f", each {_words(inner, named)}"
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return " ".join([words, *(f"{word} {schema[key]}" for key, word in bounds.items() if key in schema)])


def _parts(sources: Sources, path: list[str], value: Json) -> Iterator[tuple[str, str]]:
    """The places within a table, each with its source."""
    from cogwork.origins import dotted

    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        place = [*path, key]
        if isinstance(inner, dict) and inner:
            yield from _parts(sources, place, inner)
        elif (origin := sources.origin(place)) is not None:
            yield dotted(place), origin


def _within(values: Any, path: list[str]) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def shown(value: Any, written: Any, key: str) -> Json:
    """A value as it may be seen: ``written`` is what stands in the file, where it comes from one."""
    from pydantic import BaseModel, SecretStr

    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
    if isinstance(value, Mapping):
        inner = written if isinstance(written, Mapping) else {}
        return {str(name): shown(each, inner.get(name), str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        items = written if isinstance(written, list) and len(written) == len(value) else [None] * len(value)
        return [shown(each, item, key) for each, item in zip(value, items, strict=True)]
    if value is None or isinstance(value, bool | int | float):
        return written if isinstance(written, str) and "${" in written else value
    return _text(str(value), written, key)


def _text(value: str, written: Any, key: str) -> str:
    if isinstance(written, str) and _VARIABLES.fullmatch(written):
        return written
    if _TELLING.search(key):
        return HIDDEN
    return _USERINFO.sub(HIDDEN, written if isinstance(written, str) and "${" in written else value)
