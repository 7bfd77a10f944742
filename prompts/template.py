"""A prompt with declared variables: filled in strictly, in one pass, and within the tokens that it may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from prompts.budget import Fitting
from prompts.context import shown
from prompts.substitution import Part, fill, fixed, written
from prompts.tokens import Counter, TokenCount, counter
from state.errors import CogworkError, Fault
from state.problems import Problem
from state.schemas import faults
from state.services import RenderedPrompt, Variable
from state.values import Json, Schema


class PromptError(CogworkError):
    """Prompt files that cannot be used; ``problems`` holds every fault with file and line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A prompt that was read and checked; ``mode`` is empty where it serves all.

    ``context``  what it shows of the run's context, such as ``preferences.tone``
    ``partial``  whether it is text for other prompts and none by itself; ``partials`` are those that it includes
    ``budget``   the tokens that it may have at most; None for as many as it comes to
    """

    name: str
    version: str
    variables: tuple[Variable, ...]
    description: str = ""
    mode: str = ""
    system: tuple[Part, ...] = ()
    user: tuple[Part, ...] = ()
    context: tuple[str, ...] = ()
    partials: tuple[str, ...] = ()
    partial: bool = False
    budget: int | None = None

    @property
    def schema(self) -> Schema:
        """JSON Schema of the variables, an object."""
        return {
            "type": "object",
            "properties": {
                each.name: {**each.schema, **({} if each.required else {"default": each.default})}
                for each in self.variables
            },
            "required": [each.name for each in self.variables if each.required],
            "additionalProperties": False,
        }

    def text(self) -> str:
        """The body with its marks and with the text of its partials."""
        if self.partial:
            return written(self.user).strip() + "\n"
        system = f"# System\n{written(self.system).strip()}\n\n" if self.system else ""
        return f"{system}# User\n{written(self.user).strip()}\n"

    def own_tokens(self, model: str = "") -> TokenCount:
        """The tokens of the prompt's own words, without the values of its variables."""
        return counter(model).of(fixed(self.system).strip() + fixed(self.user).strip())

    def render(
        self,
        values: Mapping[str, Json],
        *,
        context: Mapping[str, Json] | None = None,
        tokens: int | None = None,
        model: str = "",
    ) -> RenderedPrompt:
        """The prompt with its variables filled in; a value is never read as a template.

        Where it has more than ``tokens`` (or its own ``budget``), as ``model`` counts them, the variables with a priority
        give way, the lowest first.

        Raises:
            Fault: ``invalid_input`` naming the prompt and every variable that is missing, unknown or ill-typed; or saying by
                how many tokens the prompt is too long.
        """
        wrong = [*self._unknown(values), *self._unfit(values)]
        if wrong:
            told = f"The prompt {self.name!r} cannot be filled in: {'; '.join(wrong)}"
            raise Fault("invalid_input", told, details=wrong)
        full = {variable.name: self._chosen(variable, values) for variable in self.variables}
        known = shown(self.context, context or {})
        limits = [limit for limit in (tokens, self.budget) if limit is not None]
        fitting = self._fitted(full, known, min(limits, default=None), model)
        system, user = self._texts({**fitting.values, **known})
        return RenderedPrompt(
            system=system,
            user=user,
            name=self.name,
            version=self.version,
            shortened=tuple(fitting.shortened.values()),
        )

    def _texts(self, values: Mapping[str, Json]) -> tuple[str, str]:
        return fill(self.system, values).strip(), fill(self.user, values).strip()

    def _fitted(self, full: dict[str, Json], known: Mapping[str, Json], limit: int | None, model: str) -> Fitting:
        """The values as they fit; nothing is counted where nothing limits them."""
        bounded = limit is not None or any(v.cut is not None and v.cut.most is not None for v in self.variables)
        counting = counter(model) if bounded else counter()
        fitting = Fitting(self.variables, full, counting.count)
        fitting.to_most()
        if limit is None:
            return fitting

        def whole(values: Mapping[str, Json]) -> int:
            return sum(counting.count(text) for text in self._texts({**values, **known}))

        come_to = fitting.to_budget(limit, whole)
        if come_to > limit:
            raise self._too_long(come_to, limit, counting)
        return fitting

    def _too_long(self, tokens: int, limit: int, counting: Counter) -> Fault:
        about = "" if counting.exact else f" ({counting.method})"
        fixed = [variable.name for variable in self.variables if variable.cut is None or variable.cut.priority is None]
        what = f"give a priority to one of {', '.join(fixed)}" if fixed else "shorten its text"
        return Fault(
            "invalid_input",
            f"The prompt {self.name!r} has {tokens:,} tokens{about}, {tokens - limit:,} more than the {limit:,} that it may "
            f"have, with everything shortened that may be: {what}, or raise the budget",
            stage="render",
            details={"tokens": tokens, "limit": limit, "over": tokens - limit, "method": counting.method},
        )

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
