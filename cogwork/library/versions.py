"""Versions and labels in the database: written once, found by number or label, read with their digests proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from cogwork.errors import EngineError, not_found
from cogwork.library.content import Content, read
from cogwork.library.entries import LabelMove, Used, VersionRecord
from cogwork.library.names import LATEST, numbered, version_or_label
from cogwork.records import payloads
from cogwork.records.tables.library import LABEL_MOVES, LABELS, USES, VERSIONS, WORKFLOW_TAGS, WORKFLOWS

Row = Mapping[str, Any]


def named(connection: Connection, id_or_name: str, *, lock: bool = False, deleted: bool = False) -> Row | None:
    """The row of the workflow with that id or name; ``lock`` keeps others from changing it until the transaction ends."""
    known = sa.true() if deleted else WORKFLOWS.c.deleted_at.is_(None)
    for where in (
        WORKFLOWS.c.id == id_or_name,
        sa.and_(WORKFLOWS.c.name == id_or_name, WORKFLOWS.c.deleted_at.is_(None)),
    ):
        query = sa.select(WORKFLOWS).where(where, known)
        row = connection.execute(query.with_for_update() if lock else query).mappings().first()
        if row is not None:
            return dict(row)
    return None


def workflow(connection: Connection, id_or_name: str, *, lock: bool = False, deleted: bool = False) -> Row:
    """The row of the workflow with that id or name.

    Raises:
        EngineError: ``workflow_not_found``, with the nearest names.
    """
    if not isinstance(id_or_name, str):
        raise EngineError("invalid_input", f"A workflow is named by its id or name, not by {id_or_name!r:.80}")
    row = named(connection, id_or_name, lock=lock, deleted=deleted)
    if row is None:
        known = connection.execute(
            sa.select(WORKFLOWS.c.name).where(WORKFLOWS.c.deleted_at.is_(None)).limit(5000)
        ).scalars()
        raise not_found("workflow_not_found", "workflow", id_or_name, known)
    return row


# -- writing -------------------------------------------------------------------------------------------------


def created(
    connection: Connection, content: Content, *, id: str, now: datetime, author: str, note: str, another_name: bool
) -> Row:
    """A new workflow with its first version; with ``another_name`` a number is added to a name that is taken.

    Raises:
        EngineError: ``conflict``; the name is taken.
    """
    wanted, number = content, 1
    while named(connection, wanted.name) is not None:
        if not another_name:
            raise _taken(wanted.name)
        number += 1
        wanted = content.named(numbered(content.name, number))
    row = {
        "id": id,
        "name": wanted.name,
        "title": wanted.title,
        "description": wanted.description,
        "status": "active",
        "latest": 0,
        "metadata": dict(wanted.metadata),
        "created_at": now,
        "updated_at": now,
        "deleted_at": None,
    }
    taking(connection, wanted.name, lambda: connection.execute(sa.insert(WORKFLOWS).values(**row)))
    written(connection, row, wanted, now=now, author=author, note=note)
    return workflow(connection, id)


def published(
    connection: Connection,
    row: Row,
    content: Content,
    *,
    now: datetime,
    author: str,
    note: str,
    expected: int | None = None,
) -> int:
    """The number of the version with that content: a new one, unless it is that of the current version.

    ``row`` is locked; ``expected`` is the current version that the caller has seen.

    Raises:
        EngineError: ``conflict``; somebody else has published meanwhile, or the new name is taken.
    """
    current = labels_of(connection, row["id"]).get(LATEST)
    if expected is not None and expected != current:
        message = (
            f"{row['name']} is at version {current} by now, and you changed version {expected}: look at what is new and "
            f"change that (cogwork compare {row['name']} {expected} {current})"
        )
        raise EngineError("conflict", message, expected_version=expected, version=current)
    if content.name != row["name"]:
        values = {"name": content.name}
        change = sa.update(WORKFLOWS).where(WORKFLOWS.c.id == row["id"]).values(**values)
        taking(connection, content.name, lambda: connection.execute(change))
        row = {**row, **values}
    elif current is not None and payloads.encoded(content.payload) == payloads.encoded(
        payloads.found(connection, version(connection, row, current).payload)
    ):
        return current
    return written(connection, row, content, now=now, author=author, note=note)


def written(connection: Connection, row: Row, content: Content, *, now: datetime, author: str, note: str) -> int:
    """Write the content as the next version, and move ``latest`` there; its number."""
    number = int(row["latest"]) + 1
    code = content.code
    connection.execute(
        sa.insert(VERSIONS).values(
            workflow_id=row["id"],
            version=number,
            digest=content.digest,
            kind=content.kind,
            spec=payloads.kept(connection, content.payload, "workflow"),
            reference=code.reference if code is not None else None,
            arguments=dict(code.arguments) if code is not None else None,
            note=note,
            author=author,
            created_at=now,
        )
    )
    if content.uses:
        uses = [{"kind": each.kind, "name": each.name, "depth": each.depth} for each in content.uses]
        connection.execute(sa.insert(USES), [{"workflow_id": row["id"], "version": number, **each} for each in uses])
    connection.execute(sa.update(WORKFLOWS).where(WORKFLOWS.c.id == row["id"]).values(latest=number, updated_at=now))
    moved(connection, row["id"], LATEST, number, now=now, author=author)
    mirrored(connection, row["id"], content)
    return number


def mirrored(connection: Connection, id: str, content: Content) -> None:
    """Let the workflow's row say what the version that ``latest`` stands at says."""
    values = {"title": content.title, "description": content.description, "metadata": dict(content.metadata)}
    connection.execute(sa.update(WORKFLOWS).where(WORKFLOWS.c.id == id).values(**values))
    connection.execute(sa.delete(WORKFLOW_TAGS).where(WORKFLOW_TAGS.c.workflow_id == id))
    if content.tags:
        tags = [{"workflow_id": id, "tag": tag} for tag in dict.fromkeys(content.tags)]
        connection.execute(sa.insert(WORKFLOW_TAGS), tags)


