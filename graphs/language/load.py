"""Reads a workflow, in whichever dialect it is written, into its spec; every fault at once, each at its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import ValidationError

from graphs.language.dialects import Dialect, translations
from graphs.language.dialects.canonical import write_out
from graphs.language.dialects.draft import Draft, source_pointer
from graphs.language.dump import to_dict
from graphs.language.placing import report_faults, report_names
from graphs.language.source import MAX_BYTES, Source
from graphs.language.spec import WorkflowSpec
from graphs.language.yaml import read_file, read_json, read_yaml
from state.errors import SpecError
from state.problems import Problem, Severity
from state.services import Tools
from state.values import Json, UnfitValue, normalise

Document: TypeAlias = str | Path | Mapping[str, Json] | WorkflowSpec
"""A file's path, YAML text, the same as a mapping, or a spec."""
_FILE_ENDINGS: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A loaded workflow: its spec, and the way back from a place in the spec to a place in the document.

    ``origin`` maps canonical JSON pointers to the source's pointers where the two differ.
    """

    spec: WorkflowSpec
    source: Source | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    dialect: Dialect = "canonical"
    warnings: tuple[Problem, ...] = ()

    def problem(self, code: str, message: str, pointer: str, hint: str = "", severity: Severity = "error") -> Problem:
        """A problem at a canonical pointer, placed in the document."""
        if self.source is None:
            return Problem(code=code, message=message, pointer=pointer, hint=hint, severity=severity)
        place = source_pointer(self.origin, pointer)
        return self.source.problem(code, message, place, hint, severity=severity)


def load(document: Document, *, file: str = "", select: str | None = None, tools: Tools | None = None) -> Workflow:
    """The workflow of a document; ``select`` names one where the document holds several.

    A string of one line that ends in .yaml, .yml or .json is a file's name, any other string is YAML or JSON. ``tools`` lets
    dialects see what the tools return.

    Raises:
        SpecError: with every fault found.
    """
    source = _source(document, file)
    found = translations(source, tools)
    if select is None and len(found) == 1:
        return _finished(*next(iter(found.values())), document)
    if select in found:
        return _finished(*found[select], document)
    names = ", ".join(found)
    if select is None:
        code, message = "several_workflows", f"The document holds {len(found)} workflows: {names}"
        raise SpecError((source.problem(code, message, "", "Select one of them by its name."),))
    message = f"The document holds no workflow {select!r}"
    raise SpecError((source.problem("several_workflows", message, "", f"It holds {names}."),))


def load_all(document: Document, *, file: str = "") -> dict[str, Workflow]:
    """Every workflow of a document by name.

    Raises:
        SpecError: with every fault found in any of them.
    """
    loaded: dict[str, Workflow] = {}
    problems: list[Problem] = []
    for dialect, draft in translations(_source(document, file)).values():
        try:
            workflow = _finished(dialect, draft, document)
            loaded[workflow.spec.name] = workflow
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(tuple(sorted(set(problems), key=Problem.sort_key)))
    return loaded


def _source(document: Document, file: str) -> Source:
    if isinstance(document, Path) or (isinstance(document, str) and _names_a_file(document)):
        return read_file(document)
    if isinstance(document, str):
        return (read_json if _is_json(document) else read_yaml)(document, file=file)
    data = to_dict(document) if isinstance(document, WorkflowSpec) else document
    try:
        return Source(value=normalise(data), file=file)
    except UnfitValue as err:
        problem = Problem(code="wrong_type", message=f"The mapping is not plain data: {err}", file=file)
        raise SpecError((problem,)) from err


def _names_a_file(text: str) -> bool:
    return "\n" not in text and text.strip().lower().endswith(_FILE_ENDINGS)


def _is_json(text: str) -> bool:
    """Whether the text is JSON, which not all YAML readers take: escaped pairs of surrogates, for one."""
    if not text.lstrip().startswith("{") or len(text) > MAX_BYTES:
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _finished(dialect: Dialect, draft: Draft, document: Document) -> Workflow:
    """The workflow of a translated draft."""
    write_out(draft)
    report_names(draft)
    try:
        spec = WorkflowSpec.model_validate(draft.value, strict=True, by_alias=True, by_name=False)
    except ValidationError as err:
        report_faults(err, draft)
        draft.refuse_errors()
        raise
    draft.refuse_errors()
    textless = isinstance(document, Mapping | WorkflowSpec)
    return Workflow(
        spec=spec,
        source=None if textless and not draft.source.file else draft.source,
        origin=draft.origin,
        dialect=dialect,
        warnings=draft.warnings,
    )
