"""Services in which ``workflow.NAME`` means a workflow of the library, or the one that a version has pinned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogwork.library.bundles import Bundle, Documents
from cogwork.tools.workflows import PREFIX, WorkflowTool
from graphs.analysis.expand import Resolve
from graphs.language.load import Workflow
from state.services import Services, Tool, Tools

if TYPE_CHECKING:
    from cogwork.library.house import House
    from cogwork.records.bundles import Bundles
    from graphs.graph import WorkflowGraph


class PinnedTools:
    """The tools of the house, but each ``workflow.NAME`` is looked for where ``find_workflow`` says, and nowhere else."""

    def __init__(
        self, base: Tools, find_workflow: Callable[[str], Tool | None], known: Callable[[], Iterable[str]]
    ) -> None:
        self._base, self._find_workflow, self._known = base, find_workflow, known

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        return self._find_workflow(name) if name.startswith(PREFIX) else self._base.find(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self._known(), *(name for name in self._base.names() if not name.startswith(PREFIX))})

    def matching(self, pattern: str) -> list[str]:
        """The names that a pattern fits, sorted."""
        others = {name for name in self._base.matching(pattern) if not name.startswith(PREFIX)}
        return sorted({*others, *(name for name in self._known() if fnmatchcase(name, pattern))})

    def problem(self, name: str) -> str | None:
        """Why there is no tool of that name, where more is known than that."""
        return None if name.startswith(PREFIX) else self._base.problem(name)

    async def release(self, run: str) -> None:
        """Let go of what is held for that run alone."""
        await self._base.release(run)


class PinnedHouse:
    """Where the tools ``workflow.NAME`` of one bundle find what they need: ``cogwork.tools.workflows.Workflows``."""

    def __init__(
        self, house: House, find: Callable[[str], Documents | None], known: Callable[[], Iterable[str]]
    ) -> None:
        self._house, self._find, self._known = house, find, known
        self._made: dict[str, WorkflowTool | None] = {}

    @cached_property
    def services(self) -> Services:
        """The services of the house with the tools of the bundle."""
        base = self._house.services
        return replace(base, tools=PinnedTools(base.tools, self._tool, self._names))

    def _names(self) -> list[str]:
        return [PREFIX + name for name in self._known()]

    def _tool(self, name: str) -> WorkflowTool | None:
        if name not in self._made:
            found = self._find(name.removeprefix(PREFIX))
            depth = self._house.settings.max_workflow_depth
            self._made[name] = (
                WorkflowTool(name, found.workflow, _Within(self, self._house, found.resolve), depth) if found else None
            )
        return self._made[name]


class _Within:
    """The house as one workflow that is called as a tool sees it."""

    def __init__(self, pinned: PinnedHouse, house: House, resolve: Resolve) -> None:
        self._pinned, self._house, self._resolve = pinned, house, resolve

    @property
    def services(self) -> Services:
        return self._pinned.services

    def workflow_files(self) -> Iterator[Path]:
        return iter(())

    def find(self, name: str) -> Path | None:
        return None

    def load(self, source: Path) -> Workflow:
        return self._house.load(source)

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        return self._resolve(name, user)

    def specs(self) -> Bundles:
        return self._house.specs()

    @property
    def cache(self) -> Any:
        return self._house.cache


def services_of(house: House, bundle: Bundle) -> Services:
    """The services of the house in which ``workflow.NAME`` is what the bundle has pinned."""
    pins: Mapping[str, Documents] = {name.removeprefix(PREFIX): each for name, each in bundle.tools.items()}
    return PinnedHouse(house, pins.get, lambda: pins).services


def compiled(house: House, bundle: Bundle, *, checkpointer: Any = None, store: Any = None) -> WorkflowGraph:
    """The graph of a version, with the workflows that it was published with, whatever has become of them since.

    Raises:
        SpecError: a tool, model or prompt that it needs is not there any more.
    """
    from graphs.build import build

    services = services_of(house, bundle)
    return build(
        bundle.workflow,
        services,
        bundle.resolve,
        checkpointer=checkpointer,
        store=store,
        cache=lambda: house.cache,
    )
