"""Partials put into the prompts that include them, and what can be wrong with that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from prompts.reading import ReadPrompt, read_prompt
from prompts.substitution import Include, Part, Section, slots
from prompts.template import PromptError, PromptTemplate
from state.problems import Problem

Place: TypeAlias = Literal["system", "user"]
Find: TypeAlias = Callable[[str, ReadPrompt], ReadPrompt | None]
"""What ``{{> name}}`` in a file means; None where there is nothing of that name."""
MAX_PARTS: Final = 10_000
"""More places of text than this a prompt may not come to, with all that it includes."""


def parse_prompt(text: str, *, name: str, file: str = "") -> PromptTemplate:
    """The prompt in the text of one file that includes no other.

    Raises:
        PromptError: every fault of the file, with its line.
    """
    prompt = read_prompt(text, name=name, file=file)
    linked, problems = link(prompt, lambda wanted, user: None)
    if problems:
        raise PromptError(tuple(sorted(problems, key=Problem.sort_key)))
    return linked


def link(prompt: ReadPrompt, find: Find, known: tuple[str, ...] = ()) -> tuple[PromptTemplate, list[Problem]]:
    """The template with the text of its partials in place, and what is wrong: a partial that is not there or leads back to
    itself, what a partial uses and the prompt does not declare, what is declared and not used.

    ``known`` are the names to suggest where one is not there.
    """
    linking = _Linking(prompt, find, known)
    template = prompt.template
    system = linking.expanded(prompt, template.system, "system", (template.name,))
    user = linking.expanded(prompt, template.user, "user", (template.name,))
    linking.check_partials()
    if not linking.problems:
        linking.check_used((*system, *user))
    return replace(template, system=system, user=user), linking.problems


@dataclass(slots=True)
class _Linking:
    """One prompt being put together; the problems are those of its own file."""

    prompt: ReadPrompt
    find: Find
    known: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    parts: int = 0
    straight: set[str] = field(default_factory=set)
    """The names of files from which no way leads in a circle."""

    def expanded(
        self, file: ReadPrompt, parts: tuple[Part, ...], place: Place, way: tuple[str, ...]
    ) -> tuple[Part, ...]:
        """The parts with each included file's own in place; ``way`` are the names that led here."""
        return tuple(self._each(file, parts, place, way))

    def _each(self, file: ReadPrompt, parts: tuple[Part, ...], place: Place, way: tuple[str, ...]) -> Iterator[Part]:
        for part in parts:
            self.parts += 1
            if self.parts > MAX_PARTS:
                return
            match part:
                case Include():
                    yield from self._included(file, part.name, place, way)
                case Section():
                    yield Section(part.name, part.offset, self.expanded(file, part.parts, place, way))
                case _:
                    yield part

    def _included(self, file: ReadPrompt, name: str, place: Place, way: tuple[str, ...]) -> Iterator[Part]:
        found = self.find(name, file)
        if found is None or (found.template.name in way):
            return
        inner = found.template.user if found.template.partial or place == "user" else found.template.system
        yield from _trimmed(self.expanded(found, inner, place, (*way, found.template.name)))

    def check_partials(self) -> None:
        """What is wrong with the files that the prompt itself includes."""
        if self.parts > MAX_PARTS:
            self._problem(f"the prompt comes to more than {MAX_PARTS:,} parts with what it includes", 1)
        for name, line in self.prompt.included:
            found = self.find(name, self.prompt)
            if found is None:
                close = get_close_matches(name, self.known, 1)
                hint = f"did you mean {close[0]!r}?" if close else "it must be a prompt file of these folders"
                self._problem(f"there is no partial {name!r}: {hint}", line)
            elif ring := self._ring(found, (self.prompt.template.name,)):
                self._problem(f"the partials go round in a circle: {' → '.join(ring)}", line)
            else:
                self._check_needs(found, name, line)
        included = {name for name, _ in self.prompt.included}
        for name in self.prompt.template.partials:
            if name not in included:
                self._problem(f"the partial {name!r} is listed, but the body does not include it", self._line(name))

    def _ring(self, file: ReadPrompt, way: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the circle that the file closes; empty where there is none."""
        here, name = (*way, file.template.name), file.template.name
        if name in way:
            return here[way.index(name) :]
        if name in self.straight:
            return ()
        for wanted, _ in file.included:
            inner = self.find(wanted, file)
            if inner is not None and (ring := self._ring(inner, here)):
                return ring
        self.straight.add(name)
        return ()

    def _check_needs(self, partial: ReadPrompt, name: str, line: int) -> None:
        """The prompt must declare what the partial does, and as the same."""
        mine = {each.name: each for each in self.prompt.template.variables}
        for each in partial.template.variables:
            if each.name not in mine:
                self._problem(f"the partial {name!r} uses {each.name!r}, which this head does not declare", line)
            elif mine[each.name].schema != each.schema:
                self._problem(f"the variable {each.name!r} has another type in the partial {name!r}", line)
        for wanted in partial.template.context:
            if wanted not in self.prompt.template.context:
                self._problem(f"the partial {name!r} uses context.{wanted}, which this head does not declare", line)

    def check_used(self, parts: tuple[Part, ...]) -> None:
        """What is declared and nowhere used is a problem."""
        used = {slot.name for slot in slots(parts)}
        for variable in self.prompt.template.variables:
            if variable.name not in used:
                message = f"the variable {variable.name!r} is declared, but the body does not use it"
                self._problem(message, self._line(variable.name))
        for name in self.prompt.template.context:
            if f"context.{name}" not in used:
                message = f"context.{name} is declared, but the body does not use it"
                self._problem(message, self._line(f"context.{name}"))

    def _line(self, name: str) -> int:
        lines: Mapping[str, int] = self.prompt.lines
        return lines.get(name, 1)

    def _problem(self, message: str, line: int) -> None:
        self.problems.append(self.prompt.problem(message, line))


def _trimmed(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts without the white space around them."""
    made = list(parts)
    if made and isinstance(made[0], str):
        made[0] = made[0].lstrip()
    if made and isinstance(made[-1], str):
        made[-1] = made[-1].rstrip()
    return tuple(part for part in made if part != "")
