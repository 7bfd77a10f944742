"""``${NAME}`` and ``${NAME:-otherwise}`` in texts of the settings, which stand for variables of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_]\w*)(?::-([^}]*))?\})")


def expanded(value: Any, environment: Mapping[str, str]) -> Any:
    """The value with every reference in its texts replaced; ``$$`` is a dollar. What a variable holds is not read again.

    Raises:
        ValueError: a variable is not set, and the reference has no other value.
    """
    match value:
        case str():
            return _REFERENCE.sub(lambda found: _meaning(found, environment), value)
        case dict():
            return {name: expanded(each, environment) for name, each in value.items()}
        case list() | tuple():
            return [expanded(each, environment) for each in value]
        case _:
            return value


def _meaning(found: re.Match[str], environment: Mapping[str, str]) -> str:
    dollar, name, otherwise = found.groups()
    if dollar:
        return "$"
    if environment.get(name):
        return environment[name]
    if otherwise is None:
        raise ValueError(f"the environment variable {name} is not set (write ${{{name}:-otherwise}} to do without)")
    return str(otherwise)
