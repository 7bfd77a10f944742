"""What a JSON Schema error means, in one sentence for whoever mends the value."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jsonschema.exceptions import relevance


def sentences(error: Any) -> Iterator[str]:
    """The sentences for one jsonschema error: ``<pointer>: <what is wrong, what was expected>``."""
    if error.validator in ("anyOf", "oneOf") and error.context:
        closest = min(error.context, key=relevance)
        inner = next(sentences(closest))
        yield (
            inner if len(error.context) == 1 else f"{inner} (the closest of {len(error.validator_value)} alternatives)"
        )
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        # jsonschema reports one error per missing name; its message begins with that name.
        name = next((n for n in missing if error.message.startswith(repr(n))), missing[0])
        of = error.schema.get("properties", {}).get(name, {})
        yield f"{pointer(error, name)}: is missing{_expected(of)}"
    else:
        yield f"{pointer(error)}: {_WORDS.get(str(error.validator), _as_said)(error)}"


def _expected(schema: Any) -> str:
    types = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(types, str | list):
        return f", expected {types if isinstance(types, str) else ' or '.join(types)}"
    return ""


def pointer(error: Any, *more: str) -> str:
    """Where the error is, as a JSON pointer; ``more`` are further steps down."""
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in (*error.absolute_path, *more)]
    return "".join(f"/{part}" for part in parts) or "the top"


def _shown(error: Any) -> str:
    """The value in question, shortened; hidden where the schema marks it as secret."""
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if schema.get("writeOnly") or schema.get("format") == "password":
        return "the value"
    text = json.dumps(error.instance, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind(value: Any) -> str:
    """The JSON Schema name of the type of ``value``."""
    names = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object" if isinstance(value, dict) else type(value).__name__)


def _not_known(error: Any) -> str:
    name, known = str(error.path[-1]) if error.path else "", list(error.schema.get("properties", {}))
    close = difflib.get_close_matches(name, known, n=1)
    return "is not known here; " + (
        f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known[:20]) or 'none'}"
    )


def _as_said(error: Any) -> str:
    if error.validator is None:
        return "is not allowed here"
    return f"{_shown(error)} does not fit {error.validator}: {json.dumps(error.validator_value, default=str)[:200]}"


def _types(error: Any) -> str:
    return f"{_shown(error)} is {kind(error.instance)}{_expected({'type': error.validator_value})}"


_WORDS: Final[dict[str, Callable[[Any], str]]] = {
    "type": _types,
    "enum": lambda e: f"{_shown(e)} is none of {json.dumps(e.validator_value, ensure_ascii=False)[:300]}",
    "const": lambda e: f"{_shown(e)} is not {json.dumps(e.validator_value, ensure_ascii=False)[:100]}",
    "additionalProperties": _not_known,
    "pattern": lambda e: f"{_shown(e)} does not match the pattern {e.validator_value}",
    "format": lambda e: f"{_shown(e)} is not a valid {e.validator_value}",
    "minimum": lambda e: f"{_shown(e)} is below the minimum {e.validator_value}",
    "maximum": lambda e: f"{_shown(e)} is above the maximum {e.validator_value}",
    "minLength": lambda e: f"{_shown(e)} is shorter than {e.validator_value} characters",
    "maxLength": lambda e: f"{_shown(e)} is longer than {e.validator_value} characters",
    "minItems": lambda e: f"has {len(e.instance)} items, expected at least {e.validator_value}",
    "maxItems": lambda e: f"has {len(e.instance)} items, expected at most {e.validator_value}",
}
