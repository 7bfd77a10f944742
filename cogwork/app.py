"""The one place where the parts are chosen and wired together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogwork.agents import Agents
from cogwork.breaker import Breakers
from cogwork.models.chat import ChatModels, Provider
from cogwork.secrets import SecretStore, keys_of
from cogwork.settings import CATALOG, Settings, environment
from cogwork.tools.builtin import builtin_tools
from cogwork.tools.finding import finding_tools
from cogwork.tools.function import FunctionTool
from cogwork.tools.index import Finder, Hit, ToolIndex
from cogwork.tools.openapi.source import Loaded
from cogwork.tools.toolbox import Toolbox
from cogwork.tools.workflows import WorkflowTools
from graphs.analysis.check import check
from graphs.language.agents import with_agents
from graphs.language.load import Workflow, load
from graphs.language.overrides import overridden
from graphs.language.spec import WorkflowSpec
from prompts.library import SHIPPED, PromptLibrary
from state.errors import SpecError
from state.problems import Problem
from state.services import ResultLimits, Services, Tool
from state.values import Json

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from cogwork.executions.recorder import Recorder
    from cogwork.observability.telemetry import Telemetry
    from cogwork.records.bundles import Bundles
    from cogwork.records.database import Records
    from cogwork.remote.instances import Instances
    from cogwork.sealing.keys import Ring
    from cogwork.store.checkpoints import SqliteCheckpoints
    from cogwork.store.postgres import PostgresCheckpoints
    from cogwork.tools.mcp.servers import Servers
    from graphs.graph import WorkflowGraph

SUFFIXES = (".yaml", ".yml", ".json")
_OPENING = threading.Lock()
Source = str | Path | dict[str, Any] | WorkflowSpec | Workflow
"""A workflow: its name in the settings' folders, a file, YAML text, a dict, a spec, or one already loaded."""


