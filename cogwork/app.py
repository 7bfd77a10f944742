"""The one place where the parts are chosen and wired together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogwork.agents import Agents
from cogwork.models.chat import ChatModels, Provider
from cogwork.settings import CATALOG, Settings
from cogwork.tools.builtin import builtin_tools
from cogwork.tools.function import FunctionTool
from cogwork.tools.toolbox import Toolbox
from cogwork.tools.workflows import WorkflowTools
from graphs.analysis.check import check
from graphs.language.agents import with_agents
from graphs.language.load import Workflow, load
from graphs.language.spec import WorkflowSpec
from prompts.library import SHIPPED, PromptLibrary
from state.errors import SpecError
from state.problems import Problem
from state.services import Services, Tool

if TYPE_CHECKING:
    from cogwork.store.checkpoints import SqliteCheckpoints
    from cogwork.store.postgres import PostgresCheckpoints
    from cogwork.store.specs import SpecStore
    from graphs.graph import WorkflowGraph

SUFFIXES = (".yaml", ".yml", ".json")
Source = str | Path | dict[str, Any] | WorkflowSpec | Workflow
"""A workflow: its name in the settings' folders, a file, YAML text, a dict, a spec, or one already loaded."""


@dataclass(frozen=True)
class App:
    """cogwork with its settings; ``tools`` are added to the built-in ones."""

    settings: Settings = field(default_factory=Settings)
    tools: tuple[Tool, ...] = ()

    @cached_property
    def services(self) -> Services:
        """The tools, models and prompts that the settings allow."""
        return Services(tools=self._toolbox(), models=self._models(), prompts=self._prompts())

    def _toolbox(self) -> Toolbox:
        chosen = self.settings
        given = builtin_tools(roots=chosen.roots, write_roots=chosen.write_roots, allow_python=chosen.allow_python)
        workflows = WorkflowTools(self, chosen.max_workflow_depth)
        return Toolbox([*given, *self._python_tools(), *self.tools], allowed=chosen.tools, further=workflows)

    def _python_tools(self) -> list[Tool]:
        if not self.settings.python_tools:
            return []
        from cogwork.tools.loading import loaded_tools

        return [*loaded_tools(self.settings.python_tools)]

    def _models(self) -> ChatModels:
        chosen = self.settings
        own = {"base_url": chosen.openai_base_url, "needs_key": False} if chosen.openai_base_url else {}
        openai = Provider(api_key=chosen.openai_api_key, **own)  # type: ignore[arg-type]
        return ChatModels(
            default=chosen.model,
            per_mode=chosen.models,
            providers={"openai": openai},
            allowed=chosen.allowed_models,
            prices=chosen.prices,
        )

    def _prompts(self) -> PromptLibrary:
        return PromptLibrary([SHIPPED, *self.settings.prompts])

    @cached_property
    def agents(self) -> Agents:
        """The agents and hand-overs that are registered, for workflows that name them."""
        return Agents(self.settings.state_dir, self.settings.agents)

    # -- workflows -----------------------------------------------------------------------------------------

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where workflows are looked for by name, in order."""
        return (*self.settings.workflows, CATALOG)

    def workflow_files(self) -> Iterator[Path]:
        """Every workflow file of the folders; of two with one name the first."""
        seen: set[str] = set()
        for folder in self.folders:
            for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
                if path.suffix in SUFFIXES and path.stem not in seen:
                    seen.add(path.stem)
                    yield path

    def find(self, name: str) -> Path | None:
        """The file of the workflow of that name, or None."""
        return next((path for path in self.workflow_files() if path.stem == name), None)

    def load(self, source: Source) -> Workflow:
        """The workflow that ``source`` means.

        Raises:
            SpecError: it is not there, or cannot be loaded; holds every problem.
        """
        return with_agents(self._loaded(source), self.agents.find)

    def _loaded(self, source: Source) -> Workflow:
        if isinstance(source, Workflow):
            return source
        if isinstance(source, str) and "\n" not in source and not source.endswith(SUFFIXES):
            if (path := self.find(source)) is None:
                raise SpecError((self._unknown(source),))
            source = path
        return load(source)

    def _unknown(self, name: str) -> Problem:
        import difflib

        known = sorted({path.stem for path in self.workflow_files()})
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'none'}; or name a file"
        return Problem(code="unknown_workflow", message=f"There is no workflow {name!r}", hint=hint)

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        """What ``use: name`` means in the workflow ``user``; None where there is none."""
        if name.startswith(("./", "../")):
            base = Path(user.source.file).parent if user.source is not None and user.source.file else Path()
            path: Path | None = base / name
        else:
            path = self.find(name)
        return with_agents(load(path), self.agents.find) if path is not None and path.is_file() else None

    def check(self, source: Source) -> list[Problem]:
        """Every problem of a workflow, also those that keep it from loading."""
        try:
            workflow = self.load(source)
            return check(workflow, self.services, self.resolve)
        except SpecError as err:
            return list(err.problems)

    def compile(
        self,
        source: Source,
        *,
        checkpointer: Any = None,
        store: Any = None,
        cache: Any = None,
        resolve: Callable[..., Any] | None = None,
    ) -> WorkflowGraph:
        """The compiled graph; ``checkpointer`` may be a saver, or a path for SQLite checkpoints.

        ``cache``, LangGraph's, keeps the results of steps that say ``cache:``; without one it is a file of the state folder.

        Raises:
            SpecError: holds every problem.
        """
        from graphs.build import build

        if isinstance(checkpointer, str | Path):
            from cogwork.store.checkpoints import SqliteCheckpoints

            checkpointer = SqliteCheckpoints(checkpointer, synchronous=self.settings.synchronous)
        workflow = self.load(source)
        return build(
            workflow,
            self.services,
            resolve or self.resolve,
            checkpointer=checkpointer,
            store=store,
            cache=cache if cache is not None else lambda: self.cache,
        )

    @cached_property
    def cache(self) -> Any:
        """LangGraph's cache in a file of the state folder, for the results of steps that say ``cache:``.

        Raises:
            StoreError: the file cannot be used.
        """
        from cogwork.store.cache import opened_cache

        return opened_cache(self.settings.state_dir / "cache.sqlite")

    # -- what is kept --------------------------------------------------------------------------------------

    def checkpoints(self) -> SqliteCheckpoints | PostgresCheckpoints:
        """The checkpoints in the settings' database, or else in the file of the state folder; opened, the caller closes them.

        Raises:
            StoreError: they cannot be used.
        """
        from cogwork.store.checkpoints import SqliteCheckpoints, StoreError

        if (url := self.settings.database_url) is not None:
            try:
                from cogwork.store.postgres import PostgresCheckpoints
            except ImportError as err:
                raise StoreError(
                    f"database_url is set, but {err.name or 'psycopg'} is missing: install cogwork[postgres]"
                ) from err
            return PostgresCheckpoints(url)
        return SqliteCheckpoints(self.settings.state_dir / "checkpoints.sqlite", synchronous=self.settings.synchronous)

    def specs(self) -> SpecStore:
        """The specs that runs began with."""
        from cogwork.store.specs import SpecStore

        return SpecStore(self.settings.state_dir / "specs")


def app(settings: Settings | None = None, tools: Iterable[Any] = ()) -> App:
    """cogwork with these settings (else those of the environment) and further tools: Python functions or ``Tool`` objects."""
    made = tuple(t if not callable(t) else FunctionTool.from_function(t) for t in tools)
    return App(settings=settings or Settings(), tools=made)
