"""Faults that the model finds in a document, led back to the place where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from graphs.language.dialects.canonical import alias_of, union_members
from graphs.language.dialects.draft import Draft, under
from graphs.language.source import brief
from graphs.language.spec import BLOCKS, RESERVED, WorkflowSpec
from graphs.language.triggers import Starting
from graphs.language.wording import Found, report, report_unfit
from nodes.base import Step
from state.values import Json

MAX_FAULTS: Final = 1_000
_UNFIT_IN_NAMES: Final = re.compile(r"[.\[\]/:|\s]")


def report_faults(error: ValidationError, draft: Draft) -> None:
    """Note each of the model's errors as a problem; what several alternatives say of one value becomes one problem."""
    errors = error.errors(include_url=False)
    found = [_placed(details, draft.value) for details in errors[:MAX_FAULTS]]
    if len(errors) > MAX_FAULTS:
        more = f"There are more faults than the first {MAX_FAULTS}"
        draft.report("too_many_problems", more, "", "Mend these first.")
    for _, group in groupby(found, key=lambda f: (f.union, f.pointer if f.union is None else "")):
        members = list(group)
        chosen = members if members[0].union is None else _of_the_alternative_meant(members)
        if len(chosen) > 1 and len({(f.pointer, f.fault in ("missing", "extra_forbidden")) for f in chosen}) == 1:
            if chosen[0].fault not in ("missing", "extra_forbidden"):
                report_unfit(chosen, draft)
                continue
        for one in chosen:
            report(one, draft)


def report_names(draft: Draft) -> None:
    """Note the names that no step may bear, in every block and loop."""
    for pointer, name in _names(draft.value, ""):
        if not name or _UNFIT_IN_NAMES.search(name):
            what = f"The name {brief(name)} holds a character that names may not hold" if name else "A name is empty"
            hint = "Use letters, digits, _ and -; no spaces and none of . / : | [ ]"
            draft.report("bad_name", what, pointer, hint, key=True)
        elif name.startswith("__") and name.endswith("__"):
            what = f"Names such as {brief(name)} are LangGraph's own"
            draft.report("bad_name", what, pointer, "Take away the underscores around it.", key=True)
        elif name in RESERVED:
            hint = f"Rename it, for example {name + '_step'!r}."
            draft.report("reserved_name", f"{name!r} is a word of the expressions", pointer, hint, key=True)
        elif name in BLOCKS:
            hint = f"Rename it, for example {name + '_step'!r}."
            draft.report("reserved_name", f"{name!r} names a part of every run", pointer, hint, key=True)


def _names(block: Json, pointer: str) -> Iterator[tuple[str, str]]:
    if not isinstance(block, Mapping):
        return
    nodes = block.get("nodes")
    for name, step in nodes.items() if isinstance(nodes, Mapping) else ():
        at = under(pointer, "nodes", name)
        yield at, name
        yield from _names(step, at)
    if not pointer:
        for inner in ("on_failure", "finally"):
            yield from _names(block.get(inner), f"/{inner}")


def _placed(details: ErrorDetails, document: Json) -> Found:
    """Follow the error's way through the model and the document at once, so that alternatives are told from keys."""
    annotation: Any = WorkflowSpec
    pointer, value, union = "", document, None
    model: type[BaseModel] = WorkflowSpec
    for element in details["loc"]:
        members = union_members(annotation)
        if len(members) > 1:
            tagged = any(isinstance(m, type) and issubclass(m, Step | Starting) for m in members)
            union = union if tagged or union is not None else pointer
            annotation = _alternative(members, str(element))
            model = annotation if _is_model(annotation) else model
            continue
        annotation = members[0]
        model = annotation if _is_model(annotation) else model
        annotation = _inner(annotation, element)
        if element != details["loc"][-1] or details["type"] not in ("missing", "extra_forbidden"):
            value = _below(value, element)
        pointer = under(pointer, element)
    return Found(
        fault=details["type"],
        context=details.get("ctx", {}),
        pointer=pointer,
        value=value,
        model=model,
        union=union,
    )


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _alternative(members: list[Any], tag: str) -> Any:
    for member in members:
        if getattr(member, "__name__", "") == tag or (get_origin(member) is list and tag.startswith("list[")):
            return member
    return Any


def _inner(annotation: Any, element: str | int) -> Any:
    if _is_model(annotation):
        named = {alias_of(annotation, name): info.annotation for name, info in annotation.model_fields.items()}
        return named.get(str(element), Any)
    arguments = get_args(annotation)
    return arguments[-1] if arguments and get_origin(annotation) in (list, dict) else Any


def _below(value: Json, element: str | int) -> Json:
    if isinstance(value, Mapping) and element in value:
        return value[element]
    if isinstance(value, list) and isinstance(element, int) and element < len(value):
        return value[element]
    return None


def _of_the_alternative_meant(found: list[Found]) -> list[Found]:
    """Of what all alternatives say, what the one says that has the value's own shape."""
    inside = [f for f in found if f.pointer != f.union]
    value = next((f.value for f in found if f.pointer == f.union), None)
    return inside if inside and isinstance(value, dict | list | None) else [f for f in found if f.pointer == f.union]