@dataclass(frozen=True)
class App:
    """cogwork with its settings; ``tools`` are added to the built-in ones, ``embeddings`` replace those of the settings."""

    settings: Settings = field(default_factory=Settings)
    tools: tuple[Tool, ...] = ()
    embeddings: Embeddings | None = None

    @cached_property
    def services(self) -> Services:
        """The tools, models and prompts that the settings allow."""
        chosen = self.settings
        return Services(
            tools=self._toolbox(),
            models=self.models,
            prompts=self._prompts(),
            finder=self.finder,
            secrets=self.secrets,
            result_limits=ResultLimits(usual=chosen.max_result_bytes, by_tool=chosen.result_bytes),
            watch=self.telemetry,
            labels=frozenset(chosen.labels),
        )

    @cached_property
    def secrets(self) -> SecretStore:
        """The secrets of the settings; the keys among the settings are hidden with them."""
        return SecretStore(self.settings.secrets, environment(), keys_of(self.settings))

    @cached_property
    def telemetry(self) -> Telemetry:
        """What is seen from outside of all that runs here: metrics, and spans where a collector is configured.

        Raises:
            ConfigurationError: the settings name a collector, and the packages that speak to it are not installed.
        """
        from cogwork.observability.telemetry import opened

        return opened(self.settings.observability, self.secrets, environment())

    def _toolbox(self) -> Toolbox:
        chosen = self.settings
        given = builtin_tools(roots=chosen.roots, write_roots=chosen.write_roots, allow_python=chosen.allow_python)
        http = self._http()
        if self.mcp is not None:
            from cogwork.tools.mcp.builtin import mcp_tools

            given += mcp_tools(self.mcp)
        tools = [*given, *finding_tools(self.finder), *http.tools, *self._python_tools(), *self.tools]
        return Toolbox(
            tools,
            allowed=chosen.tools,
            troubles=http.troubles,
            further=[WorkflowTools(self, chosen.max_workflow_depth)],
            servers=self.mcp,
        )

    def _python_tools(self) -> list[Tool]:
        if not self.settings.python_tools:
            return []
        from cogwork.tools.loading import loaded_tools

        return [*loaded_tools(self.settings.python_tools)]

    def _http(self) -> Loaded:
        if not self.settings.openapi:
            return Loaded()
        from cogwork.sealing.seals import Seals
        from cogwork.tools.openapi.loading import http_tools

        return http_tools(
            self.settings.openapi, self.breakers, kept=self.settings.state_dir / "openapi", seals=Seals(ring=self.ring)
        )

    @cached_property
    def breakers(self) -> Breakers:
        """The circuit breakers of all services that are called."""
        return Breakers()

    @cached_property
    def mcp(self) -> Servers | None:
        """The MCP servers of the settings; None where there are none. They are closed by ``close``, or as the program ends."""
        if not self.settings.mcp_servers:
            return None
        from cogwork.tools.mcp.config import Sources
        from cogwork.tools.mcp.servers import Servers

        return Servers(
            self.settings.mcp_servers,
            Sources(environment=environment(), secret=lambda name: str(self.secrets.resolve(name))),
            self.breakers,
        )

    @cached_property
    def instances(self) -> Instances:
        """The other instances of the settings."""
        from cogwork.remote.instances import Instances

        return Instances(self.settings.instances, self.breakers, environment())

    def close(self) -> None:
        """Close the connections to other people's servers, end those that were started, close the records, and send what is
        to be told of all that."""
        if (servers := self.__dict__.get("mcp")) is not None:
            servers.close()
        with _OPENING:
            records = self.__dict__.pop("_records", None)
        if records is not None:
            records.close()
        if (telemetry := self.__dict__.get("telemetry")) is not None:
            telemetry.close()

    def health(self) -> dict[str, Json]:
        """How the services that were called stand, without secrets: ``breakers`` (each with its state, what it has refused and
        the last fault), ``models`` (the endpoints, with their limits) and ``mcp`` (the servers)."""
        servers = self.__dict__.get("mcp")
        told: dict[str, Json] = self.secrets.redact(
            {
                "breakers": self.breakers.health(),
                "models": self.models.health(),
                "mcp": servers.health() if servers is not None else [],
            }
        )
        return told

    @cached_property
    def models(self) -> ChatModels:
        """The chat models that the settings allow: found, listed, warmed and released."""
        chosen = self.settings
        return ChatModels(
            default=chosen.model,
            per_mode=chosen.models,
            modes=chosen.modes,
            providers=self._providers(),
            facts=chosen.model_facts,
            allowed=chosen.allowed_models,
            prices=chosen.prices,
            breakers=self.breakers,
        )

    def _providers(self) -> dict[str, Provider]:
        """The endpoints of the settings; a vendor's own gets its key from the variable that all its programs know.

        That key goes to no other address than the vendor's, or the one that ``OPENAI_BASE_URL`` names beside it.
        """
        chosen, found = self.settings, dict(self.settings.providers)
        known = {"openai": {"api_key": chosen.openai_api_key, "base_url": chosen.openai_base_url}}
        if chosen.anthropic_api_key is not None:
            known["anthropic"] = {"api_key": chosen.anthropic_api_key, "base_url": None}
        for name, given in known.items():
            described = found.setdefault(name, Provider(kind=name))
            if described.kind == name and described.api_key is None and described.base_url is None:
                found[name] = described.model_copy(update=given)
        return found

    def _prompts(self) -> PromptLibrary:
        return PromptLibrary([SHIPPED, *self.settings.prompts])

    @cached_property
    def agents(self) -> Agents:
        """The agents and hand-overs that are registered, for workflows that name them."""
        return Agents(
            self.records,
            self.settings.agents,
            earlier=self.settings.state_dir,
            unmade=lambda: self.settings.database_url is None and not self._records_file.exists(),
        )

    # -- tools ---------------------------------------------------------------------------------------------

    @cached_property
    def finder(self) -> Finder:
        """The search over all tools; reads and embeds them when it is first asked."""
        return Finder(lambda: self.services.tools, self._tool_index)

    def search_tools(self, query: str, k: int = 10) -> list[Hit]:
        """At most ``k`` of the tools that the settings allow, those first that fit the words (and meaning) of the query best.

        Raises:
            ImportError: the settings want embeddings whose packages are not installed.
            ValueError: the settings want embeddings that do not exist.
        """
        return self.finder.hits(query, k)

    def _tool_index(self) -> ToolIndex:
        model = self.embeddings
        if model is None and self.settings.embeddings is not None:
            from cogwork.models.embeddings import embeddings

            model = embeddings(self.settings.embeddings, self._providers()["openai"])
        return ToolIndex(embeddings=model, cache=self.settings.state_dir / "embeddings.sqlite")

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

    def load(self, source: Source, overrides: Mapping[str, Any] | None = None) -> Workflow:
        """The workflow that ``source`` means, with ``overrides`` in place (``graphs/language/overrides.py``).

        Raises:
            SpecError: it is not there, or cannot be loaded, or an override does not fit; holds every problem.
        """
        return overridden(with_agents(self._loaded(source), self.agents.find), overrides)

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

    def check(self, source: Source, overrides: Mapping[str, Any] | None = None) -> list[Problem]:
        """Every problem of a workflow, also those that keep it from loading."""
        try:
            workflow = self.load(source, overrides)
            return check(workflow, self.services, self.resolve)
        except SpecError as err:
            return list(err.problems)

    def compile(
        self,
        source: Source,
        *,
        overrides: Mapping[str, Any] | None = None,
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

            checkpointer = SqliteCheckpoints(checkpointer, synchronous=self.settings.synchronous, ring=self.ring)
        workflow = self.load(source, overrides)
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

        return opened_cache(self.settings.state_dir / "cache.sqlite", self.ring)

    @cached_property
    def ring(self) -> Ring:
        """The keys of the settings that what is kept is sealed with.

        Raises:
            UnusableKey: one cannot be read, or is none.
        """
        from cogwork.sealing.keys import ring_of

        return ring_of(self.settings.encryption_keys, environment())

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
            return PostgresCheckpoints(url, ring=self.ring)
        path = self.settings.state_dir / "checkpoints.sqlite"
        return SqliteCheckpoints(path, synchronous=self.settings.synchronous, ring=self.ring)

    def records(self) -> Records:
        """The records in the settings' database, or else in a file of the state folder; opened once, closed by ``close``.

        Raises:
            EngineError: ``database_error``; they cannot be used.
        """
        with _OPENING:
            return self._records

    @cached_property
    def _records(self) -> Records:
        from cogwork.records.database import opened

        chosen = self.settings
        return opened(
            self._records_file,
            chosen.database_url,
            synchronous=chosen.synchronous,
            connections=chosen.connection_pool_size,
            compression_above=chosen.compression_above,
            max_payload_bytes=chosen.max_payload_bytes,
            ring=self.ring,
        )

    @property
    def _records_file(self) -> Path:
        return self.settings.state_dir / "records.sqlite"

    def specs(self) -> Bundles:
        """The workflows that runs began with."""
        from cogwork.records.bundles import Bundles
        from cogwork.store.specs import SpecStore

        return Bundles(self.records(), SpecStore(self.settings.state_dir / "specs", self.ring))

    def recorder(self, origin: str) -> Recorder:
        """What keeps an execution's record of each run of the graphs whose ``observer`` it is; ``origin`` names the door."""
        from cogwork.executions.history import History
        from cogwork.executions.recorder import Recorder

        records = self.records()
        return Recorder(records, History(records), origin=origin, onlookers=self.telemetry.onlookers)


def app(settings: Settings | None = None, tools: Iterable[Any] = ()) -> App:
    """cogwork with these settings (else those of the environment) and further tools: Python functions or ``Tool`` objects."""
    made = tuple(t if not callable(t) else FunctionTool.from_function(t) for t in tools)
    return App(settings=settings or Settings(), tools=made)
