"""The workflows that executions began with, kept by their content, so that a changed file changes no open one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records import payloads
from cogwork.records.database import Records
from cogwork.records.tables.executions import BUNDLES, EXECUTIONS
from cogwork.store.errors import StoreError
from cogwork.store.specs import SpecStore
from graphs.graph import WorkflowGraph
from graphs.language.dump import to_dict
from graphs.language.load import Workflow, load
from state.values import Json

RENEWED_AFTER: Final = timedelta(hours=1)


class Bundles:
    """Workflows with all that they use, under the digest of their canonical form; ``older`` holds those of earlier days."""

    def __init__(self, records: Records, older: SpecStore | None = None) -> None:
        self._records, self._older = records, older

    def keep(self, graph: WorkflowGraph) -> str:
        """Store what the graph was built from; the digest that finds it again."""
        digest = graph.digest
        self._records.write(lambda connection: kept(connection, digest, lambda: documents_of(graph)))
        return digest

    def documents(self, digest: str) -> list[Json]:
        """The documents of that digest as canonical data, the workflow's own first.

        Raises:
            StoreError: they were not kept.
        """
        found: list[Json] | None = self._records.read(lambda connection: documents(connection, digest))
        if found is None:
            raise StoreError(f"The workflow {digest[:12]} that the execution began with was not kept")
        return found

    def find(self, digest: str) -> tuple[Workflow, Callable[[str, Workflow], Workflow | None]]:
        """The workflow of that digest, and what finds the workflows that it uses.

        Raises:
            StoreError: it was not kept, or cannot be read.
        """
        found: list[Json] | None = self._records.read(lambda connection: documents(connection, digest))
        if found is None and self._older is not None:
            return self._older.find(digest)
        if found is None:
            raise StoreError(f"The workflow {digest[:12]} that the execution began with was not kept")
        return opened(found, digest)


def documents_of(graph: WorkflowGraph) -> list[Json]:
    """What a graph was built from, as canonical data."""
    return [to_dict(document.spec) for document in graph.plan.documents]


def opened(found: list[Json], digest: str) -> tuple[Workflow, Callable[[str, Workflow], Workflow | None]]:
    """Documents as workflows again.

    Raises:
        StoreError: they cannot be read.
    """
    try:
        workflows = [load(spec, file=f"<kept {digest[:12]}>") for spec in found]
    except ValueError as err:
        raise StoreError(f"The workflow {digest[:12]} that the execution began with cannot be read: {err}") from err
    rest = iter(workflows[1:])
    return workflows[0], lambda name, user: next(rest, None)


def kept(connection: Connection, digest: str, found: Callable[[], list[Json]]) -> None:
    """Store documents under their digest, once; what is stored again is taken for used, and not cleaned away."""
    now = datetime.now(UTC)
    known = connection.execute(sa.select(BUNDLES.c.kept_at).where(BUNDLES.c.digest == digest)).scalar()
    if known is not None:
        if known < now - RENEWED_AFTER:
            connection.execute(sa.update(BUNDLES).where(BUNDLES.c.digest == digest).values(kept_at=now))
        return
    from sqlalchemy.dialects import postgresql, sqlite

    spec = payloads.kept(connection, found(), "workflow")
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(BUNDLES)
    row = {"digest": digest, "spec": spec, "kept_at": now}
    connection.execute(made.values(**row).on_conflict_do_nothing(index_elements=["digest"]))


def take_away(connection: Connection, before: datetime, limit: int = 500) -> int:
    """Remove bundles that were last kept before then and with which no execution began; how many."""
    used = sa.exists().where(EXECUTIONS.c.digest == BUNDLES.c.digest)
    old = sa.select(BUNDLES.c.digest).where(BUNDLES.c.kept_at < before, sa.not_(used)).limit(limit)
    return connection.execute(sa.delete(BUNDLES).where(BUNDLES.c.digest.in_(old))).rowcount


def documents(connection: Connection, digest: str) -> list[Json] | None:
    """The documents of that digest; None where they were not kept."""
    spec = connection.execute(sa.select(BUNDLES.c.spec).where(BUNDLES.c.digest == digest)).scalar()
    return payloads.found(connection, spec) if spec is not None else None
