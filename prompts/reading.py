"""From the text of a prompt file to its template: a head that declares the variables, then ``# System`` and ``# User``."""

from __future__ import annotations

import re
from typing import Final

from prompts.frontmatter import Entry, FrontMatterError, read
from prompts.substitution import MarkError, Part, parse, slots
from prompts.template import PromptError, PromptTemplate
from state.problems import Problem
from state.schemas import faults, schema_fault
from state.services import Variable
from state.values import Schema

MAX_BYTES: Final = 64 * 1024
TYPES: Final = ("string", "number", "integer", "boolean", "array", "object")
_HEAD = re.compile(r"---[ \t]*\n(?P<head>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^# (?P<title>System|User)[ \t]*$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_KEYS: Final = ("name", "description", "version", "mode", "variables")
_SCHEMA_KEYS: Final = ("type", "enum", "items", "properties")
_VARIABLE_KEYS: Final = (*_SCHEMA_KEYS, "required", "default", "description")


def parse_prompt(text: str, *, name: str, file: str = "") -> PromptTemplate:
    """The prompt in the text of one file; ``name`` is what the library calls it.

    Raises:
        PromptError: every fault of the file, with its line.
    """
    reading = _Reading(text.replace("\r\n", "\n"), name, file or name)
    template = reading.template()
    if template is None or reading.problems:
        raise PromptError(tuple(sorted(reading.problems, key=Problem.sort_key)))
    return template


class _Reading:
    """One prompt file being read, with the faults found so far."""

    def __init__(self, text: str, name: str, file: str) -> None:
        self.text, self.name, self.file = text, name, file
        self.problems: list[Problem] = []
        self.slots: list[tuple[str, int]] = []

    def template(self) -> PromptTemplate | None:
        """The prompt, usable where no problem was found."""
        match = _HEAD.match(self.text)
        if len(self.text.encode(errors="replace")) > MAX_BYTES:
            self._problem(f"the file is larger than {MAX_BYTES // 1024} KB", 1)
            return None
        if match is None:
            self._problem("the file must begin with a head between two lines '---'", 1)
            return None
        head = self._head(match["head"])
        variables = self._variables(head.get("variables"))
        system, user = self._sections(match.end())
        said = {key: entry.text or "" for key, entry in head.items()}
        return PromptTemplate(
            name=self.name,
            version=said.get("version") or "1",
            variables=self._used(variables, head),
            description=said.get("description", ""),
            mode=said.get("mode", ""),
            system=system,
            user=user,
        )

    def _problem(self, message: str, line: int) -> None:
        self.problems.append(Problem(code="prompt", message=message, file=self.file, line=line, column=1))

    def _line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def _head(self, text: str) -> dict[str, Entry]:
        try:
            head = read(text)
        except FrontMatterError as error:
            self._problem(error.reason, error.line + 1)
            return {}
        for key, entry in head.items():
            if key not in _KEYS:
                self._problem(f"unknown key {key!r}; the keys are {', '.join(_KEYS)}", entry.line + 1)
            elif key != "variables" and entry.text is None:
                self._problem(f"{key!r} must be text", entry.line + 1)
        told = head.get("name")
        if told is not None and told.text not in (self.name, self.name.rpartition("/")[2]):
            self._problem(f"the file is called {self.name!r}, its head says {told.text!r}", told.line + 1)
        return head

    def _variables(self, declared: Entry | None) -> dict[str, Variable]:
        if declared is None or declared.value is None:
            return {}
        if not isinstance(declared.content, dict):
            self._problem("'variables' must be a mapping of names", declared.line + 1)
            return {}
        found = {name: self._variable(name, entry) for name, entry in declared.content.items()}
        return {name: variable for name, variable in found.items() if variable is not None}

    def _variable(self, name: str, entry: Entry) -> Variable | None:
        told = entry.value if isinstance(entry.content, dict) else {"type": entry.value}
        if wrong := _variable_fault(name, told):
            self._problem(f"variable {name!r}: {wrong}", entry.line + 1)
            return None
        return Variable(
            name=name,
            schema=_variable_schema(told),
            required=told.get("required", "default" not in told),
            default=told.get("default"),
            description=str(told.get("description") or ""),
        )

    def _sections(self, start: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        marks = list(_SECTION.finditer(self.text, start))
        before = self.text[start : marks[0].start() if marks else len(self.text)]
        titles = [mark["title"] for mark in marks]
        if titles not in (["User"], ["System", "User"]) or before.strip():
            self._problem("the body must be '# System' (optional) and then '# User'", self._line(start))
            return (), ()
        ends = [*(mark.start() for mark in marks[1:]), len(self.text)]
        parts = {m["title"]: self._body(m.end(), end) for m, end in zip(marks, ends, strict=True)}
        return parts.get("System", ()), parts["User"]

    def _body(self, start: int, end: int) -> tuple[Part, ...]:
        try:
            parts = parse(self.text[start:end])
        except MarkError as error:
            self._problem(error.reason, self._line(start + error.offset))
            return ()
        self.slots.extend((slot.name, self._line(start + slot.offset)) for slot in slots(parts))
        return parts

    def _used(self, variables: dict[str, Variable], head: dict[str, Entry]) -> tuple[Variable, ...]:
        """The variables; one that is used but not declared, or declared but not used, is a problem."""
        for name, line in self.slots:
            if name not in variables:
                self._problem(f"the body uses {name!r}, which the head does not declare", line)
        used = {name for name, _ in self.slots}
        if self.problems:
            return tuple(variables.values())
        for name, entry in _pairs(head.get("variables")).items():
            if name not in used:
                self._problem(f"the variable {name!r} is declared, but the body does not use it", entry.line + 1)
        return tuple(variables.values())


def _pairs(entry: Entry | None) -> dict[str, Entry]:
    return entry.content if entry is not None and isinstance(entry.content, dict) else {}


def _variable_schema(told: dict[str, object]) -> Schema:
    return {key: told[key] for key in _SCHEMA_KEYS if key in told}


def _variable_fault(name: str, told: dict[str, object]) -> str | None:
    unknown = [key for key in told if key not in _VARIABLE_KEYS]
    schema = _variable_schema(told)
    default = told.get("default")
    if not _NAME.fullmatch(name):
        return "the name must be letters, digits and '_', and not begin with a digit"
    if unknown:
        return f"unknown key {unknown[0]!r}; the keys are {', '.join(_VARIABLE_KEYS)}"
    if told.get("type", "string") not in TYPES or schema_fault(schema):
        return f"the type must be one of {', '.join(TYPES)}, with a usable schema"
    if not isinstance(told.get("required", False), bool):
        return "'required' must be true or false"
    if default is not None and (unfit := faults(schema, default)):
        return f"the default does not fit: {unfit[0]}"
    return None
