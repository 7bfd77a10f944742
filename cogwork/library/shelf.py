"""What can be looked up in the library: workflows, versions, labels, who uses what, and what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.library import listing, versions
from cogwork.library.bundles import Bundle
from cogwork.library.comparing import Comparison, compared
from cogwork.library.content import Content
from cogwork.library.entries import LabelMove, Used, User, VersionRecord, WorkflowRecord
from cogwork.library.house import House
from cogwork.library.names import LATEST, parted
from cogwork.records.database import Records
from cogwork.records.pages import Page

KEPT: Final = 128
"""How many contents are at hand once they have been read."""
KINDS: Final = ("workflow", "tool", "agent", "model", "prompt", "mode")


class Shelf:
    """The library as readers see it; ``Library`` is for those who publish."""

    def __init__(self, records: Records, house: House) -> None:
        self.records, self.house = records, house
        self._contents: dict[tuple[str, int], Content] = {}

    # -- looking -------------------------------------------------------------------------------------------

    async def get(self, id_or_name: str) -> WorkflowRecord:
        """The workflow of that id or name.

        Raises:
            EngineError: ``workflow_not_found``, with suggestions.
        """
        return await self.records.reading(
            lambda connection: record_of(connection, versions.workflow(connection, id_or_name))
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

    async def labels(self, id_or_name: str) -> Mapping[str, int]:
        """Where each label stands."""
        return (await self.get(id_or_name)).labels

    async def label_moves(self, id_or_name: str) -> tuple[LabelMove, ...]:
        """Every move of a label, the first one first."""
        return await self.records.reading(
            lambda connection: tuple(versions.moves_of(connection, versions.workflow(connection, id_or_name)["id"]))
        )

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
    """``Shelf.version`` within a transaction."""
    if not isinstance(id_or_name, str):
        raise EngineError("invalid_input", f"A workflow is named by its id or name, not by {id_or_name!r:.80}")
    name, inside = parted(id_or_name)
    row = versions.workflow(connection, name, deleted=deleted)
    return versions.version(connection, row, which_of(which, inside))


def which_of(which: int | str | None, inside: int | str | None) -> int | str:
    """Which version is meant, by what is said beside the name and in it."""
    return which if which is not None else inside if inside is not None else LATEST


def record_of(connection: Connection, row: Mapping[str, Any]) -> WorkflowRecord:
    """A workflow's row as what is told of it."""
    return listing.records(connection, [row])[0]
