"""Forms made from JSON Schemas: which controls there are, and what somebody has filled in, as JSON.

A control is named by the JSON pointer of its value. Shapes that no control fits are filled in as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from state.schemas import faults, with_defaults
from state.values import Json

Kind: TypeAlias = Literal["text", "long", "secret", "number", "yes_no", "choice", "several", "lines", "group", "json"]
Given: TypeAlias = Mapping[str, Sequence[str]]
"""What was filled in, by the name of its control."""
DEEPEST: Final = 5
MOST: Final = 60
"""Choices that are offered one by one."""
_LONG: Final = 200
_ROOMY: Final = ("group", "lines", "json", "several")
"""What stands after the others: a schema that was kept does not say in which order its fields were written."""
_TYPES: Final = {"date": "date", "date-time": "text", "email": "email", "uri": "url", "time": "time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control, or a group of them; ``typed`` is what stands in it, ``faults`` what is wrong with that."""

    name: str
    label: str
    kind: Kind
    required: bool = False
    described: str = ""
    typed: tuple[str, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    input: str = "text"
    inside: tuple[Control, ...] = ()
    faults: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def first(self) -> str:
        """What stands in a control that holds one text."""
        return self.typed[0] if self.typed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A form as it came back: its value, or what is wrong; ``control`` shows it again."""

    value: Json
    control: Control
    faults: tuple[str, ...] = ()


def control(schema: Mapping[str, Any], prefix: str = "", value: Json = None) -> Control:
    """The form of a schema, with the defaults or, where one is given, a value filled in."""
    return _control(schema, schema, prefix, "", value, required=True, depth=0)


def filled(schema: Mapping[str, Any], given: Given, prefix: str = "") -> Filled:
    """What was filled in, checked against the schema."""
    form = _refilled(control(schema, prefix), given)
    wrong: dict[str, list[str]] = {}
    value = _read(form, wrong)
    if value is _NOTHING:
        value = {} if schema.get("type") == "object" else None
    if not wrong:
        whole = dict(schema)
        for sentence in faults(whole, with_defaults(whole, value)):
            at, _, what = sentence.partition(": ")
            wrong.setdefault(_nearest(form, prefix + (at if at.startswith("/") else "")), []).append(what or sentence)
    told = tuple(f"{at.removeprefix(prefix) or 'the answer'}: {each}" for at, some in wrong.items() for each in some)
    return Filled(value=value, control=_faulty(form, wrong), faults=told)


# -- controls --------------------------------------------------------------------------------------------------------


def _control(
    root: Mapping[str, Any], schema: Any, name: str, label: str, value: Json, *, required: bool, depth: int
) -> Control:
    plain, nullable = _plain(root, schema)
    if value is None and "default" in plain:
        value = plain["default"]
    made = Control(
        name=name,
        label=str(plain.get("title") or label),
        kind="json",
        required=required and not nullable and "default" not in plain,
        described=str(plain.get("description") or ""),
        hint=_hint(plain),
        schema=plain,
    )
    if isinstance(options := plain.get("enum"), list) or "const" in plain:
        return _choice(made, options if isinstance(options, list) else [plain["const"]], value)
    match plain.get("type"):
        case "string":
            return _text(made, value)
        case "integer" | "number":
            return replace(made, kind="number", typed=_as_typed(value))
        case "boolean":
            return replace(made, kind="yes_no", typed=() if value is None else ("true" if value else "false",))
        case "array":
            return _list(root, made, value)
        case "object" if isinstance(fields := plain.get("properties"), Mapping) and depth < DEEPEST and _whole(plain):
            return _group(root, made, fields, value, depth)
        case _:
            return replace(made, typed=() if value is None else (json.dumps(value, ensure_ascii=False, indent=2),))


def _whole(schema: Mapping[str, Any]) -> bool:
    """Whether its fields are all that an object may hold, or at least some are named."""
    return bool(schema["properties"]) or schema.get("additionalProperties") is False


def _group(root: Mapping[str, Any], made: Control, fields: Mapping[str, Any], value: Json, depth: int) -> Control:
    needed = made.schema.get("required") or ()
    known: Mapping[str, Json] = value if isinstance(value, Mapping) else {}
    inside = tuple(
        _control(
            root,
            inner,
            f"{made.name}/{_escaped(key)}",
            key,
            known.get(key),
            required=key in needed,
            depth=depth + 1,
        )
        for key, inner in fields.items()
    )
    place = {key: index for index, key in enumerate(needed)}
    last = len(place)
    return replace(
        made,
        kind="group",
        inside=tuple(sorted(inside, key=lambda each: (place.get(_key(each.name), last), each.kind in _ROOMY))),
    )


def _text(made: Control, value: Json) -> Control:
    schema, typed = made.schema, _as_typed(value)
    if schema.get("writeOnly") or schema.get("format") == "password":
        return replace(made, kind="secret")
    most = schema.get("maxLength")
    long = (isinstance(most, int) and most > _LONG) or schema.get("format") in ("markdown", "multiline", "textarea")
    if long or any("\n" in each or len(each) > 80 for each in typed):
        return replace(made, kind="long", typed=typed)
    return replace(made, kind="text", typed=typed, input=_TYPES.get(str(schema.get("format")), "text"))


def _choice(made: Control, options: Sequence[Json], value: Json) -> Control:
    if len(options) > MOST * 10:
        return made
    choices = tuple((json.dumps(each, ensure_ascii=False), _shown(each)) for each in options)
    only = json.dumps(options[0], ensure_ascii=False) if len(options) == 1 and made.required else None
    typed = (json.dumps(value, ensure_ascii=False),) if value in options and value is not None else ()
    return replace(made, kind="choice", choices=choices, typed=typed or ((only,) if only else ()))


def _list(root: Mapping[str, Any], made: Control, value: Json) -> Control:
    items, _ = _plain(root, made.schema.get("items"))
    known = value if isinstance(value, list) else []
    options = items.get("enum")
    if isinstance(options, list) and len(options) <= MOST:
        choices = tuple((json.dumps(each, ensure_ascii=False), _shown(each)) for each in options)
        return replace(
            made, kind="several", choices=choices, typed=tuple(json.dumps(v, ensure_ascii=False) for v in known)
        )
    simple = items.get("type") in ("string", "integer", "number")
    if simple and "prefixItems" not in made.schema and not any("\n" in str(each) for each in known):
        said = made.hint or "one in each line"
        return replace(made, kind="lines", typed=("\n".join(map(str, known)),) if known else (), hint=said)
    return replace(made, typed=() if value is None else (json.dumps(value, ensure_ascii=False, indent=2),))


def _plain(root: Mapping[str, Any], schema: Any) -> tuple[Mapping[str, Any], bool]:
    """The schema without references and without the alternative of null, and whether it had that."""
    nullable = False
    for _ in range(16):
        if not isinstance(schema, Mapping):
            return {}, nullable
        if isinstance(reference := schema.get("$ref"), str):
            schema = {**_at(root, reference), **{key: each for key, each in schema.items() if key != "$ref"}}
            continue
        several = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(several, list) and {"type": "null"} in several and len(several) == 2:
            other: Any = next((each for each in several if each != {"type": "null"}), {})
            rest = {key: each for key, each in schema.items() if key not in ("anyOf", "oneOf")}
            schema, nullable = {**(other if isinstance(other, Mapping) else {}), **rest}, True
            continue
        kinds = schema.get("type")
        if isinstance(kinds, list) and len(kinds) == 2 and "null" in kinds:
            schema, nullable = {**schema, "type": next(each for each in kinds if each != "null")}, True
            continue
        return schema, nullable
    return {}, nullable


def _at(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) and reference.startswith("#") else {}


def _hint(schema: Mapping[str, Any]) -> str:
    said = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "more than {}",
        "exclusiveMaximum": "less than {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "multipleOf": "a multiple of {}",
        "pattern": "in the form {}",
    }
    told = [words.format(schema[key]) for key, words in said.items() if isinstance(schema.get(key), int | float | str)]
    if schema.get("type") == "integer":
        told.insert(0, "a whole number")
    if schema.get("format") == "date-time":
        told.append("such as 2026-11-28T12:00:00Z")
    return ", ".join(told)


def _shown(value: Json) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _as_typed(value: Json) -> tuple[str, ...]:
    return () if value is None else (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


# -- what was filled in ----------------------------------------------------------------------------------------------

_NOTHING: Final[Any] = object()


def _refilled(form: Control, given: Given) -> Control:
    """The form with what was filled in."""
    typed = tuple(each.replace("\r\n", "\n") for each in given.get(form.name, ()))
    inside = tuple(_refilled(each, given) for each in form.inside)
    return replace(form, typed=typed, inside=inside)


def _read(form: Control, wrong: dict[str, list[str]]) -> Any:
    """The value of a control; ``_NOTHING`` where nothing was filled in."""
    text = form.first
    match form.kind:
        case "group":
            read = {_key(each.name): _read(each, wrong) for each in form.inside}
            held = {key: each for key, each in read.items() if each is not _NOTHING}
            return held if held or form.required else _NOTHING
        case "several":
            return [_json(each) for each in form.typed] if form.typed or form.required else _NOTHING
        case "lines":
            lines = [line.strip() for line in text.split("\n") if line.strip()]
            numbers = (form.schema.get("items") or {}).get("type") in ("integer", "number")
            return [_number(each) if numbers else each for each in lines] if lines or form.required else _NOTHING
        case _ if not text.strip():
            return _NOTHING
        case "number":
            return _number(text)
        case "yes_no":
            return {"true": True, "false": False}.get(text, text)
        case "choice":
            return _json(text)
        case "json":
            return _from_json(form, text, wrong)
        case _:
            return text


def _from_json(form: Control, text: str, wrong: dict[str, list[str]]) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        if not form.schema.get("type"):
            return text
        wrong.setdefault(form.name, []).append(f"it is no JSON: {err}")
        return _NOTHING


def _number(text: str) -> Json:
    """The number; text that is none stays as it is, so that what is wrong can be said of it."""
    plain = text.strip()
    if len(plain) > 400:
        return text
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        number = float(plain)
    except ValueError:
        return text
    return number if number - number == 0 else text


def _json(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _key(name: str) -> str:
    return name.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _nearest(form: Control, at: str) -> str:
    """The control that a fault is of: the one at its place, or else the closest around it."""
    names = _names(form)
    while at not in names and "/" in at:
        at = at.rpartition("/")[0]
    return at if at in names else form.name


def _names(form: Control) -> set[str]:
    return {form.name, *(name for each in form.inside for name in _names(each))}


def _faulty(form: Control, wrong: Mapping[str, Sequence[str]]) -> Control:
    inside = tuple(_faulty(each, wrong) for each in form.inside)
    return replace(form, faults=tuple(wrong.get(form.name, ())), inside=inside)
