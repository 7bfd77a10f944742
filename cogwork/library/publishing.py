"""From a source to the content of a version: loaded, checked, and with all that it uses pinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cogwork.library import usage, versions
from cogwork.library.bundles import Bundle, Documents, Links
from cogwork.library.content import Content, checked_about, of_documents
from cogwork.library.names import LATEST, parted, slug
from cogwork.library.pinned import PinnedHouse
from cogwork.records.database import Records
from cogwork.records.tables.library import WORKFLOWS
from cogwork.tools.workflows import PREFIX
from graphs.analysis.check import analyse
from graphs.analysis.expand import expand
from graphs.language.load import Workflow
from state.errors import SpecError
from state.services import Tools

if TYPE_CHECKING:
    from cogwork.library.house import House


@dataclass(slots=True, kw_only=True)
class Publishing:
    """One publication: what names mean for it, in the library first and then in the house; made anew for each.

    A workflow of the library brings along what it was published with; what a name means for the new one is what its label
    ``latest`` stands at, or what ``name@which`` says.
    """

    records: Records
    house: House
    itself: Workflow | None = None
    _found: dict[str, Documents | None] = field(default_factory=dict)
    _owners: list[Documents] = field(default_factory=list)
    _ids: dict[str, str] = field(default_factory=dict)

    def content(self, source: Any, about: Mapping[str, Any]) -> Content:
        """The content of the workflow that ``source`` means, with other values of what ``about`` names.

        Blocks: it reads files and the database.

        Raises:
            SpecError: with every problem, errors and what keeps it from loading.
            EngineError: ``invalid_input``, for a value of ``about``.
        """
        values = checked_about(about)
        workflow = self.house.load(_titled(source, values))
        title = values.get("title") or ""
        if (name := values.get("name")) is not None:
            title = title or ("" if slug(name) == name else name)
            workflow = replace(workflow, spec=workflow.spec.model_copy(update={"name": slug(name)}))
        self.itself = workflow
        made = self._checked(workflow)
        rest = {key: value for key, value in values.items() if key not in ("name", "title")}
        made = made.changed(rest) if rest else made
        return replace(made, title=title or made.title)

    def _checked(self, workflow: Workflow) -> Content:
        known = PinnedHouse(self.house, self.documents, self._names)
        links = Links(self.resolve)
        analysis = analyse(workflow, known.services, links)
        if analysis.errors:
            raise SpecError(analysis.errors)
        tools = known.services.tools
        found = usage.used_by(analysis.plan, tools)
        pins = self._pins(found, tools)
        return of_documents(links.documents(analysis.plan), pins, usage.merged(found, self._ids))

    def _pins(self, found: dict[tuple[str, str], int], tools: Tools) -> dict[str, Documents]:
        """The workflows that are called as tools, also by each other, with all that they use noted in ``found``."""
        pins: dict[str, Documents] = {}
        waiting = usage.workflow_tools(found)
        while waiting:
            name, depth = waiting.popitem()
            documents = self.documents(name.removeprefix(PREFIX))
            if documents is None or name in pins:
                continue
            links = Links(documents.resolve)
            plan, _ = expand(documents.workflow, links)
            pins[name] = links.documents(plan)
            inner = usage.used_by(plan, tools, beyond=depth)
            for key, deep in inner.items():
                found[key] = min(found.get(key, deep), deep)
            waiting.update({each: deep for each, deep in usage.workflow_tools(inner).items() if each not in pins})
        return pins

    # -- what names mean -----------------------------------------------------------------------------------

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        """What ``use: name`` means in ``user``."""
        for owner in self._owners:
            if any(each is user for each in owner.documents):
                return owner.resolve(name, user)
        if self.itself is not None and name == self.itself.spec.name:
            return self.itself
        found = None if name.startswith(("./", "../")) else self._in_library(name)
        return found.workflow if found is not None else self.house.resolve(name, user)

    def documents(self, name: str) -> Documents | None:
        """The workflow that the tool ``workflow.name`` calls, with what it uses."""
        if self.itself is not None and name == self.itself.spec.name:
            return _Live(documents=(self.itself,), of=self)
        found = self._in_library(name)
        if found is not None:
            return found
        workflow = self._file(name)
        return None if workflow is None else _Live(documents=(workflow,), of=self)

    def _file(self, name: str) -> Workflow | None:
        path = self.house.find(name)
        return None if path is None else self.house.load(path)

    def _in_library(self, name: str) -> Documents | None:
        """The published workflow of that name, and the workflows that it was published with."""
        if name not in self._found:
            bundle = self.records.read(lambda connection: self._read(connection, name))
            self._found[name] = bundle.main if bundle is not None else None
            if bundle is not None:
                self._owners.append(bundle.main)
        return self._found[name]

    def _read(self, connection: sa.Connection, name: str) -> Bundle | None:
        whole, which = parted(name)
        row = versions.named(connection, whole)
        if row is None or row["status"] != "active":
            return None
        version = versions.version(connection, row, which if which is not None else LATEST)
        if version.kind != "spec":
            return None
        bundle = versions.content(connection, version).bundle
        if bundle is not None:
            self._ids[bundle.workflow.spec.name] = row["id"]
            self._ids[whole] = row["id"]
        return bundle

    def _names(self) -> list[str]:
        query = sa.select(WORKFLOWS.c.name).where(WORKFLOWS.c.deleted_at.is_(None), WORKFLOWS.c.status == "active")
        known = self.records.read(lambda connection: [str(name) for name in connection.execute(query).scalars()])
        files = (name.removeprefix(PREFIX) for name in self.house.services.tools.names() if name.startswith(PREFIX))
        own = [self.itself.spec.name] if self.itself is not None else []
        return sorted({*known, *files, *own})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live(Documents):
    """A workflow whose ``use:`` is looked for where it is published."""

    of: Publishing

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        """What ``use: name`` means."""
        return self.of.resolve(name, user)


def _titled(source: Any, values: Mapping[str, Any]) -> Any:
    """The source with the name that it is to have, where it is a mapping that may lack one."""
    if isinstance(source, Mapping) and (name := values.get("name")) is not None:
        return {**source, "name": slug(name)}
    return source
