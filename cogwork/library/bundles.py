"""A published workflow with all that it uses, as canonical documents: packed once, read back as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cogwork.errors import EngineError
from graphs.analysis.expand import Resolve
from graphs.analysis.plan import Plan
from graphs.language.dump import digest, to_dict
from graphs.language.load import Workflow, load
from state.errors import SpecError
from state.values import Json

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """A workflow and those that it uses, in the order of the plan; ``links`` says which one a name means in which."""

    documents: tuple[Workflow, ...]
    links: Mapping[tuple[int, str], int] = field(default_factory=dict)

    @property
    def workflow(self) -> Workflow:
        """The workflow itself."""
        return self.documents[0]

    @property
    def digest(self) -> str:
        """``WorkflowGraph.digest`` of its graph."""
        return hashlib.sha256("".join(digest(each.spec) for each in self.documents).encode()).hexdigest()

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        """What ``use: name`` means in ``user``: one of the documents, else the workflow itself, perhaps with overrides."""
        at = next((index for index, each in enumerate(self.documents) if each is user), 0)
        found = self.links.get((at, name))
        return self.documents[found] if found is not None else None

    def packed(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "documents": [to_dict(each.spec) for each in self.documents],
            "links": [[at, name, found] for (at, name), found in sorted(self.links.items())],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A version's documents, and those of the workflows that it calls as tools; ``(workflow, resolve)`` when unpacked."""

    main: Documents
    tools: Mapping[str, Documents] = field(default_factory=dict)

    @property
    def workflow(self) -> Workflow:
        """The workflow itself."""
        return self.main.workflow

    @property
    def resolve(self) -> Resolve:
        """What ``use:`` means within the bundle."""
        return self.main.resolve

    @property
    def digest(self) -> str:
        """``WorkflowGraph.digest`` of its graph."""
        return self.main.digest

    def __iter__(self) -> Iterator[Any]:
        yield self.workflow
        yield self.resolve

    def packed(self) -> dict[str, Json]:
        """As plain JSON."""
        return {**self.main.packed(), "tools": {name: each.packed() for name, each in sorted(self.tools.items())}}


class Links:
    """Notes, while a workflow is expanded, which workflow each name turned out to mean."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._seen: list[tuple[Workflow, str, Workflow]] = []

    def __call__(self, name: str, user: Workflow) -> Workflow | None:
        """What ``resolve`` says."""
        found = self._resolve(name, user)
        if found is not None:
            self._seen.append((user, name, found))
        return found

    def documents(self, plan: Plan) -> Documents:
        """The documents of the plan with the links between them."""
        at: dict[int, int] = {}
        for index, each in enumerate(plan.documents):
            at.setdefault(id(each), index)
        links = {
            (at[id(user)], name): at[id(found)]
            for user, name, found in self._seen
            if id(user) in at and id(found) in at
        }
        return Documents(documents=plan.documents, links=links)


def unpacked(packed: Mapping[str, Json], place: str) -> Bundle:
    """The bundle that ``packed`` holds; ``place`` names it in messages.

    Raises:
        EngineError: ``database_error``; it is of another form, or no workflow any more.
    """
    try:
        tools = {name: _documents(each, f"{place} {name}") for name, each in packed.get("tools", {}).items()}
        return Bundle(main=_documents(packed, place), tools=tools)
    except SpecError as err:
        message = f"{place} cannot be read by this cogwork: {err.problems[0]}"
        raise EngineError("database_error", message, problems=[str(each) for each in err.problems]) from err
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as err:
        raise EngineError(
            "database_error", f"{place} holds no workflow: it was altered, or made by another cogwork"
        ) from err


def _documents(packed: Mapping[str, Json], place: str) -> Documents:
    documents = tuple(load(each, file=f"<{place}>") for each in packed["documents"])
    links = {(int(at), str(name)): int(found) for at, name, found in packed["links"]}
    if not documents or any(
        not (0 <= at < len(documents) and 0 <= to < len(documents)) for (at, _), to in links.items()
    ):
        raise ValueError("links lead nowhere")
    return Documents(documents=documents, links=links)


def digest_of(*parts: Json) -> str:
    """SHA-256 over plain values."""
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


Find = Callable[[str], Documents | None]
"""The workflow that a tool ``workflow.NAME`` calls, by ``NAME``; None where there is none."""
