"""A prompt with declared variables: filled in strictly, in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from prompts.substitution import Part, fill
from state.errors import CogworkError, Fault
from state.problems import Problem
from state.schemas import faults
from state.services import RenderedPrompt, Variable
from state.values import Json


class PromptError(CogworkError):
    """Prompt files that cannot be used; ``problems`` holds every fault with file and line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A prompt that was read and checked; ``mode`` is empty where it serves all."""

    name: str
    version: str
    variables: tuple[Variable, ...]
    description: str = ""
    mode: str = ""
    system: tuple[Part, ...] = ()
    user: tuple[Part, ...] = ()

    def render(self, values: Mapping[str, Json]) -> RenderedPrompt:
        """The prompt with its variables filled in; a value is never read as a template.

        Raises:
            Fault: ``invalid_input`` naming the prompt and every variable that is missing, unknown or ill-typed.
        """
        wrong = [*self._unknown(values), *self._unfit(values)]
        if wrong:
            told = f"The prompt {self.name!r} cannot be filled in: {'; '.join(wrong)}"
            raise Fault("invalid_input", told, details=wrong)
        full = {variable.name: self._chosen(variable, values) for variable in self.variables}
        return RenderedPrompt(system=fill(self.system, full).strip(), user=fill(self.user, full).strip())

    def _chosen(self, variable: Variable, values: Mapping[str, Json]) -> Json:
        given = values.get(variable.name)
        return variable.default if given is None else given

    def _unknown(self, values: Mapping[str, Json]) -> Iterator[str]:
        declared = [variable.name for variable in self.variables]
        for name in values:
            if name not in declared:
                near = get_close_matches(name, declared, 1)
                meant = f"did you mean {near[0]!r}?" if near else f"it declares {', '.join(declared) or 'none'}"
                yield f"the variable {name!r} is not declared ({meant})"

    def _unfit(self, values: Mapping[str, Json]) -> Iterator[str]:
        for variable in self.variables:
            given = values.get(variable.name)
            if variable.name not in values and variable.required:
                yield f"the variable {variable.name!r} is missing"
            elif given is not None or (variable.required and variable.name in values):
                for fault in faults(variable.schema, given):
                    yield f"the variable {variable.name!r} does not fit: {fault}"
