"""What an isolated execution is to do, for one stretch of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from state.values import Json


class Job(BaseModel):
    """One stretch of one run: what runs, on which thread, and how it begins or goes on.

    Either ``bundle`` (canonical documents, the workflow first and then what it uses, in the order in which it does) or
    ``reference`` (``module:name`` of code that makes a graph of ``arguments``). ``input`` begins a new run, ``answers`` answers
    open questions by their paths, and neither goes on with the run as it stands.

    ``context`` is what tools and prompts are told of the caller, in each stretch: the execution itself is not believed.
    ``tools`` are the names or patterns of the tools that it may call; those that ask for approval only where a spec runs, whose
    steps see to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thread: str = Field(min_length=1, max_length=1_000)
    bundle: tuple[dict[str, Any], ...] = ()
    reference: str = ""
    arguments: dict[str, Json] = Field(default_factory=dict)
    input: dict[str, Json] | None = None
    answers: dict[str, Json] | None = None
    context: dict[str, Json] = Field(default_factory=dict)
    metadata: dict[str, Json] = Field(default_factory=dict)
    depth: int = 0
    tokens: bool = False
    tools: tuple[str, ...] = ("*",)

    @model_validator(mode="after")
    def _one_of_each(self) -> Job:
        if bool(self.bundle) == bool(self.reference):
            raise ValueError("a job has either a bundle of documents or a reference to code")
        if self.reference and not all(self.reference.partition(":")):
            raise ValueError("a reference names a module and something in it: module:name")
        if self.input is not None and self.answers is not None:
            raise ValueError("a job has either an input or answers")
        return self
