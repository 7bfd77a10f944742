"""What the settings say of an MCP server; nothing here starts or imports anything heavy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from state.errors import Fault
from state.services import Effect

SessionScope: TypeAlias = Literal["shared", "run", "call"]
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
T = TypeVar("T")
_SECRET: Final = "secret://"
INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE")
"""All that a server's process is given of our environment."""


class McpServer(BaseModel):
    """One MCP server: a command that is started, or the address of one that runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str | None = Field(None, description="The program of a server that talks over its standard streams.")
    args: list[str] = Field(default_factory=list, description="Its arguments.")
    env: dict[str, SecretStr] = Field(
        default_factory=dict, description="Its environment, besides PATH, HOME, LANG and the like."
    )
    cwd: Path | None = Field(None, description="The folder it is started in.")
    url: str | None = Field(None, description="The address of a server that talks streamable HTTP.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="What is sent with every HTTP request.")
    session: SessionScope = Field("shared", description="One session for all, one per run, or one per call.")
    protocol: Literal["auto", "legacy"] = Field(
        "auto",
        description="legacy greets at once as protocols before 2026 do, for servers that ignore other questions.",
    )
    connect_timeout: float = Field(20.0, gt=0, le=600, description="Seconds to start, greet and list the tools.")
    read_timeout: float = Field(60.0, gt=0, le=86_400, description="Seconds that one call may take in all.")
    max_result_bytes: int = Field(8 * 1024 * 1024, gt=0, description="The largest result, in bytes of JSON.")
    effects: dict[str, Effect] = Field(
        default_factory=dict, description="Effect by name or pattern of the tool: none, read or write."
    )
    idempotent: dict[str, bool] = Field(
        default_factory=dict, description="By name or pattern: whether a call may be repeated under its key."
    )
    trust_annotations: bool = Field(False, description="Whether the server is believed that a tool only reads.")
    allow: list[str] | None = Field(None, description="Names or patterns of the tools to offer; all without it.")
    prefix: str | None = Field(None, description="What stands before the tools' names, instead of the server's name.")
    roots: list[Path] = Field(default_factory=list, description="Folders to name when the server asks for its roots.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either a command or a url")
        if self.url is not None and (self.args or self.env or self.cwd):
            raise ValueError("args, env and cwd are for a command; this server has a url")
        if self.command is not None and self.headers:
            raise ValueError("headers are for a url; this server has a command")
        return self

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("the url begins with http:// or https:// and names a host")
        return url

    @field_validator("prefix")
    @classmethod
    def _plain_prefix(cls, prefix: str | None) -> str | None:
        if prefix is not None and not NAME.fullmatch(prefix):
            raise ValueError("a prefix is made of letters, digits, _ and -, and begins with a letter")
        return prefix

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """How it is talked to."""
        return "stdio" if self.command is not None else "http"

    def allows(self, tool: str) -> bool:
        """Whether the tool of that name is offered."""
        return self.allow is None or any(fnmatchcase(tool, pattern) for pattern in self.allow)

    def effect_of(self, tool: str, annotations: Mapping[str, object]) -> tuple[Effect, bool]:
        """What a call does to the world, and whether anybody who is believed has said so; else it is a write."""
        if (said := _said(self.effects, tool)) is not None:
            return said, True
        if self.trust_annotations and annotations.get("readOnlyHint") is True:
            return "read", True
        return "write", self.trust_annotations and "readOnlyHint" in annotations

    def repeatable(self, tool: str, effect: Effect, annotations: Mapping[str, object]) -> bool:
        """Whether calling twice under one key does no harm."""
        if (said := _said(self.idempotent, tool)) is not None:
            return said
        return effect != "write" or (self.trust_annotations and annotations.get("idempotentHint") is True)


def _said(table: Mapping[str, T], tool: str) -> T | None:
    """What the table says of the tool: under its name, else under the first pattern that fits."""
    if tool in table:
        return table[tool]
    return next((value for pattern, value in table.items() if fnmatchcase(tool, pattern)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the values come from that a configuration only refers to.

    ``environment``  for ``${NAME}``, and what a server's process inherits
    ``secret``       the value of a ``secret://name``, given whole
    """

    environment: Mapping[str, str]
    secret: Callable[[str], str] | None = None

    def filled(self, text: str, where: str) -> str:
        """The text with what it refers to.

        Raises:
            Fault: ``unavailable``; it refers to what is not there.
        """
        if text.startswith(_SECRET):
            if self.secret is None:
                raise Fault("unavailable", f"{where} refers to a secret, and none are set up", origin="tool")
            return self.secret(text)
        missing = [name for name in _REFERENCE.findall(text) if name not in self.environment]
        if missing:
            raise Fault("unavailable", f"{where} refers to ${{{missing[0]}}}, which is not set", origin="tool")
        return _REFERENCE.sub(lambda found: self.environment[found[1]], text)

    def inherited(self) -> dict[str, str]:
        """What every server's process is given."""
        return {name: self.environment[name] for name in INHERITED if name in self.environment}
