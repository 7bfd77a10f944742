"""What may be set, where it comes from, and what it is otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from cogwork.configuration import layers, merged
from cogwork.documented import translated
from cogwork.isolation.limits import Isolation
from cogwork.models.provider import ModelFacts, ModeModel, Provider
from cogwork.observability.section import Observability
from cogwork.origins import Sources, WrongSettings, faults, strangers, unread
from cogwork.remote.sections import HERE, InstanceSection, Label, RemoteSection
from cogwork.remote.sections import NAME as INSTANCE
from cogwork.sealing.keys import KeySource
from cogwork.secrets import SecretSource
from cogwork.sections import Engine, History, Lasting, QueueSection, Retention, Server
from cogwork.tools.mcp.config import NAME, McpServer
from cogwork.tools.openapi.source import OpenApiSource
from state.values import MAX_BYTES

HOUSE = Path(__file__).resolve().parent.parent
"""The folder that holds ``graphs/``, ``nodes/``, ``prompts/`` and ``state/``."""
CATALOG = HOUSE / "graphs" / "catalog"
PAYLOAD_BYTES = 64 * 1024 * 1024
"""What the records take at most, whatever is set."""


def environment() -> Mapping[str, str]:
    """The environment of this process, for those settings that refer to it and for the processes that are started."""
    return os.environ


class Settings(BaseSettings):
    """Settings from arguments, ``COGWORK_…`` environment variables, ``cogwork.<COGWORK_ENV>.toml`` and ``cogwork.toml``, in
    that order of precedence.

    Raises:
        ConfigurationError: a file that cannot be used, or, as ``WrongSettings``, keys that are no settings and values that do
            not fit: each with its file and line, its variable or argument, and without showing a value.
    """

    model_config = SettingsConfigDict(
        env_prefix="COGWORK_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    state_dir: Path = Field(default=Path(".cogwork"), description="Where checkpoints and the specs of runs are kept.")
    workflows: list[Path] = Field(
        default_factory=lambda: [Path("workflows")], description="Folders of workflows, searched before the catalog."
    )
    agents: list[Path] = Field(
        default_factory=lambda: [Path("agents")], description="Folders of agents, a YAML or JSON file each."
    )
    prompts: list[Path] = Field(default_factory=list, description="Folders of prompts that replace the built-in ones.")
    roots: list[Path] = Field(default_factory=lambda: [Path(".")], description="Folders that tools may read.")
    write_roots: list[Path] = Field(
        default_factory=lambda: [Path("reports")], description="Folders that tools may write to."
    )
    allow_python: bool = Field(
        default=False, description="Whether python.run runs anything; specs must have a person approve it."
    )
    python_tools: list[str] = Field(
        default_factory=list,
        description="Python functions that are tools: files, modules, or module:function; their code is run.",
    )
    max_workflow_depth: int = Field(
        default=8, ge=1, description="How many runs of workflows that are called as tools may be within each other."
    )
    tools: list[str] | None = Field(
        default=None, description="Names or patterns of the tools that specs may name; all without it."
    )
    max_result_bytes: int = Field(
        MAX_BYTES,
        ge=1,
        le=MAX_BYTES,
        description="The largest result of a tool call, in bytes; a larger one is a failure.",
    )
    result_bytes: dict[str, Annotated[int, Field(ge=1, le=MAX_BYTES)]] = Field(
        default_factory=dict, description="The same by name or pattern of tools, such as {web.*: 200000}."
    )
    model: str | None = Field(
        default=None, description="The default model, provider:model; offline where no key is set."
    )
    models: dict[str, str] = Field(
        default_factory=dict, description="The model per mode, such as {coding: openai:gpt-4o}."
    )
    modes: dict[str, ModeModel] = Field(
        default_factory=dict,
        description="Per mode its model, how it is asked (temperature, max_tokens, …) and fallback, a list of models.",
    )
    providers: dict[str, Provider] = Field(
        default_factory=dict,
        description="Endpoints by name, the first part of provider:model: see [models](models.md#endpoints).",
    )
    model_facts: dict[str, ModelFacts] = Field(
        default_factory=dict,
        description="By model what is known of it (context_length, price, …) and how it is asked.",
    )
    prices: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="USD per million tokens read and written, by model: {openai:gpt-4o: [2.5, 10]}; for limits on cost.",
    )
    allowed_models: list[str] | None = Field(
        default=None, description="Names or patterns of the models that specs may name."
    )
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias="OPENAI_API_KEY", description="Key of the provider openai."
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias="OPENAI_BASE_URL",
        description="Address of an OpenAI-compatible service (Ollama, vLLM, …).",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias="ANTHROPIC_API_KEY", description="Key of the provider anthropic."
    )
    synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="SQLite's durability: FULL survives a power cut."
    )

    secrets: dict[str, SecretStr | SecretSource] = Field(
        default_factory=dict,
        description="What secret://name stands for in arguments of tools: {name: {env: VARIABLE}}, {name: {file: PATH}} or "
        "{name: value}; {tools: [github.*]} beside env, file or value keeps it from other tools.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Keep checkpoints in PostgreSQL: postgresql://user:password@host:5432/database.",
    )

    encryption_keys: list[KeySource] = Field(
        default_factory=list,
        description="Keys that what is kept is encrypted with, {env: VARIABLE} or {file: PATH} each; the first seals, all open: "
        "see [encryption](encryption.md).",
    )

    embeddings: str | None = Field(
        default=None,
        description="Search tools by meaning too: local (of cogwork[embeddings]), or openai:text-embedding-3-small.",
    )

    openapi: dict[str, OpenApiSource] = Field(
        default_factory=dict, description="HTTP services whose operations are tools, by the name that those begin with."
    )

    engine: Engine = Field(default_factory=Engine, description="How workers work: a table.")
    server: Server = Field(default_factory=Server, description="The server that `cogwork serve` starts: a table.")
    labels: list[Label] = Field(
        default_factory=list, description="What this instance is known by, such as eu; workflows may require labels."
    )
    instances: dict[str, InstanceSection] = Field(
        default_factory=dict, description="Other instances that may run executions, by name; see docs/remote.md."
    )
    remote: RemoteSection = Field(
        default_factory=RemoteSection, description="How executions find their instance: a table."
    )
    queues: dict[str, QueueSection] = Field(
        default_factory=dict,
        description="Queues beside the default one, by name: limits on what runs at once and begins.",
    )
    isolation: Isolation = Field(
        default_factory=Isolation, description="The limits of executions that have a process of their own: a table."
    )
    retention: Retention = Field(default_factory=Retention, description="How long what has ended is kept: a table.")
    history: History = Field(
        default_factory=History, description="How much of a conversation an execution is shown: a table."
    )
    observability: Observability = Field(
        default_factory=Observability, description="What is told to those who watch: traces, metrics, logs; a table."
    )
    session_ttl: Lasting = Field(
        default=30 * 86400.0, description="How long after its last use a session expires that says nothing else."
    )
    compression_above: int = Field(
        default=1024, ge=0, description="Inputs, outputs and specs of more bytes are stored compressed."
    )
    max_payload_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        le=PAYLOAD_BYTES,
        description="The largest input or output, in bytes of JSON.",
    )
    connection_pool_size: int = Field(
        default=10, ge=1, le=500, description="Connections that a process has to PostgreSQL for the records, at most."
    )
    code_workflows: list[str] = Field(
        default_factory=list,
        description="Patterns of module:name, such as shop.flows:*, of workflows in Python that workers may import.",
    )

    langgraph_auth: bool = Field(
        default=False,
        description="Whether LangGraph's server (langgraph dev) asks for tokens too, of Studio as well.",
    )

    @field_validator("openapi")
    @classmethod
    def _services(cls, sources: dict[str, OpenApiSource]) -> dict[str, OpenApiSource]:
        if wrong := [name for name in sources if not re.fullmatch(r"[A-Za-z][\w-]*", name)]:
            raise ValueError(f"{wrong[0]!r} is no name: letters, digits, _ and - after a letter")
        return sources

    mcp_servers: dict[str, McpServer] = Field(
        default_factory=dict, description="MCP servers whose tools workflows may name, by name; see docs/mcp.md."
    )

    @field_validator("queues")
    @classmethod
    def _queues(cls, queues: dict[str, QueueSection]) -> dict[str, QueueSection]:
        if wrong := [name for name in queues if not re.fullmatch(r"[A-Za-z][\w-]{0,62}", name) or name == "cogwork"]:
            raise ValueError(
                f"a queue cannot be named {wrong[0]!r}: letters, digits, _ and - after a letter, and not cogwork"
            )
        return queues

    @field_validator("instances")
    @classmethod
    def _instances(cls, instances: dict[str, InstanceSection]) -> dict[str, InstanceSection]:
        if wrong := [name for name in instances if not INSTANCE.fullmatch(name) or name == HERE]:
            raise ValueError(
                f"an instance cannot be named {wrong[0]!r}: letters, digits, _ and - after a letter, and not {HERE}"
            )
        return instances

    @field_validator("mcp_servers")
    @classmethod
    def _named_plainly(cls, servers: dict[str, McpServer]) -> dict[str, McpServer]:
        if unfit := [name for name in servers if not NAME.fullmatch(name)]:
            raise ValueError(f"{unfit[0]!r} is no name for a server: letters, digits, _ and -, beginning with a letter")
        return servers

    @field_validator("providers")
    @classmethod
    def _named(cls, providers: dict[str, Provider]) -> dict[str, Provider]:
        if wrong := [name for name in providers if not name or ":" in name or name == "offline"]:
            raise ValueError(f"a provider cannot be named {wrong[0]!r}")
        return providers

    @field_validator("models", "modes")
    @classmethod
    def _modes(cls, models: dict[str, Any]) -> dict[str, Any]:
        modes = {"planning", "coding", "information", "debugging", "generic"}
        if unknown := set(models) - modes:
            raise ValueError(f"unknown modes: {', '.join(sorted(unknown))}; there are {', '.join(sorted(modes))}")
        return models

    def __init__(self, **given: Any) -> None:
        from pydantic_settings import SettingsError

        sources = Sources(layers=layers(os.environ), environment=os.environ, arguments=given)
        wrong = strangers(type(self), sources)
        try:
            super().__init__(**given)
        except ValidationError as err:
            raise WrongSettings([*wrong, *faults(type(self), err, sources)]) from err
        except SettingsError as err:
            raise WrongSettings([*wrong, unread(str(err))]) from None
        if wrong:
            raise WrongSettings(wrong)

    @classmethod
    def from_documents(cls, config: Mapping[str, Any]) -> Settings:
        """The settings that a configuration means whose keys are those of other engines, or ours (``cogwork/documented.py``).

        Raises:
            ConfigurationError: keys that mean nothing here, each with what to use instead; or what ``Settings`` raises.
        """
        return cls(**translated(config, cls.model_fields))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the files of the working folder."""
        files = merged(tuple(layer.values for layer in layers(os.environ)))
        return (init_settings, env_settings, InitSettingsSource(settings_cls, files))
