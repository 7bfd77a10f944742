"""What may be set, where it comes from, and what it is otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

HOUSE = Path(__file__).resolve().parent.parent
"""The folder that holds ``graphs/``, ``nodes/``, ``prompts/`` and ``state/``."""
CATALOG = HOUSE / "graphs" / "catalog"
FILE = Path("cogwork.toml")


class Settings(BaseSettings):
    """Settings from arguments, ``COGWORK_…`` environment variables and ``cogwork.toml``, in that order of precedence."""

    model_config = SettingsConfigDict(env_prefix="COGWORK_", extra="forbid", frozen=True, env_ignore_empty=True)

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
    model: str | None = Field(
        default=None, description="The default model, provider:model; offline where no key is set."
    )
    models: dict[str, str] = Field(
        default_factory=dict, description="The model per mode, such as {coding: openai:gpt-4o}."
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
    synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="SQLite's durability: FULL survives a power cut."
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Keep checkpoints in PostgreSQL: postgresql://user:password@host:5432/database.",
    )

    @field_validator("models")
    @classmethod
    def _modes(cls, models: dict[str, str]) -> dict[str, str]:
        modes = {"planning", "coding", "information", "debugging", "generic"}
        if unknown := set(models) - modes:
            raise ValueError(f"unknown modes: {', '.join(sorted(unknown))}; there are {', '.join(sorted(modes))}")
        return models

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file of the working folder."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=FILE))
