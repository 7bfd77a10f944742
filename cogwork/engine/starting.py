"""From what a caller asks for to an execution that can be recorded: the version that is meant, its input, checked."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from cogwork.engine.graphs import KeptGraphs
from cogwork.engine.isolated import isolation_of
from cogwork.engine.talks import Talks
from cogwork.errors import EngineError
from cogwork.executions.options import Options
from cogwork.executions.store import Request
from cogwork.library import versions
from cogwork.library.entries import VersionRecord
from cogwork.library.library import Library
from cogwork.library.names import LATEST, parted
from cogwork.remote.placing import Place, hindrance
from cogwork.remote.rows import Wanted
from cogwork.tools.workflows import may_write
from graphs.graph import WorkflowGraph
from graphs.inputs import valid_input
from graphs.locality import required_labels
from state.errors import InputRefused, SpecError
from state.values import Json, UnfitValue, normalise


class Starting:
    """Understands requests: a workflow of the library by id, name or ``name@version``; else a file, a name or a spec."""

    def __init__(
        self,
        library: Library,
        graphs: KeptGraphs,
        origin: str = "python",
        talks: Talks | None = None,
        place: Place | None = None,
    ) -> None:
        self._library, self._graphs, self._origin, self._talks = library, graphs, origin, talks
        self.place = place

    async def request(
        self, source: Any, input: Mapping[str, Any] | None, options: Options, context: Mapping[str, Any] | None = None
    ) -> tuple[Request, Any]:
        """The request with its graph.

        Raises:
            EngineError: ``workflow_not_found``; ``invalid_input`` for an input that does not fit; ``conflict``, it is archived;
                ``permission_denied`` where no instance that may run it has the labels that it requires.
            SpecError: what was given is no sound workflow, or an override does not fit.
        """
        if options.mode == "isolated":
            isolation_of(options.isolation, self._graphs.isolation)
        try:
            graph, name, of = await self.graph(source, options)
        except EngineError as err:
            if err.code == "workflow_not_found" and (made := self._unknown_here(source, input, options, context or {})):
                return made, None
            raise
        remote = await asyncio.to_thread(self._elsewhere, graph, name, source, options, context or {})
        if remote is not None:
            options = options.model_copy(update={"mode": "remote"})
        plain, about = _checked(graph, name, dict(input or {})), _plain(context or {})
        if self._talks is not None and options.session_id is not None:
            about, within = await self._talks.given(options, graph, plain if isinstance(plain, dict) else {}, about)
            if within.overrides != options.overrides:
                graph, name, of = await self.graph(source, within)
            options = within
        made = Request(
            workflow=name,
            input=plain,
            context=about,
            session_id=options.session_id,
            user_id=options.user_id,
            options=options,
            digest=graph.digest,
            origin=self._origin,
            remote=remote,
            **of,
        )
        return made, graph

    def _elsewhere(
        self, graph: Any, name: str, source: Any, options: Options, context: Mapping[str, Any]
    ) -> Wanted | None:
        """How the workflow is asked for on another instance, where one is to run it; None where it runs here.

        Raises:
            EngineError: ``permission_denied``, ``invalid_input``; see ``Place.elsewhere``.
        """
        if self.place is None:
            return None
        ours = isinstance(graph, WorkflowGraph)
        required = required_labels(graph.plan, graph.services) if ours else frozenset[str]()
        if not self.place.elsewhere(options, name, required, hindrance(source, options, context)):
            return None
        which = parted(source)[1]
        return Wanted(
            workflow=name if which is None else f"{name}@{which}",
            writes=may_write(graph.plan, graph.services.tools) if ours else True,
            isolated=options.mode == "isolated",
            labels=tuple(sorted(required)),
        )

    def _unknown_here(
        self, source: Any, input: Mapping[str, Any] | None, options: Options, context: Mapping[str, Any]
    ) -> Request | None:
        """The request for a workflow that only another instance knows; None where none is asked.

        Raises:
            EngineError: see ``_elsewhere``.
        """
        if self.place is None or not isinstance(source, str) or not self.place.asked(options):
            return None
        name = parted(source)[0]
        if not self.place.elsewhere(options, name, (), hindrance(source, options, context)):
            return None
        wanted = Wanted(workflow=source, writes=True, isolated=options.mode == "isolated")
        there = options.model_copy(update={"mode": "remote"})
        plain = _plain(input or {})
        return Request(
            workflow=name, input=plain, options=there, origin=self._origin, user_id=options.user_id, remote=wanted
        )

    async def graph(self, source: Any, options: Options) -> tuple[Any, str, dict[str, Any]]:
        """The graph that is meant, the workflow's name, and which version of which workflow of the library it is, if any.

        Raises:
            EngineError, SpecError: see ``request``.
        """
        version = await self._published(source) if isinstance(source, str) else None
        if version is not None:
            of = {"workflow_id": version.workflow_id, "version": version.version}
            return await self._graphs.published(version, options), version.name, of
        graph = await self._given(source, options)
        return graph, graph.plan.spec.name, {}

    async def _published(self, source: str) -> Any:
        """The version of the library that is meant; None where no workflow of that name is there."""

        def read(connection: Connection) -> tuple[VersionRecord, str]:
            name, which = parted(source)
            row = versions.workflow(connection, name)
            return versions.version(connection, row, LATEST if which is None else which), str(row["status"])

        try:
            version, status = await self._library.records.reading(read)
        except EngineError as err:
            if err.code == "workflow_not_found":
                return None
            raise
        if status == "archived":
            raise EngineError(
                "conflict", f"The workflow {version.name} is archived: restore it first", workflow=version.name
            )
        return version

    async def _given(self, source: Any, options: Options) -> WorkflowGraph:
        try:
            return await self._graphs.given(source, options)
        except SpecError as err:
            if isinstance(source, str) and {problem.code for problem in err.problems} <= {"unknown_workflow"}:
                raise await self._unknown(source, err) from err
            raise

    async def _unknown(self, source: str, err: SpecError) -> EngineError:
        page = await self._library.list(limit=200)
        known = [name for each in page.items for name in (each.id, each.name)]
        close = difflib.get_close_matches(source, known, 3, 0.5)
        hint = f": did you mean {' or '.join(close)}?" if close else f"; {err.problems[0].hint}"
        return EngineError(
            "workflow_not_found",
            f"There is no workflow {source[:200]!r}{hint}",
            workflow_id=source[:200],
            suggestions=list(close),
        )


def _checked(graph: Any, name: str, input: dict[str, Any]) -> Json:
    """The input as plain JSON with its defaults."""
    try:
        if isinstance(graph, WorkflowGraph):
            return valid_input(graph.plan.spec, input)
        return normalise(input)
    except InputRefused as err:
        raise EngineError("invalid_input", str(err), workflow=name) from err
    except UnfitValue as err:
        raise EngineError("invalid_input", f"The input of {name} is no data: {err}", workflow=name) from err


def _plain(context: Mapping[str, Any]) -> dict[str, Json]:
    try:
        found: dict[str, Json] = normalise(dict(context))
    except UnfitValue as err:
        raise EngineError("invalid_input", f"The context is no data: {err}") from err
    return found
