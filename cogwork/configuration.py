"""The files that settings come from: ``cogwork.toml``, over it the one of the environment, and variables within their texts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cogwork.toml_places import places

FILE: Final = Path("cogwork.toml")
WHICH: Final = "COGWORK_ENV"
"""The environment variable that names the environment: with ``prod``, ``cogwork.prod.toml`` goes over ``cogwork.toml``."""
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][\w-]{0,63}")
_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_]\w*)(?P<or>:-(?P<default>[^}]*))?\}|\$\{")


class ConfigurationError(ValueError):
    """A file of settings that cannot be used: which, where in it, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One file: what stands in it and on which lines, and the same with its variables replaced, which are named too."""

    file: str
    written: Mapping[str, Any]
    values: Mapping[str, Any]
    lines: Mapping[tuple[str | int, ...], int] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()


def layers(environment: Mapping[str, str], folder: Path = Path()) -> tuple[Layer, ...]:
    """The files of the folder that settings come from, the one that goes over the others last.

    Raises:
        ConfigurationError: a file cannot be read, an environment has none, or a variable that a file needs is not set.
    """
    found = [_layer(folder / FILE, environment)] if (folder / FILE).is_file() else []
    if name := environment.get(WHICH, ""):
        found.append(_layer(_own(folder, name), environment))
    return tuple(found)


def merged(parts: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """The tables as one: later values go over earlier ones, tables go into tables."""
    whole: dict[str, Any] = {}
    for part in parts:
        whole = _over(whole, part)
    return whole


def _own(folder: Path, name: str) -> Path:
    if not _ENVIRONMENT.fullmatch(name):
        raise ConfigurationError(f"{WHICH} is {name[:80]!r}: it must be a name of letters, digits, '_' and '-'")
    path = folder / f"{FILE.stem}.{name}{FILE.suffix}"
    if not path.is_file():
        raise ConfigurationError(f"{WHICH} is {name!r}, but there is no {path.name}: write it, or unset {WHICH}")
    return path


def _layer(path: Path, environment: Mapping[str, str]) -> Layer:
    try:
        text = path.read_text(encoding="utf-8")
        written = tomllib.loads(text)
    except (OSError, ValueError) as err:
        raise ConfigurationError(f"{path.name} cannot be read: {err}") from err
    return Layer(
        file=path.name,
        written=written,
        values=_expanded(written, environment, path.name, ""),
        lines=places(text),
        variables=frozenset(found["name"] for found in _VARIABLE.finditer(text) if found["name"]),
    )


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(below)
    for key, value in above.items():
        old = made.get(key)
        made[key] = _over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return made


def _expanded(value: Any, environment: Mapping[str, str], file: str, place: str) -> Any:
    """The value with the variables in its texts replaced; what they hold is not looked at again."""
    if isinstance(value, dict):
        dot = "." if place else ""
        return {key: _expanded(inner, environment, file, f"{place}{dot}{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, environment, file, f"{place}[{index}]") for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name = found["name"]
        if name is None:
            message = "'${' must be ${NAME} or ${NAME:-default}; write $${ for the characters themselves"
            raise ConfigurationError(f"{file}: {place}: {message}")
        held = environment.get(name)
        if held is None or (found["or"] and not held):
            if found["or"] is None:
                message = f"the environment variable {name} is not set: set it, or write ${{{name}:-default}}"
                raise ConfigurationError(f"{file}: {place}: {message}")
            return str(found["default"])
        return held

    return _VARIABLE.sub(replaced, value)