def moved(
    connection: Connection, id: str, label: str, to: int | None, *, now: datetime, author: str = ""
) -> LabelMove | None:
    """Set, move or (``to`` None) take away a label of a locked workflow, and write down that it was; None where it stands
    there already."""
    before = labels_of(connection, id).get(label)
    if before == to:
        return None
    mine = sa.and_(LABELS.c.workflow_id == id, LABELS.c.label == label)
    if to is None:
        connection.execute(sa.delete(LABELS).where(mine))
    elif before is None:
        connection.execute(sa.insert(LABELS).values(workflow_id=id, label=label, version=to, moved_at=now))
    else:
        connection.execute(sa.update(LABELS).where(mine).values(version=to, moved_at=now))
    last = connection.execute(
        sa.select(sa.func.max(LABEL_MOVES.c.number)).where(LABEL_MOVES.c.workflow_id == id)
    ).scalar()
    move = LabelMove(number=(last or 0) + 1, label=label, before=before, after=to, moved_at=now, author=author)
    connection.execute(
        sa.insert(LABEL_MOVES).values(
            workflow_id=id,
            number=move.number,
            label=label,
            from_version=before,
            to_version=to,
            moved_at=now,
            author=author,
        )
    )
    return move


def taking(connection: Connection, name: str, change: Callable[[], Any]) -> None:
    """Make a change that takes a name.

    Raises:
        EngineError: ``conflict``; somebody else has it.
    """
    try:
        with connection.begin_nested():
            change()
    except IntegrityError as err:
        raise _taken(name) from err


def _taken(name: str) -> EngineError:
    message = f"There is a workflow {name!r} already: update it (that makes a new version), or choose another name"
    return EngineError("conflict", message, name=name)


# -- reading -------------------------------------------------------------------------------------------------


