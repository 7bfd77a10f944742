"""What is told of an execution or of an error, as data: parts, artifacts, what can be done next, and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from state.values import Json

Form: TypeAlias = Literal["text", "markdown", "html", "json", "xml", "yaml"]
PartKind: TypeAlias = Literal["text", "markdown", "code", "data", "error", "question"]
ArtifactType: TypeAlias = Literal["file", "code", "data", "image", "document"]
Verb: TypeAlias = Literal["answer", "resume", "cancel", "fork", "why", "follow", "save", "again"]
_LONE: Final = re.compile("[\ud800-\udfff]")
MIME: Final[Mapping[PartKind, str]] = {
    "text": "text/plain",
    "markdown": "text/markdown",
    "code": "text/plain",
    "data": "application/json",
    "error": "application/json",
    "question": "application/json",
}
"""The media type of each kind of part; that of code says the language as well where one is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """That something is not shown in full: how many bytes are shown, of how many, and where the whole is."""

    shown: int
    size: int
    where: str

    @property
    def mark(self) -> str:
        """The sentence that stands where something was left out."""
        return f"[shortened: {self.shown:,} of {self.size:,} bytes; the whole: {self.where}]"

    def to_dict(self) -> dict[str, Json]:
        """It as plain JSON."""
        return {"shown": self.shown, "size": self.size, "where": self.where}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of what is told.

    ``content`` is text for ``text``, ``markdown`` and ``code``, and plain JSON for the others; ``name`` is the field of the
    output that it stands in (empty where it is the whole); ``because`` says why a text counts as Markdown; ``size`` is that of
    the whole in bytes of UTF-8, shortened or not.
    """

    kind: PartKind
    content: Json
    size: int
    name: str = ""
    language: str = ""
    because: str = ""
    shortened: Shortened | None = None

    @property
    def mime_type(self) -> str:
        """Its media type."""
        return MIME[self.kind]

    def to_dict(self) -> dict[str, Json]:
        """The part as plain JSON; what is empty is left out."""
        told: dict[str, Json] = {"kind": self.kind, "mime_type": self.mime_type, "content": self.content}
        more = {"name": self.name, "language": self.language, "because": self.because}
        told |= {name: value for name, value in more.items() if value}
        told["size"] = self.size
        return {**told, "shortened": self.shortened.to_dict()} if self.shortened else told


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something that an execution has made: a file, or a value of its result that is one.

    ``size`` is in bytes, None where it is not known; ``digest`` is ``sha256:…``, empty where the bytes were not seen. ``where``
    is one of ``{"file": path}``, ``{"value": pointer}`` into the result, ``{"uri": …}``, or ``{"refused": why}`` for what is
    not under the allowed folders, and is never read. ``content`` is there where it is small: text, or base64 if ``encoding``
    says so.
    """

    id: str
    name: str
    type: ArtifactType
    mime_type: str
    size: int | None
    digest: str
    where: Mapping[str, str]
    step: str = ""
    content: str | None = None
    encoding: Literal["", "base64"] = ""

    def to_dict(self) -> dict[str, Json]:
        """The artifact as plain JSON."""
        told: dict[str, Json] = {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "mime_type": self.mime_type,
            "size": self.size,
            "digest": self.digest or None,
            "where": dict(self.where),
            "step": self.step or None,
        }
        if self.content is not None:
            told |= {"content": self.content, "encoding": self.encoding or "utf-8"}
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What can be done next: ``command`` is the line for a terminal, ``method``, ``path`` and ``body`` the call over HTTP.

    ``kind`` is the documents' word for it; ``form`` the JSON Schema of what has to be given, by the step that asks.
    """

    id: str
    verb: Verb
    label: str
    description: str
    command: str
    method: Literal["GET", "POST"]
    path: str
    body: Json = None
    form: Mapping[str, Json] = field(default_factory=dict)
    kind: Literal["continue_conversation", "save_file", "open_link"] = "continue_conversation"

    def to_dict(self) -> dict[str, Json]:
        """The action as plain JSON, with the documents' names for what they have."""
        http: dict[str, Json] = {"method": self.method, "path": self.path, "body": self.body}
        return {
            "id": self.id,
            "verb": self.verb,
            "label": self.label,
            "description": self.description,
            "action": self.kind,
            "parameters": {"command": self.command, "http": http, "form": dict(self.form) or None},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """All that is told of an execution, or of a request that was refused (then ``execution`` is empty).

    ``status`` is that of the execution, ``timeout`` where it failed for want of time, and ``refused`` for a refused request.
    ``error`` is the documents' form of it, without the word ``error`` around it. ``metadata`` holds times and figures.
    """

    status: str
    execution: str = ""
    workflow: str = ""
    reason: str = ""
    parts: tuple[Part, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    actions: tuple[Action, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Json] | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """The response as plain JSON; the one that the forms json, xml and yaml write."""
        return {
            "status": self.status,
            "execution_id": self.execution or None,
            "workflow": self.workflow or None,
            "reason": self.reason or None,
            "error": dict(self.error) if self.error is not None else None,
            "parts": [part.to_dict() for part in self.parts],
            "artifacts": [artifact.to_dict() for artifact in self.artifacts],
            "actions": [action.to_dict() for action in self.actions],
            "warnings": list(self.warnings),
            "metadata": dict(self.metadata),
        }


def size_of(content: Any) -> int:
    """How many bytes a text has in UTF-8, or a plain JSON value written compactly."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode("utf-8", "surrogatepass"))


def dumped(value: Json, indent: int | None = None) -> str:
    """The value as JSON that can be sent in UTF-8: readable characters as they are, halves of a pair escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text if _LONE.search(text) is None else json.dumps(value, indent=indent)
