"""What a version consists of, ready to be written: made from a checked workflow, or from code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cogwork.errors import EngineError
from cogwork.library.bundles import FORMAT, Bundle, Documents, digest_of, unpacked
from cogwork.library.entries import Used, VersionKind
from cogwork.library.names import slug
from graphs.language.load import Workflow
from state.values import Json

TITLE: Final = "title"
ABOUT: Final = ("name", "title", "description", "tags", "metadata")
"""What of a workflow can be changed without another document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeContent:
    """What a version of kind ``code`` says of its code."""

    reference: str
    arguments: Mapping[str, Json]
    source: str

    @property
    def digest(self) -> str:
        """SHA-256 over reference, arguments and source text."""
        return digest_of("code", self.reference, dict(self.arguments), self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A version's content: a bundle of documents, or code."""

    name: str
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    bundle: Bundle | None = None
    code: CodeContent | None = None
    uses: tuple[Used, ...] = ()

    @property
    def kind(self) -> VersionKind:
        """Whether it is a spec or code."""
        return "spec" if self.bundle is not None else "code"

    @property
    def digest(self) -> str:
        """What runs of the version carry."""
        if self.bundle is not None:
            return self.bundle.digest
        return self.code.digest if self.code is not None else ""

    @property
    def payload(self) -> dict[str, Json]:
        """All that is stored of it; equal contents have equal payloads."""
        about = {"format": FORMAT, "title": self.title}
        if self.bundle is not None:
            return {**about, **self.bundle.packed()}
        code = self.code or CodeContent(reference="", arguments={}, source="")
        return {
            **about,
            "description": self.description,
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            "code": {"reference": code.reference, "arguments": dict(code.arguments), "source": code.source},
        }

    def named(self, name: str) -> Content:
        """The same under another name."""
        return self if name == self.name else self.changed({"name": name})

    def changed(self, about: Mapping[str, Any]) -> Content:
        """The same with other values of what ``ABOUT`` lists; a name that is a title is kept as the title.

        Raises:
            EngineError: ``invalid_input``; a value is of the wrong type.
        """
        values = checked_about(about)
        title = values.get("title", self.title)
        if (name := values.get("name")) is not None and slug(name) != name:
            title = values.get("title", name)
        fields: dict[str, Any] = {k: values[k] for k in ("description", "tags", "metadata") if k in values}
        fields["name"] = slug(values["name"]) if name is not None else self.name
        made = replace(self, title=title, **fields)
        if self.bundle is None:
            return made
        spec = self.bundle.workflow.spec.model_copy(
            update={
                "name": made.name,
                "description": made.description,
                "tags": list(made.tags),
                "metadata": dict(made.metadata),
            }
        )
        return replace(made, bundle=_with_main(self.bundle, replace(self.bundle.workflow, spec=spec)))


def _with_main(bundle: Bundle, workflow: Workflow) -> Bundle:
    """The bundle with another workflow in the place of the first; where that calls itself as a tool, there too."""
    old = bundle.main.workflow
    main = replace(bundle.main, documents=(workflow, *bundle.main.documents[1:]))
    tools = {
        name: replace(each, documents=(workflow, *each.documents[1:])) if each.workflow is old else each
        for name, each in bundle.tools.items()
    }
    own = f"workflow.{old.spec.name}"
    if own in tools and old.spec.name != workflow.spec.name:
        raise EngineError(
            "invalid_input", f"{old.spec.name} calls itself as {own}: it cannot be renamed", name=old.spec.name
        )
    return Bundle(main=main, tools=tools)


def of_documents(
    documents: Documents, tools: Mapping[str, Documents], uses: tuple[Used, ...], title: str = ""
) -> Content:
    """The content of a checked workflow."""
    spec = documents.workflow.spec
    kept = spec.metadata.get(TITLE)
    return Content(
        name=spec.name,
        title=title or (kept if isinstance(kept, str) else ""),
        description=spec.description,
        tags=tuple(spec.tags),
        metadata=spec.metadata,
        bundle=Bundle(main=documents, tools=tools),
        uses=uses,
    )


def read(payload: Json, name: str, place: str, uses: tuple[Used, ...] = ()) -> Content:
    """The content that a payload holds.

    Raises:
        EngineError: ``database_error``; it was altered, or made by another cogwork.
    """
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        known = payload.get("format") if isinstance(payload, dict) else None
        raise EngineError("database_error", f"{place} has the form {known!r}, and this cogwork reads {FORMAT}")
    title = str(payload.get("title", ""))
    if "code" in payload:
        code = payload["code"]
        return Content(
            name=name,
            title=title,
            description=str(payload.get("description", "")),
            tags=tuple(payload.get("tags", ())),
            metadata=payload.get("metadata", {}),
            code=CodeContent(reference=code["reference"], arguments=code["arguments"], source=code["source"]),
            uses=uses,
        )
    bundle = unpacked(payload, place)
    made = of_documents(bundle.main, bundle.tools, uses, title)
    return made if title else replace(made, title="")


def checked_about(about: Mapping[str, Any]) -> dict[str, Any]:
    """The values of what can be changed without another document; None changes nothing.

    Raises:
        EngineError: ``invalid_input``; a value is of the wrong type.
    """
    found = {key: value for key, value in about.items() if value is not None}
    for key in ("name", "title", "description"):
        if key in found and not isinstance(found[key], str):
            raise _wrong(key, "text", found[key])
    if "name" in found and not found["name"].strip():
        raise _wrong("name", "text that is not empty", found["name"])
    if len(found.get("title", "")) > 255 or len(found.get("name", "")) > 255:
        raise EngineError("invalid_input", "A name or title has at most 255 characters")
    if "tags" in found:
        tags = found["tags"]
        if isinstance(tags, str) or not all(isinstance(tag, str) and 0 < len(tag) <= 128 for tag in tags):
            raise _wrong("tags", "a list of texts of at most 128 characters", tags)
        found["tags"] = tuple(dict.fromkeys(tags))
    if "metadata" in found and not isinstance(found["metadata"], Mapping):
        raise _wrong("metadata", "a mapping", found["metadata"])
    return found


def _wrong(key: str, wanted: str, value: Any) -> EngineError:
    return EngineError("invalid_input", f"{key} must be {wanted}, not {value!r:.80}", field=key)
