"""Where a setting comes from, down to the leaf; and what is wrong with one, in the words of whoever wrote it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cogwork.configuration import WHICH, ConfigurationError, Layer

PREFIX: Final = "COGWORK_"
TESTS: Final = "COGWORK_TEST_"
"""Begins the variables of tests, which are no settings."""
NESTED: Final = "__"
Path = Sequence[str | int]
_MISSING: Final = object()
_FIELD: Final = re.compile(r'field "(\w+)"')


class WrongSettings(ConfigurationError):
    """Settings that do not fit: ``faults`` has a sentence for each, with its place and no value."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"The settings are wrong: {'; '.join(faults)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All that settings are read from: arguments, over the environment, over files."""

    layers: tuple[Layer, ...]
    environment: Mapping[str, str]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def origin(self, path: Path, alias: str | None = None) -> str | None:
        """Where the value at a path comes from: an argument, a variable, or a file with the line; None for a default."""
        if _held(self.arguments, path) is not _MISSING or (alias and alias in self.arguments):
            return f"the argument {dotted(path)}"
        if (variable := self.variable(path, alias)) is not None:
            return variable
        for layer in reversed(self.layers):
            for known in (tuple(path), (alias, *path[1:])) if alias else (tuple(path),):
                if _held(layer.values, known) is not _MISSING:
                    line = layer.lines.get(known)
                    return f"{layer.file}:{line}" if line else layer.file
        return None

    def variable(self, path: Path, alias: str | None = None) -> str | None:
        """The environment variable that holds the value at a path, by itself or within its JSON."""
        names = {name.upper(): name for name, value in self.environment.items() if value}
        for length in range(len(path), 0, -1):
            name = alias if alias and length == 1 else PREFIX + NESTED.join(map(str, path[:length]))
            found = names.get(name.upper())
            if found is not None and (length == len(path) or _in_json(self.environment[found], path[length:])):
                return found
        return None

    def nearest(self, path: Path, aliases: Mapping[str, str]) -> str:
        """Where a value stands whose place is told with more than its path: that of the longest part of it that is known."""
        for length in range(len(path), 0, -1):
            own = next((name for name, alias in aliases.items() if path[0] in (alias, name)), str(path[0]))
            if (found := self.origin((own, *path[1:length]), aliases.get(own))) is not None:
                return found
        return "the settings"


def dotted(path: Path) -> str:
    """A path as people write it: ``providers.x.models[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def aliases_of(model: type[BaseModel]) -> dict[str, str]:
    """The fields that are written under another name."""
    known = {name: info.validation_alias for name, info in model.model_fields.items()}
    return {name: alias for name, alias in known.items() if isinstance(alias, str)}


def strangers(model: type[BaseModel], sources: Sources) -> list[str]:
    """A sentence for every environment variable that looks like a setting and is none."""
    known = {name.upper(): name for name in model.model_fields if name not in aliases_of(model)}
    used = {name.upper() for layer in sources.layers for name in layer.variables}
    found = []
    for name, value in sorted(sources.environment.items()):
        plain = name.upper()
        if not value or not plain.startswith(PREFIX) or plain.startswith(TESTS) or plain == WHICH or plain in used:
            continue
        first = plain.removeprefix(PREFIX).partition(NESTED)[0]
        if first not in known:
            hint = _hint(f"{PREFIX}{first}", [f"{PREFIX}{each}" for each in known])
            found.append(f"{name}: there is no such setting{hint or '; cogwork config lists all'}")
    return found


def faults(model: type[BaseModel], error: ValidationError, sources: Sources) -> list[str]:
    """A sentence for every fault: its place, what it is, and what is allowed."""
    told = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        path = each["loc"]
        place = sources.nearest(path, aliases_of(model)) if path else "the settings"
        if each["type"] == "extra_forbidden":
            outer = dotted(path[:-1])
            inside = f" in {outer}" if outer else ""
            hint = _hint(str(path[-1]), _names(model, path[:-1]))
            told.append(f"{place}: there is no setting {path[-1]!r}{inside}{hint}")
        else:
            told.append(f"{place}: {dotted(path)}: {each['msg'].removeprefix('Value error, ')}")
    return told


def unread(message: str) -> str:
    """The sentence for a variable that is not the JSON that it has to be, from what the library says of it."""
    found = _FIELD.search(message)
    name = f"{PREFIX}{found[1].upper()}" if found else "A variable of the environment"
    return f'{name}: lists and tables are written as JSON, such as ["a", "b"] or {{"a": 1}}'


def models_within(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation is, may be, or holds as values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for each in get_args(annotation):
            yield from models_within(each)


def _names(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that are allowed in the table at a path."""
    places: list[Any] = [model]
    for part in path:
        inner: list[Any] = []
        for place in places:
            for each in models_within(place):
                if part in each.model_fields:
                    inner.append(each.model_fields[str(part)].annotation)
            if get_origin(place) in (dict, list, tuple):
                inner.append(get_args(place)[-1])
        places = inner or places
    names: list[str] = []
    for place in places:
        for each in models_within(place):
            names += [str(info.validation_alias or info.alias or name) for name, info in each.model_fields.items()]
    return names


def _hint(name: str, known: Iterable[str]) -> str:
    plain = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), plain, 1, 0.6)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def _in_json(text: str, path: Path) -> bool:
    try:
        return _held(json.loads(text), path) is not _MISSING
    except ValueError:
        return False


def _held(values: Any, path: Path) -> Any:
    for part in path:
        if isinstance(values, BaseModel):
            values = {name: getattr(values, name) for name in values.model_fields_set}
        in_list = isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)
        if not in_list and not (isinstance(values, Mapping) and part in values):
            return _MISSING
        values = values[part]
    return values
