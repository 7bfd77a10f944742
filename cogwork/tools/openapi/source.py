"""What the settings say of one HTTP service, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from cogwork.tools.addresses import Place
from state.services import Tool


class OpenApiSource(BaseModel):
    """One HTTP service whose operations are tools, described by an OpenAPI document (3.0 or 3.1, JSON or YAML)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document: str = Field(description="A file, or an https URL of an allowed host.")
    base_url: str | None = Field(
        default=None, description="Where the service is; else the first server of the document."
    )
    hosts: list[str] = Field(default_factory=list, description="The hosts that may be reached: name, or name:port.")
    private_hosts: list[str] = Field(
        default_factory=list, description="Hosts that may also be on this machine or in a private network."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Sent with each request, such as Authorization; ${NAME} takes a value from the environment.",
    )
    query: dict[str, SecretStr] = Field(
        default_factory=dict, description="The same, for keys that belong into the URL."
    )
    timeout: float = Field(default=30.0, gt=0, le=3_600, description="Seconds for the whole of a call.")
    max_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1, le=8 * 1024 * 1024, description="The largest answer, unpacked."
    )
    allow: list[str] = Field(default_factory=lambda: ["*"], description="Names or patterns of the operations to offer.")
    effects: dict[str, Literal["none", "read", "write"]] = Field(
        default_factory=dict, description="The effect of operations, by name or pattern; otherwise their method's."
    )
    idempotent: list[str] = Field(
        default_factory=list, description="Operations that do a thing once for one Idempotency-Key."
    )

    @field_validator("hosts", "private_hosts")
    @classmethod
    def _places(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            Place.read(host)
        return hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The tools of all services; ``troubles`` says of a service (``NAME.``) or one operation why it is not among them."""

    tools: list[Tool] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