def labels_of(connection: Connection, id: str) -> dict[str, int]:
    """Where each label of a workflow stands."""
    rows = connection.execute(sa.select(LABELS.c.label, LABELS.c.version).where(LABELS.c.workflow_id == id))
    return {str(label): int(number) for label, number in sorted((row.label, row.version) for row in rows)}


def moves_of(connection: Connection, id: str) -> list[LabelMove]:
    """All moves of a workflow's labels, the first one first."""
    query = sa.select(LABEL_MOVES).where(LABEL_MOVES.c.workflow_id == id).order_by(LABEL_MOVES.c.number)
    return [
        LabelMove(
            number=row["number"],
            label=row["label"],
            before=row["from_version"],
            after=row["to_version"],
            moved_at=row["moved_at"],
            author=row["author"],
        )
        for row in connection.execute(query).mappings()
    ]


def version(connection: Connection, row: Row, which: int | str = LATEST) -> VersionRecord:
    """The version of that number or label.

    Raises:
        EngineError: ``version_not_found``; says which there are.
    """
    labels = labels_of(connection, row["id"])
    wanted = version_or_label(which)
    number = wanted if isinstance(wanted, int) else labels.get(wanted)
    if number is not None:
        query = sa.select(VERSIONS).where(VERSIONS.c.workflow_id == row["id"], VERSIONS.c.version == number)
        found = connection.execute(query).mappings().first()
        if found is not None:
            return record(dict(found), row["name"], labels)
    there = f"it has versions 1 to {row['latest']}" + (f" and the labels {', '.join(labels)}" if labels else "")
    message = f"{row['name']} has no version {which!r}: {there}"
    raise EngineError("version_not_found", message, workflow=row["name"], versions=row["latest"], labels=dict(labels))


def record(found: Row, name: str, labels: Mapping[str, int]) -> VersionRecord:
    """A version's row as what is told of it."""
    return VersionRecord(
        workflow_id=found["workflow_id"],
        name=name,
        version=found["version"],
        digest=found["digest"],
        kind=found["kind"],
        payload=found["spec"] or "",
        reference=found["reference"] or "",
        arguments=found["arguments"] or {},
        note=found["note"],
        author=found["author"],
        created_at=found["created_at"],
        labels=tuple(label for label, number in labels.items() if number == found["version"]),
    )


def of_digest(connection: Connection, digest: str) -> VersionRecord | None:
    """The newest version whose runs carry that digest; None where none was published."""
    query = (
        sa.select(VERSIONS, WORKFLOWS.c.name)
        .join(WORKFLOWS, WORKFLOWS.c.id == VERSIONS.c.workflow_id)
        .where(VERSIONS.c.digest == digest)
        .order_by(VERSIONS.c.created_at.desc(), VERSIONS.c.version.desc())
    )
    found = connection.execute(query.limit(1)).mappings().first()
    return None if found is None else record(dict(found), found["name"], labels_of(connection, found["workflow_id"]))


def content(connection: Connection, of: VersionRecord) -> Content:
    """What a version consists of, with both of its digests proven.

    Raises:
        EngineError: ``database_error``; what is stored is gone, was altered, or cannot be read by this cogwork.
    """
    place = f"{of.name}@{of.version}"
    made = read(payloads.found(connection, of.payload), of.name, place, uses_of(connection, of))
    if made.digest != of.digest:
        raise EngineError(
            "database_error",
            f"{place} was altered: what is stored has the digest {made.digest[:12]}, and {of.digest[:12]} was published",
            workflow=of.name,
            version=of.version,
        )
    return made


def uses_of(connection: Connection, of: VersionRecord) -> tuple[Used, ...]:
    """What a version uses."""
    query = sa.select(USES).where(USES.c.workflow_id == of.workflow_id, USES.c.version == of.version)
    rows = connection.execute(query).mappings()
    return tuple(sorted(Used(depth=row["depth"], kind=row["kind"], name=row["name"]) for row in rows))
