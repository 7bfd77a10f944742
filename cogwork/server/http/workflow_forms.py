"""What is asked and told of workflows over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from cogwork.server.http.forms import ONE_LINE, Form, Instant, Line, Name, Object, Problem, Prose, Tag, View
from cogwork.server.sources import Spec

Title = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=ONE_LINE)]
Version = Annotated[int | str, Field(description="A version's number, or a label.")]


class Create(Form):
    """A workflow to publish."""

    source: Spec
    name: Title | None = Field(None, description="In place of the spec's own.")
    title: Title | None = None
    description: Prose | None = None
    tags: list[Tag] | None = Field(None, max_length=64)
    metadata: Object | None = None
    note: Line = Field("", description="Why there is this version.")


class Update(Form):
    """Another version: a whole source, or some parts in place of those of the current one."""

    source: Spec | None = None
    updates: Object | None = Field(None, description="name, title, description, tags, metadata, or parts of the spec.")
    expected_version: int | None = Field(None, ge=1, description="As `If-Match`: refused where there is a newer one.")
    note: Line = ""


class Validate(Form):
    """A spec to check."""

    source: Spec
    overrides: Object | None = None


class SetLabel(Form):
    """Where a label stands."""

    version: Version | None = Field(None, description="`latest` without it.")


class Rollback(Form):
    """The version that a label goes back to."""

    version: Version
    label: Name = "latest"


class WorkflowView(View):
    """A workflow of the library."""

    id: str
    name: str
    title: str
    description: str
    status: Literal["active", "archived"]
    version: int = Field(description="The one labelled `latest`.")
    newest: int = Field(description="The highest.")
    labels: dict[str, int]
    tags: list[str]
    metadata: dict[str, Any]
    created_at: Instant
    updated_at: Instant


class Workflows(View):
    """A page of workflows."""

    workflows: list[WorkflowView]
    cursor: str | None = None


class Deleted(View):
    """What has been deleted."""

    deleted: str


class VersionView(View):
    """A version, which never changes."""

    workflow_id: str
    name: str
    version: int
    digest: str
    kind: Literal["spec", "code"]
    note: str
    author: str
    labels: list[str]
    created_at: Instant


class Versions(View):
    """The versions of a workflow, the newest first."""

    versions: list[VersionView]


class ChangeView(View):
    """What differs at one place."""

    area: str
    impact: Literal["breaking", "compatible", "internal"]
    place: str
    told: str


class Diff(View):
    """What changes for callers between two versions."""

    workflow: str
    a: int
    b: int
    impact: Literal["breaking", "compatible", "internal"] | None
    changes: list[ChangeView]


class MoveView(View):
    """A label that was set, moved or taken away."""

    number: int
    label: str
    from_version: int | None
    to_version: int | None
    moved_at: Instant


class Labels(View):
    """Where the labels of a workflow stand."""

    labels: dict[str, int]
    moves: list[MoveView]


class UsedView(View):
    """Something that a version uses."""

    kind: str
    name: str
    depth: int = Field(description="1 by itself, more through workflows that it uses.")


class Uses(View):
    """What a version uses."""

    uses: list[UsedView]


class UserView(View):
    """A version that uses something."""

    workflow_id: str
    workflow: str
    version: int
    depth: int
    labels: list[str]


class Users(View):
    """Who uses something."""

    users: list[UserView]


class Validated(View):
    """Every problem of a spec."""

    valid: bool
    problems: list[Problem]


class Schemas(View):
    """What a version takes and gives, as JSON Schemas."""

    workflow: str
    version: int
    input: dict[str, Any]
    output: dict[str, Any]
