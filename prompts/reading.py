"""From the text of a prompt file to its template: a head that declares what the body uses, then ``# System`` and ``# User``.

A file that says ``partial: true`` has a body without sections, which other files put into theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prompts.declaring import MAX_TOKENS, context_fault, variable
from prompts.frontmatter import Entry, FrontMatterError, read
from prompts.substitution import MarkError, Part, includes, parse, slots, unguarded
from prompts.template import PromptError, PromptTemplate
from state.problems import Problem
from state.services import Variable

MAX_BYTES: Final = 64 * 1024
MAX_VERSION: Final = 64
_HEAD = re.compile(r"---[ \t]*\n(?P<head>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^# (?P<title>System|User)[ \t]*$", re.MULTILINE)
_VERSION = re.compile(r"[\w.-]+")
_TEXTS: Final = ("name", "description", "version", "mode")
_KEYS: Final = (*_TEXTS, "variables", "context", "partials", "partial", "budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPrompt:
    """A prompt file as it stands, before the partials are put in.

    ``lines`` says where the head declares a variable, a ``context.…`` or a partial; ``used`` and ``included`` are the names
    that the body itself uses, with their lines.
    """

    template: PromptTemplate
    file: str
    lines: Mapping[str, int]
    used: tuple[tuple[str, int], ...]
    included: tuple[tuple[str, int], ...]

    def problem(self, message: str, line: int) -> Problem:
        """A problem of this file."""
        return Problem(code="prompt", message=message, file=self.file, line=line, column=1)


def read_prompt(text: str, *, name: str, file: str = "", version: str = "") -> ReadPrompt:
    """The prompt in the text of one file; ``name`` is what the library calls it, ``version`` what its file name says.

    Raises:
        PromptError: every fault of the file, with its line.
    """
    reading = _Reading(text.replace("\r\n", "\n"), name, file or name, version)
    prompt = reading.prompt()
    if prompt is None or reading.problems:
        raise PromptError(tuple(sorted(reading.problems, key=Problem.sort_key)))
    return prompt


class _Reading:
    """One prompt file being read, with the faults found so far."""

    def __init__(self, text: str, name: str, file: str, version: str) -> None:
        self.text, self.name, self.file, self.version = text, name, file, version
        self.problems: list[Problem] = []
        self.used: list[tuple[str, int]] = []
        self.included: list[tuple[str, int]] = []

    def prompt(self) -> ReadPrompt | None:
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
        context, partials = self._names(head, "context"), self._names(head, "partials")
        partial = self._partial(head.get("partial"))
        system, user = self._partial_body(match.end()) if partial else self._sections(match.end())
        lines = {name: entry.line + 1 for name, entry in _pairs(head.get("variables")).items()}
        lines |= {f"context.{name}": line for name, line in context.items()} | partials
        self._check_declared(variables, context, partials)
        said = {key: head[key].text or "" for key in _TEXTS if key in head}
        template = PromptTemplate(
            name=self.name,
            version=self._version(head.get("version")),
            variables=tuple(variables.values()),
            description=said.get("description", ""),
            mode=said.get("mode", ""),
            system=system,
            user=user,
            context=tuple(context),
            partials=tuple(partials),
            partial=partial,
            budget=self._budget(head.get("budget")),
        )
        return ReadPrompt(
            template=template, file=self.file, lines=lines, used=tuple(self.used), included=tuple(self.included)
        )

    def _problem(self, message: str, line: int) -> None:
        self.problems.append(Problem(code="prompt", message=message, file=self.file, line=line, column=1))

    def _line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    # -- the head ----------------------------------------------------------------------------------------------

    def _head(self, text: str) -> dict[str, Entry]:
        try:
            head = read(text)
        except FrontMatterError as error:
            self._problem(error.reason, error.line + 1)
            return {}
        for key, entry in head.items():
            if key not in _KEYS:
                self._problem(f"unknown key {key!r}; the keys are {', '.join(_KEYS)}", entry.line + 1)
            elif key in _TEXTS and entry.text is None:
                self._problem(f"{key!r} must be text", entry.line + 1)
        told = head.get("name")
        if told is not None and told.text not in (self.name, self.name.rpartition("/")[2]):
            self._problem(f"the file is called {self.name!r}, its head says {told.text!r}", told.line + 1)
        return head

    def _version(self, entry: Entry | None) -> str:
        told = (entry.text if entry is not None else None) or self.version or "1"
        line = entry.line + 1 if entry is not None else 1
        if self.version and told != self.version:
            self._problem(f"the file's name says version {self.version!r}, its head says {told!r}", line)
        if not _VERSION.fullmatch(told) or len(told) > MAX_VERSION:
            self._problem("the version must be letters, digits, '.', '_' and '-'", line)
        return told

    def _partial(self, entry: Entry | None) -> bool:
        if entry is not None and not isinstance(entry.value, bool):
            self._problem("'partial' must be true or false", entry.line + 1)
        return entry is not None and entry.value is True

    def _budget(self, entry: Entry | None) -> int | None:
        if entry is None:
            return None
        if isinstance(entry.value, int) and not isinstance(entry.value, bool) and 1 <= entry.value <= MAX_TOKENS:
            return entry.value
        self._problem(f"'budget' must be a whole number of tokens from 1 to {MAX_TOKENS:,}", entry.line + 1)
        return None

    def _names(self, head: Mapping[str, Entry], key: str) -> dict[str, int]:
        """A list of names with their lines."""
        entry = head.get(key)
        if entry is None or entry.value is None:
            return {}
        if not isinstance(entry.content, list):
            self._problem(f"{key!r} must be a list of names", entry.line + 1)
            return {}
        found: dict[str, int] = {}
        for each in entry.content:
            wrong = "a name must be text" if each.text is None else context_fault(each.text) if key == "context" else ""
            if wrong:
                self._problem(f"{key!r}: {wrong}", each.line + 1)
            else:
                found[str(each.text)] = each.line + 1
        return found

    def _variables(self, declared: Entry | None) -> dict[str, Variable]:
        if declared is None or declared.value is None:
            return {}
        if not isinstance(declared.content, dict):
            self._problem("'variables' must be a mapping of names", declared.line + 1)
            return {}
        found: dict[str, Variable] = {}
        for name, entry in declared.content.items():
            made = variable(name, entry)
            if isinstance(made, str):
                self._problem(f"variable {name!r}: {made}", entry.line + 1)
            else:
                found[name] = made
        return found

    # -- the body ----------------------------------------------------------------------------------------------

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

    def _partial_body(self, start: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        if mark := _SECTION.search(self.text, start):
            self._problem("a partial has no '# System' and no '# User'; it is just text", self._line(mark.start()))
        return (), self._body(start, len(self.text))

    def _body(self, start: int, end: int) -> tuple[Part, ...]:
        try:
            parts = parse(self.text[start:end])
        except MarkError as error:
            self._problem(error.reason, self._line(start + error.offset))
            return ()
        self.used.extend((slot.name, self._line(start + slot.offset)) for slot in slots(parts))
        self.included.extend((each.name, self._line(start + each.offset)) for each in includes(parts))
        for slot in unguarded(parts):
            name = slot.name
            message = f"{name} may be absent: write {{{{#if {name}}}}} … {{{{ {name} }}}} … {{{{/if}}}}"
            self._problem(message, self._line(start + slot.offset))
        return parts

    def _check_declared(
        self, variables: Mapping[str, Variable], context: Mapping[str, int], partials: Mapping[str, int]
    ) -> None:
        """What the body uses and the head does not declare is a problem."""
        for name, line in self.used:
            path = name.removeprefix("context.")
            if name != path and path not in context:
                self._problem(f"the body uses {name}, which the head does not declare under 'context'", line)
            elif name == path and name not in variables:
                self._problem(f"the body uses {name!r}, which the head does not declare", line)
        for name, line in self.included:
            if name not in partials:
                self._problem(f"the body includes {name!r}, which the head does not list under 'partials'", line)


def _pairs(entry: Entry | None) -> dict[str, Entry]:
    return entry.content if entry is not None and isinstance(entry.content, dict) else {}
