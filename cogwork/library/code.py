"""Workflows that are code: classes, functions and graphs, registered with their arguments and found again by reference."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cogwork.errors import EngineError
from cogwork.library.building import awaited, built, injected, resources_of
from cogwork.library.code_graph import CodeGraph
from cogwork.library.content import CodeContent, Content
from cogwork.library.entries import VersionRecord
from cogwork.library.house import House
from cogwork.library.names import slug
from cogwork.library.references import arguments_of, imported, reference_of, source_of
from state.errors import CogworkError


@dataclass(slots=True, kw_only=True)
class Registered:
    """Code that this process has at hand: the thing itself, its arguments, what a version of it consists of, and, once made,
    the object that builds its graph."""

    thing: Any
    arguments: Mapping[str, Any]
    content: Content
    made: Any = None
    began: bool = False


class CodeRegistry:
    """The code workflows of this process, by name and digest; made, initialised and shut down in the order of their coming."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._known: dict[tuple[str, str], Registered] = {}
        self._running = False
        self._turn = asyncio.Lock()

    def described(self, thing: Any, name: str | None, arguments: Mapping[str, Any]) -> Registered:
        """What is to be registered; nothing is kept yet, and nothing is called.

        Raises:
            EngineError: ``invalid_input``; it builds no graph, or its arguments do not fit.
        """
        title = name or _name_of(thing)
        injected(thing, arguments, resources_of(self._house), title)
        plain, whole = arguments_of(arguments)
        reference = reference_of(thing) if whole else ""
        code = CodeContent(reference=reference, arguments=plain, source=source_of(thing))
        content = Content(
            name=slug(title),
            title="" if slug(title) == title else title,
            description=_description_of(thing),
            tags=tuple(str(tag) for tag in getattr(thing, "tags", ()) or () if isinstance(tag, str)),
            metadata={"class": thing.__name__} if inspect.isclass(thing) else {},
            code=code,
        )
        return Registered(thing=thing, arguments=dict(arguments), content=content)

    async def keep(self, version: VersionRecord, known: Registered) -> None:
        """Keep what has been registered; where the registry runs already, it is initialised at once."""
        key = version.workflow_id, version.digest
        if key not in self._known:
            self._known[key] = known
        if self._running:
            await self._begin(self._known[key])

    async def graph(self, version: VersionRecord, *, checkpointer: Any = None, exact: bool = True) -> CodeGraph:
        """The graph of a code version: of this process where it has been registered here, else imported by its reference.

        Without ``exact`` code that has changed since the version was published is taken all the same.

        Raises:
            EngineError: ``invalid_input``, it is no code, or only the process that registered it has it; ``permission_denied``,
                the setting ``code_workflows`` does not allow the reference; ``conflict``, the code is another by now.
        """
        known = await self._at_hand(version, exact=exact)
        await self._begin(known)
        graph = await awaited(built(known.made, known.content.name))
        return CodeGraph(graph, name=version.name, digest=version.digest, checkpointer=checkpointer)

    async def _at_hand(self, version: VersionRecord, *, exact: bool) -> Registered:
        place, key = f"{version.name}@{version.version}", (version.workflow_id, version.digest)
        if version.kind != "code":
            raise EngineError("invalid_input", f"{place} is no code: compile its bundle", workflow=version.name)
        if (known := self._known.get(key)) is not None:
            return known
        if not version.reference:
            message = (
                f"{place} can only be run by the process that registered it: it has no reference (module:name) to "
                "import, as it is defined in a script or function, or has arguments that are no JSON. Register it again here, "
                "or move it into a module"
            )
            raise EngineError("invalid_input", message, workflow=version.name, version=version.version)
        patterns = getattr(self._house.settings, "code_workflows", ())
        if not any(fnmatchcase(version.reference, pattern) for pattern in patterns):
            message = (
                f"{place} is the code {version.reference}, which the setting code_workflows does not allow here: "
                f"add {version.reference.partition(':')[0]}:* to it if you trust that module"
            )
            raise EngineError("permission_denied", message, workflow=version.name, reference=version.reference)
        thing = await asyncio.to_thread(imported, version.reference, place)
        found = self.described(thing, version.name, version.arguments)
        if exact and found.content.digest != version.digest:
            message = (
                f"{version.reference} is not the code here that {place} was published with: install that, or publish this one "
                "(register it again) and move the executions to the new version"
            )
            raise EngineError("conflict", message, workflow=version.name, version=version.version)
        return self._known.setdefault(key, found)

    # -- life ----------------------------------------------------------------------------------------------

    async def initialize_all(self) -> None:
        """Make and initialise everything that is registered, in order; what is registered later follows at once.

        Raises:
            Exception: the first that an ``initialize`` raises; what was initialised before it is shut down again.
        """
        self._running = True
        try:
            for known in list(self._known.values()):
                await self._begin(known)
        except BaseException:
            await self.shutdown_all()
            raise

    async def shutdown_all(self) -> list[BaseException]:
        """Shut everything down, the last one first; a fault of one does not keep the others, and is handed back."""
        self._running = False
        faults: list[BaseException] = []
        async with self._turn:
            for known in reversed(list(self._known.values())):
                if not known.began:
                    continue
                known.began = False
                try:
                    await _hook(known.made, "shutdown")
                except Exception as err:  # somebody's code: the others are shut down all the same
                    faults.append(err)
                known.made = None
        return faults

    async def _begin(self, known: Registered) -> None:
        async with self._turn:
            if known.began:
                return
            resources = resources_of(self._house)
            arguments = injected(known.thing, known.arguments, resources, known.content.name)
            known.made = known.thing
            if callable(known.thing) and arguments is not None:
                try:
                    known.made = await awaited(known.thing(**arguments))
                except CogworkError:
                    raise
                except Exception as err:
                    message = f"{known.content.name} cannot be made: {type(err).__name__}: {err}"
                    raise EngineError("invalid_input", message, workflow=known.content.name) from err
            await _hook(known.made, "initialize")
            known.began = True


async def _hook(made: Any, name: str) -> None:
    hook = getattr(made, name, None)
    if callable(hook) and not hasattr(made, "add_node") and not hasattr(made, "get_graph"):
        await awaited(hook())


def _name_of(thing: Any) -> str:
    given = getattr(thing, "name", None)
    if isinstance(given, str) and given and given != "LangGraph":
        return given
    return str(getattr(thing, "__name__", "") or type(thing).__name__)


def _description_of(thing: Any) -> str:
    given = getattr(thing, "description", None)
    if isinstance(given, str) and given:
        return given
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return ""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(own).split("\n\n")[0] if own else ""
