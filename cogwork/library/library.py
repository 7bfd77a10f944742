"""The library: workflows with versions that never change, labels that say which one is meant, and who uses what."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.library import listing, versions
from cogwork.library.bundles import Bundle
from cogwork.library.code import CodeRegistry
from cogwork.library.comparing import Comparison, compared
from cogwork.library.content import ABOUT, Content
from cogwork.library.entries import LabelMove, Used, User, VersionRecord, WorkflowRecord
from cogwork.library.house import House
from cogwork.library.names import LATEST, checked_label, is_name, parted
from cogwork.library.publishing import Publishing
from cogwork.library.sources import merged_source
from cogwork.records.database import Records
from cogwork.records.pages import Page
from cogwork.records.tables.library import WORKFLOWS

ROUNDS: Final = 20
"""How often a change of the current version is made anew because somebody else has published meanwhile."""
KEPT: Final = 128
KINDS: Final = ("workflow", "tool", "agent", "model", "prompt", "mode")


class Library:
    """Workflows in the database of the records.

    A workflow is named by its id or name; ``name@2`` and ``name@prod`` say which version. Whatever is published has been
    checked, and holds all that it uses as that was then: nothing that is changed later reaches it. ``now`` is its clock,
    ``new_id`` draws ids.
    """

    def __init__(
        self,
        records: Records,
        house: House,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: f"wf-{uuid.uuid4().hex[:20]}",
    ) -> None:
        self.records, self.house = records, house
        self.code = CodeRegistry(house)
        self._now, self._new_id = now, new_id
        self._contents: dict[tuple[str, int], Content] = {}

    # -- publishing ----------------------------------------------------------------------------------------

    async def create(
        self,
        source: Any,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        author: str = "",
        note: str = "",
    ) -> WorkflowRecord:
        """A new workflow with its first version. A title in place of a name gives it a name that is free.

        Raises:
            SpecError: the workflow has faults; holds every problem.
            EngineError: ``conflict``; the name is taken.
        """
        about = _about(name=name, title=title, description=description, tags=tags, metadata=metadata)
        content = await asyncio.to_thread(self._publishing().content, source, about)
        given = name if name is not None else _name_in(source) or content.title or content.name
        return await self._created(content, another_name=not is_name(given), author=author, note=note)

    async def _created(self, content: Content, *, another_name: bool, author: str, note: str) -> WorkflowRecord:
        id, now = self._new_id(), self._now()

        def create(connection: Connection) -> WorkflowRecord:
            row = versions.created(
                connection, content, id=id, now=now, author=author, note=note, another_name=another_name
            )
            return _record(connection, row)

        return await self.records.writing(create)

    async def update(
        self,
        id_or_name: str,
        source: Any = None,
        *,
        updates: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
        author: str = "",
        note: str = "",
    ) -> WorkflowRecord:
        """A new version: ``source``, or the current version with the ``updates``; none where nothing changes.

        ``updates`` are of name, title, description, tags and metadata, which leave what the version uses as it was, or of
        parts of the document (``steps``, ``nodes``, ``input`` …). Without ``source`` the changes of two callers are joined,
        with ``expected_version`` the second is refused. A source's own name is not taken over; ``updates`` rename.

        Raises:
            SpecError: the workflow has faults.
            EngineError: ``workflow_not_found``; ``conflict``, as it has changed since ``expected_version``; ``invalid_input``.
        """
        if source is None and not updates:
            raise EngineError("invalid_input", "update takes a source, updates, or both: there is nothing to change")
        renamed, joins = "name" in (updates or {}), source is None and expected_version is None
        for _ in range(ROUNDS):
            row, seen, content = await self._changed(id_or_name, source, updates or {})
            publish = partial(
                self._published,
                id=row["id"],
                content=content,
                renamed=renamed,
                seen=seen if joins else None,
                expected=expected_version,
                author=author,
                note=note,
            )
            if (made := await self.records.writing(publish)) is not None:
                return made
        raise EngineError("conflict", f"{id_or_name} is being changed by others all the time: try again", rounds=ROUNDS)

    def _published(
        self,
        connection: Connection,
        *,
        id: str,
        content: Content,
        renamed: bool,
        seen: int | None,
        expected: int | None,
        author: str,
        note: str,
    ) -> WorkflowRecord | None:
        """The workflow with that content as its version; None where its version is no more the one that was ``seen``."""
        row = versions.workflow(connection, id, lock=True)
        if seen is not None and versions.labels_of(connection, id).get(LATEST) != seen:
            return None
        named = content if renamed else content.named(row["name"])
        versions.published(connection, row, named, now=self._now(), author=author, note=note, expected=expected)
        return _record(connection, versions.workflow(connection, id))

    async def _changed(
        self, id_or_name: str, source: Any, updates: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], int, Content]:
        """The workflow, its current version, and the content that it is to have."""

        def look(connection: Connection) -> tuple[Mapping[str, Any], VersionRecord, Content]:
            row = versions.workflow(connection, id_or_name)
            current = versions.version(connection, row)
            return row, current, versions.content(connection, current)

        row, current, content = await self.records.reading(look)
        about = {key: value for key, value in updates.items() if key in ABOUT}
        parts = {key: value for key, value in updates.items() if key not in ABOUT}
        if source is None and not parts:
            return row, current.version, content.changed(about)
        document = merged_source(self.house, source, content, parts)
        title = {} if "title" in about or "name" in about else {"title": content.title or None}
        made = await asyncio.to_thread(self._publishing().content, document, {**title, **about})
        return row, current.version, made

    async def register(
        self,
        thing: Any,
        *,
        name: str | None = None,
        author: str = "",
        note: str = "",
        **arguments: Any,
    ) -> WorkflowRecord:
        """A workflow that is code: a class or function that builds a graph, with the ``arguments`` it is called with, a
        ``StateGraph`` or a compiled graph. Registered again with other code or arguments it gets a new version.

        Raises:
            EngineError: ``invalid_input``; it builds no graph, or the arguments do not fit.
        """
        known = self.code.described(thing, name, arguments)
        id, now = self._new_id(), self._now()

        def write(connection: Connection) -> tuple[WorkflowRecord, VersionRecord]:
            row = versions.named(connection, known.content.name, lock=True)
            if row is None:
                row = versions.created(
                    connection, known.content, id=id, now=now, author=author, note=note, another_name=False
                )
            else:
                versions.published(connection, row, known.content, now=now, author=author, note=note)
            row = versions.workflow(connection, row["id"])
            return _record(connection, row), versions.version(connection, row)

        record, version = await self.records.writing(write)
        await self.code.keep(version, known)
        return record

    def _publishing(self) -> Publishing:
        return Publishing(records=self.records, house=self.house)

    # -- looking -------------------------------------------------------------------------------------------

    async def get(self, id_or_name: str) -> WorkflowRecord:
        """The workflow of that id or name.

        Raises:
            EngineError: ``workflow_not_found``, with suggestions.
        """
        return await self.records.reading(
            lambda connection: _record(connection, versions.workflow(connection, id_or_name))
        )

    async def list(
        self,
        *,
        tags: Iterable[str] = (),
        status: str | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[WorkflowRecord]:
        """Workflows, the latest made first: with all of the tags, of that status (all without), with that text in name,
        title or description.

        Raises:
            EngineError: ``invalid_input``, ``invalid_cursor``.
        """
        return await self.records.reading(
            lambda connection: listing.page(connection, tags=tags, status=status, text=text, limit=limit, cursor=cursor)
        )

    async def version(self, id_or_name: str, which: int | str | None = None, *, deleted: bool = False) -> VersionRecord:
        """The version of that number or label, or the one that ``name@which`` says; else the one labelled ``latest``. With
        ``deleted`` also that of a workflow that was deleted, by its id: executions go on with it.

        Raises:
            EngineError: ``workflow_not_found``, ``version_not_found``.
        """
        return await self.records.reading(lambda connection: version_of(connection, id_or_name, which, deleted))

    async def versions(self, id_or_name: str) -> tuple[VersionRecord, ...]:
        """All versions, the newest first.

        Raises:
            EngineError: ``workflow_not_found``.
        """
        return await self.records.reading(
            lambda connection: tuple(listing.versions_of(connection, versions.workflow(connection, id_or_name)))
        )

    async def of_digest(self, digest: str) -> VersionRecord | None:
        """The newest version whose runs carry that digest; None where none was published."""
        return await self.records.reading(lambda connection: versions.of_digest(connection, digest))

    async def content(self, id_or_name: str, which: int | str | None = None) -> Content:
        """What a version consists of.

        Raises:
            EngineError: ``workflow_not_found``, ``version_not_found``; ``database_error`` where it was altered.
        """
        return await self.records.reading(
            lambda connection: self.content_in(connection, version_of(connection, id_or_name, which))
        )

    async def content_of(self, version: VersionRecord) -> Content:
        """``content``, of a version at hand."""
        return await self.records.reading(lambda connection: self.content_in(connection, version))

    def content_in(self, connection: Connection, version: VersionRecord) -> Content:
        """What a version consists of, read within a transaction; versions read before are at hand."""
        key = version.workflow_id, version.version
        if (known := self._contents.get(key)) is None:
            known = versions.content(connection, version)
            while len(self._contents) >= KEPT:
                self._contents.pop(next(iter(self._contents)), None)
            self._contents[key] = known
        return known

    async def bundle(self, id_or_name: str, which: int | str | None = None) -> Bundle:
        """A version's workflow with all that it was published with; ``workflow, resolve = bundle``.

        ``cogwork.library.pinned.compiled`` makes its graph.

        Raises:
            EngineError: ``invalid_input`` for code, which has no documents; else as ``content``.
        """
        found = (await self.content(id_or_name, which)).bundle
        if found is None:
            raise EngineError("invalid_input", f"{id_or_name} is code: it has no documents", workflow=id_or_name)
        return found

    # -- labels --------------------------------------------------------------------------------------------

    async def label(
        self, id_or_name: str, label: str, which: int | str | None = None, *, author: str = ""
    ) -> WorkflowRecord:
        """Set or move a label to a version (``which`` as for ``version``).

        Raises:
            EngineError: ``workflow_not_found``, ``version_not_found``; ``invalid_input`` for no label, or for ``latest``, which
                follows what is published and rolled back.
        """
        if checked_label(label) == LATEST:
            raise EngineError("invalid_input", "latest follows what is published: roll back to move it", label=label)
        return await self._moved(id_or_name, label, which, author)

    async def unlabel(self, id_or_name: str, label: str, *, author: str = "") -> WorkflowRecord:
        """Take a label away.

        Raises:
            EngineError: ``workflow_not_found``; ``invalid_input`` for ``latest``, or a label that it does not have.
        """

        def take(connection: Connection) -> WorkflowRecord:
            row = versions.workflow(connection, id_or_name, lock=True)
            known = versions.labels_of(connection, row["id"])
            if label == LATEST or label not in known:
                has = ", ".join(each for each in known if each != LATEST) or "none"
                raise EngineError("invalid_input", f"{row['name']} has no label {label!r} to take away; it has {has}")
            versions.moved(connection, row["id"], label, None, now=self._now(), author=author)
            return _record(connection, row)

        return await self.records.writing(take)

    async def rollback(
        self, id_or_name: str, to_version: int | str, *, label: str = LATEST, author: str = ""
    ) -> WorkflowRecord:
        """Let a label stand at an earlier (or later) version; what is published next goes on from the highest number.

        Raises:
            EngineError: ``workflow_not_found``, ``version_not_found``, ``invalid_input``.
        """
        return await self._moved(id_or_name, checked_label(label), to_version, author)

    async def _moved(self, id_or_name: str, label: str, which: int | str | None, author: str) -> WorkflowRecord:
        def move(connection: Connection) -> WorkflowRecord:
            name, inside = parted(id_or_name)
            row = versions.workflow(connection, name, lock=True)
            version = versions.version(connection, row, _which(which, inside))
            moved = versions.moved(connection, row["id"], label, version.version, now=self._now(), author=author)
            if label == LATEST and moved is not None:
                versions.mirrored(connection, row["id"], self.content_in(connection, version))
                _touch(connection, row["id"], updated_at=self._now())
            return _record(connection, versions.workflow(connection, row["id"]))

        return await self.records.writing(move)

    async def labels(self, id_or_name: str) -> Mapping[str, int]:
        """Where each label stands."""
        return (await self.get(id_or_name)).labels

    async def label_moves(self, id_or_name: str) -> tuple[LabelMove, ...]:
        """Every move of a label, the first one first."""
        return await self.records.reading(
            lambda connection: tuple(versions.moves_of(connection, versions.workflow(connection, id_or_name)["id"]))
        )

    # -- leaving -------------------------------------------------------------------------------------------

    async def archive(self, id_or_name: str) -> WorkflowRecord:
        """Take a workflow out of use; its open executions go on.

        Raises:
            EngineError: ``workflow_not_found``.
        """
        return await self._restated(id_or_name, "archived", deleted=False)

    async def restore(self, id_or_name: str) -> WorkflowRecord:
        """Take an archived workflow into use again, or a deleted one, by its id.

        Raises:
            EngineError: ``workflow_not_found``; ``conflict``, as another workflow has its name by now.
        """
        return await self._restated(id_or_name, "active", deleted=True)

    async def _restated(self, id_or_name: str, status: str, *, deleted: bool) -> WorkflowRecord:
        def restate(connection: Connection) -> WorkflowRecord:
            row = versions.workflow(connection, id_or_name, lock=True, deleted=deleted)
            values = {"status": status, "updated_at": self._now(), "deleted_at": None}
            versions.taking(connection, row["name"], lambda: _touch(connection, row["id"], **values))
            return _record(connection, versions.workflow(connection, row["id"]))

        return await self.records.writing(restate)

    async def delete(self, id_or_name: str, *, force: bool = False) -> bool:
        """Delete a workflow, so that its name is free; its versions stay for the executions that began with them.

        Raises:
            EngineError: ``workflow_not_found``; ``in_use`` without ``force``: it has open executions, or others use it.
        """

        def delete(connection: Connection) -> bool:
            row = versions.workflow(connection, id_or_name, lock=True)
            if not force:
                listing.refuse_in_use(connection, row)
            _touch(connection, row["id"], deleted_at=self._now(), updated_at=self._now())
            return True

        return await self.records.writing(delete)

    # -- who uses what -------------------------------------------------------------------------------------

    async def uses(
        self, id_or_name: str, which: int | str | None = None, *, depth: int | None = None
    ) -> tuple[Used, ...]:
        """What a version uses, itself (``depth`` 1) and through the workflows it uses; at most so deep.

        Raises:
            EngineError: ``workflow_not_found``, ``version_not_found``.
        """
        found = await self.records.reading(
            lambda connection: versions.uses_of(connection, version_of(connection, id_or_name, which))
        )
        return tuple(each for each in found if each.kind in KINDS and (depth is None or each.depth <= depth))

    async def users(
        self, kind: str, name: str, *, depth: int | None = None, every_version: bool = False
    ) -> tuple[User, ...]:
        """The versions with a label (or all) that use the thing of that kind and name, themselves or through others.

        Raises:
            EngineError: ``invalid_input``; there is no such kind of thing.
        """
        if kind not in KINDS:
            raise EngineError("invalid_input", f"{kind!r:.40} is no kind of thing: it may be {', '.join(KINDS)}")

        def find(connection: Connection) -> tuple[User, ...]:
            found = listing.users(connection, kind, [name], depth=depth, every_version=every_version)
            if kind == "workflow" and (row := versions.named(connection, name)) is not None:
                more = listing.users(connection, "workflow_id", [row["id"]], depth=depth, every_version=every_version)
                seen = {(each.workflow_id, each.version) for each in found}
                found += [each for each in more if (each.workflow_id, each.version) not in seen]
            return tuple(sorted(found, key=lambda each: (each.depth, each.workflow, each.version)))

        return await self.records.reading(find)

    async def diff(self, id_or_name: str, a: int | str, b: int | str = LATEST) -> Comparison:
        """What changes for callers between two versions.

        Raises:
            EngineError: ``workflow_not_found``, ``version_not_found``.
        """

        def read(connection: Connection) -> tuple[VersionRecord, Content, VersionRecord, Content]:
            one, other = (version_of(connection, id_or_name, which) for which in (a, b))
            return one, self.content_in(connection, one), other, self.content_in(connection, other)

        one, before, other, after = await self.records.reading(read)
        made = await asyncio.to_thread(compared, self.house, before, after)
        return replace(made, workflow=one.name, a=one.version, b=other.version)


def version_of(
    connection: Connection, id_or_name: str, which: int | str | None = None, deleted: bool = False
) -> VersionRecord:
    """``Library.version`` within a transaction."""
    if not isinstance(id_or_name, str):
        raise EngineError("invalid_input", f"A workflow is named by its id or name, not by {id_or_name!r:.80}")
    name, inside = parted(id_or_name)
    row = versions.workflow(connection, name, deleted=deleted)
    return versions.version(connection, row, _which(which, inside))


def _which(which: int | str | None, inside: int | str | None) -> int | str:
    return which if which is not None else inside if inside is not None else LATEST


def _record(connection: Connection, row: Mapping[str, Any]) -> WorkflowRecord:
    return listing.records(connection, [row])[0]


def _touch(connection: Connection, id: str, **values: Any) -> None:
    connection.execute(sa.update(WORKFLOWS).where(WORKFLOWS.c.id == id).values(**values))


def _about(**values: Any) -> dict[str, Any]:
    found = {key: value for key, value in values.items() if value is not None}
    if "tags" in found and not isinstance(found["tags"], str):
        found["tags"] = tuple(found["tags"])
    return found


def _name_in(source: Any) -> str | None:
    name = source.get("name") if isinstance(source, Mapping) else None
    return name if isinstance(name, str) else None


__all__ = ["Library", "version_of"]
