"""The verbs of workflows, as the documents have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cogwork.engine.opened import Opened

if TYPE_CHECKING:
    from state.values import Json


class WorkflowVerbs(Opened):
    """Create, register, get, update, list and delete workflows."""

    async def create_workflow(self, name: str | None = None, source: Any = None, **fields: Any) -> str:
        """Publish a workflow; its id. ``source`` is a file, text or spec; or ``fields`` are those of one, such as the documents'
        ``steps``, with ``description``, ``tags`` and ``metadata``.

        Raises:
            SpecError: it has faults; holds every problem.
            EngineError: ``conflict``; the name is taken.
        """
        about = {key: fields.pop(key) for key in ("author", "note") if key in fields}
        if source is None:
            given = {"name": name, **fields} if name is not None else fields
            return (await self.library.create(given, **about)).id
        return (await self.library.create(source, name=name, **fields, **about)).id

    async def register_workflow(self, thing: Any, name: str | None = None, **arguments: Any) -> str:
        """Publish a workflow that is code: a class that builds a graph, with constructor arguments, a ``StateGraph`` or a
        compiled graph; its name.

        Raises:
            EngineError: ``invalid_input``; it builds no graph.
        """
        return (await self.library.register(thing, name=name, **arguments)).name

    async def get_workflow(self, workflow_id: str) -> dict[str, Json]:
        """A workflow by id or name.

        Raises:
            EngineError: ``workflow_not_found``, with suggestions.
        """
        return (await self.library.get(workflow_id)).to_dict()

    async def update_workflow(self, workflow_id: str, updates: Mapping[str, Any] | None = None, **more: Any) -> bool:
        """Publish a new version with the updates (or a whole ``source``); executions that are open keep theirs. Whether there
        was anything to change.

        Raises:
            SpecError, EngineError: see ``Library.update``.
        """
        before = await self.library.get(workflow_id)
        after = await self.library.update(workflow_id, updates=updates, **more)
        return (before.newest, before.version, before.name) != (after.newest, after.version, after.name)

    async def list_workflows(
        self,
        tags: Iterable[str] = (),
        status: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        text: str | None = None,
    ) -> dict[str, Json]:
        """A page of workflows, the latest first: ``{"workflows": […], "cursor": …}``."""
        page = await self.library.list(tags=tags, status=status, text=text, limit=limit, cursor=cursor)
        return {"workflows": [each.to_dict() for each in page.items], "cursor": page.cursor}

    async def delete_workflow(self, workflow_id: str, *, force: bool = False) -> bool:
        """Delete a workflow; its versions stay for the executions that began with them.

        Raises:
            EngineError: ``workflow_not_found``; ``in_use``, unless ``force``.
        """
        await self.library.delete(workflow_id, force=force)
        return True
