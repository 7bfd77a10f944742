"""What an execution has made: files under the folders that tools may write to, and values of its result that are files."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from mimetypes import MimeTypes
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cogwork.responses.bounds import Bounds
from cogwork.responses.response import Artifact, ArtifactType
from state.errors import Fault
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.result import ExecutionResult
    from cogwork.tools.roots import Roots

Encoding: TypeAlias = Literal["", "base64"]
OCTETS: Final = "application/octet-stream"
_TYPES: Final = MimeTypes(filenames=())
_CODE: Final = frozenset({"text/css", "text/javascript", "application/javascript", "text/html"})
_DOCUMENTS: Final = ("application/pdf", "application/msword", "application/vnd.", "text/markdown", "text/html")
_DATA: Final = frozenset({"application/json", "application/xml", "text/xml", "text/csv", "application/yaml"})
_DEPTH: Final = 6
_LONGEST: Final = 4096
"""A longer path or address is cut, and leads nowhere."""
_KNOWN: Final = {
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".json": "application/json",
}
_PROGRAMS: Final = frozenset(
    {".py", ".js", ".ts", ".rs", ".go", ".java", ".c", ".h", ".cpp", ".sh", ".sql", ".rb", ".toml"}
)


def artifacts_of(result: ExecutionResult, roots: Roots | None, bounds: Bounds) -> tuple[Artifact, ...]:
    """The artifacts of an execution, numbered ``artifact-1`` onwards; files first.

    A file is read, for its size, digest and content, only where it lies under ``roots`` once symlinks are followed; without
    ``roots`` none is read, and what the step said of it is told. Values are those that have the form of a block of content:
    ``{type: image | audio | resource, mime, data | text | uri}``, in the output and in what tool steps gave.
    """
    found = (*_files(result, roots, bounds), *_values(result, bounds))
    unlike = {(each.digest or each.id, tuple(each.where.items())): each for each in found}
    kept = list(unlike.values())[: bounds.artifacts]
    return tuple(replace(each, id=f"artifact-{number}") for number, each in enumerate(kept, 1))


def media_type(name: str) -> str:
    """The media type by a file's name; the same on every machine."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _PROGRAMS:
        return "text/plain"
    return _KNOWN.get(suffix) or _TYPES.guess_type(name, strict=True)[0] or OCTETS


def _type(name: str, mime: str) -> ArtifactType:
    if mime.startswith("image/"):
        return "image"
    if os.path.splitext(name)[1].lower() in _PROGRAMS or mime in _CODE:
        return "code"
    if mime in _DATA:
        return "data"
    return "document" if mime.startswith(_DOCUMENTS) else "file"


# -- files ---------------------------------------------------------------------------------------------------------------


def _files(result: ExecutionResult, roots: Roots | None, bounds: Bounds) -> Iterator[Artifact]:
    for told in result.artifacts[: bounds.artifacts]:
        path, name = str(told.get("path")), str(told.get("name"))
        mime = media_type(name)
        claimed = told.get("bytes")
        size = claimed if isinstance(claimed, int) and not isinstance(claimed, bool) and claimed >= 0 else None
        if len(path) > _LONGEST:
            path, name = path[:_LONGEST], name[:200]
        made = Artifact(
            id=f"file:{path}",
            name=name,
            type=_type(name, mime),
            mime_type=mime,
            size=size,
            digest="",
            where={"file": path},
            step=str(told.get("step") or ""),
        )
        yield _read(made, path, roots, bounds) if roots is not None else made


def _read(made: Artifact, path: str, roots: Roots, bounds: Bounds) -> Artifact:
    """The artifact with what its file holds now; refused where that does not lie under the roots, or is no file."""
    try:
        size, digest, start = _looked_at(roots.file(_from_here(roots, path)), bounds)
    except Fault as fault:
        return replace(made, where={"refused": fault.message})
    except OSError as error:
        return replace(made, where={"refused": f"it cannot be read: {error.strerror or error}"})
    content, encoding = _inline(start, made.mime_type, bounds, size)
    return replace(made, size=size, digest=digest, content=content, encoding=encoding)


def _from_here(roots: Roots, path: str) -> str:
    """The path as a tool that wrote it understood it: from the working folder where that leads under a root."""
    here = Path.cwd() / path
    return str(here) if any(here.is_relative_to(folder) for folder in roots.folders) else path


def _looked_at(path: Path, bounds: Bounds) -> tuple[int, str, bytes]:
    """Size, digest and first bytes of a regular file; what takes its place meanwhile (a symlink, a pipe) is not followed."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(0, "it is no regular file")
        start = file.read(bounds.inline)
        if about.st_size > bounds.hashed:
            return about.st_size, "", start
        sum, size = hashlib.sha256(start), len(start)
        while size <= bounds.hashed and (more := file.read(1024 * 1024)):
            sum.update(more)
            size += len(more)
        return size, f"sha256:{sum.hexdigest()}", start


def _inline(data: bytes, mime: str, bounds: Bounds, size: int) -> tuple[str | None, Encoding]:
    """The content of something small, as text or in base64; nothing of what is large."""
    if size > bounds.inline or size != len(data):
        return None, ""
    if not mime.startswith(("image/", "audio/", "video/")):
        try:
            return data.decode("utf-8"), ""
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode("ascii"), "base64"


# -- values --------------------------------------------------------------------------------------------------------------


def _values(result: ExecutionResult, bounds: Bounds) -> Iterator[Artifact]:
    tools = [str(step["path"]) for step in result.steps if step.get("tool")]
    yield from _blocks(result.output, "/output/primary_result", "", bounds, 0)
    for path in tools:
        pointer = f"/output/intermediate_results/{_escaped(path)}"
        yield from _blocks(result.intermediate_results.get(path), pointer, path, bounds, 0)


def _blocks(value: Json, pointer: str, step: str, bounds: Bounds, depth: int) -> Iterator[Artifact]:
    if depth > _DEPTH:
        return
    if isinstance(value, Mapping):
        if (made := _block(value, pointer, step, bounds)) is not None:
            yield made
            return
        for name, inner in value.items():
            yield from _blocks(inner, f"{pointer}/{_escaped(name)}", step, bounds, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _blocks(inner, f"{pointer}/{index}", step, bounds, depth + 1)


def _block(value: Mapping[str, Json], pointer: str, step: str, bounds: Bounds) -> Artifact | None:
    """The artifact of a block of content; None for any other object."""
    if value.get("type") not in ("image", "audio", "resource", "resource_link"):
        return None
    mime = value.get("mime")
    held = value.get("data", value.get("text", value.get("uri")))
    if not (isinstance(held, str) and (mime is None or isinstance(mime, str))):
        return None
    uri = str(value.get("uri") or "")[:_LONGEST]
    name = str(value.get("name") or uri.rpartition("/")[2] or f"{value['type']} of {step or 'the output'}")[:200]
    mime = (mime or media_type(name))[:100]
    made = Artifact(
        id=pointer,
        name=name,
        type=_type(name, mime),
        mime_type=mime,
        size=None,
        digest="",
        where={"uri": uri},
        step=step,
    )
    data = _bytes(value)
    if data is None:
        return made
    content, encoding = _inline(data, mime, bounds, len(data))
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return replace(made, size=len(data), digest=digest, where={"value": pointer}, content=content, encoding=encoding)


def _bytes(value: Mapping[str, Json]) -> bytes | None:
    if isinstance(value.get("data"), str):
        try:
            return base64.b64decode(value["data"], validate=True)
        except (binascii.Error, ValueError):
            return None
    text = value.get("text")
    return text.encode("utf-8", "replace") if isinstance(text, str) else None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
