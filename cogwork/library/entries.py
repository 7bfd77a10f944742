"""What the library tells: workflows, their versions, the moves of their labels, and what uses what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from state.values import Json

Status: TypeAlias = Literal["active", "archived"]
VersionKind: TypeAlias = Literal["spec", "code"]
UseKind: TypeAlias = Literal["workflow", "tool", "agent", "model", "prompt", "mode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRecord:
    """A workflow of the library.

    ``version`` is the one that the label ``latest`` stands at, which title, description, tags and metadata are of; ``newest``
    is the highest, whatever the labels say.
    """

    id: str
    name: str
    title: str
    description: str
    status: Status
    version: int
    newest: int
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, int] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """The record as plain JSON; ``workflow_id`` is its id under the documents' name."""
        return {
            "id": self.id,
            "workflow_id": self.id,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "status": self.status,
            "version": self.version,
            "newest": self.newest,
            "labels": dict(self.labels),
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version of a workflow, which never changes.

    ``digest`` is that of the graph, which runs carry (``WorkflowGraph.digest``); ``payload`` that of all that is stored:
    the workflow, what it uses, and its title. ``reference`` is ``module:name`` of a code workflow that can be imported.
    """

    workflow_id: str
    name: str
    version: int
    digest: str
    kind: VersionKind
    payload: str
    reference: str
    arguments: Mapping[str, Json]
    note: str
    author: str
    created_at: datetime
    labels: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """The record as plain JSON."""
        return {
            "workflow_id": self.workflow_id,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "kind": self.kind,
            "reference": self.reference or None,
            "arguments": dict(self.arguments),
            "note": self.note,
            "author": self.author,
            "labels": list(self.labels),
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMove:
    """A label that was set, moved or taken away (``after`` is None)."""

    number: int
    label: str
    before: int | None
    after: int | None
    moved_at: datetime
    author: str = ""

    def to_dict(self) -> dict[str, Json]:
        """The move as plain JSON."""
        return {
            "number": self.number,
            "label": self.label,
            "from_version": self.before,
            "to_version": self.after,
            "moved_at": self.moved_at.isoformat(),
            "author": self.author,
        }


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Used:
    """Something that a version uses: by itself (``depth`` 1), or through workflows that it uses."""

    depth: int
    kind: str
    name: str

    def to_dict(self) -> dict[str, Json]:
        """The use as plain JSON."""
        return {"kind": self.kind, "name": self.name, "depth": self.depth}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A version that uses something."""

    workflow_id: str
    workflow: str
    version: int
    depth: int
    labels: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """The user as plain JSON."""
        return {
            "workflow_id": self.workflow_id,
            "workflow": self.workflow,
            "version": self.version,
            "depth": self.depth,
            "labels": list(self.labels),
        }
