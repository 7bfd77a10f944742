"""An endpoint that serves chat models, a model, and a mode, as the settings describe them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from state.services import Price
from state.values import Json

Kind: TypeAlias = Literal["openai", "anthropic"]
Capability: TypeAlias = Literal["tools", "json_schema", "vision", "streaming", "reasoning"]
ADDRESSES: Final[dict[Kind, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
"""Where the vendors themselves serve what speaks their protocol."""


class Described(BaseModel):
    """A table of the settings: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provider(Described):
    """An endpoint; everything that is not said here is not looked up elsewhere, least of all in the environment."""

    kind: Kind = Field("openai", description="The protocol that it speaks.")
    base_url: str | None = Field(None, description="Its address; the vendor's own without it.")
    api_key: SecretStr | None = Field(None, description="Its key; an endpoint with a base_url may do without.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Headers that every request carries.")
    models: tuple[str, ...] = Field((), description="The names that it serves; any without it.")
    needs_key: bool | None = Field(None, description="Whether it needs a key; without this, where it has no base_url.")
    proxy: str | None = Field(None, description="Address of a proxy.")
    timeout_s: float = Field(60.0, gt=0, description="The longest silence: to connect, and between two pieces.")
    deadline_s: float = Field(600.0, gt=0, description="The longest that one call may take as a whole.")
    max_wait_s: float = Field(60.0, ge=0, description="The longest that a call waits for its turn at the limits below.")
    max_reply_bytes: int = Field(32 * 1024 * 1024, ge=1024, description="A reply that grows beyond this is stopped.")
    max_concurrency: int | None = Field(None, ge=1, description="How many calls may be under way at once.")
    requests_per_minute: int | None = Field(None, ge=1, description="How many calls may begin in any minute.")
    tokens_per_minute: int | None = Field(None, ge=1, description="Tokens read and written; estimated before a call.")
    breaker_threshold: int = Field(5, ge=1, description="Failures in a row after which it is left alone.")
    breaker_cooldown_s: float = Field(30.0, gt=0, description="For how long it is left alone, at least.")

    @field_validator("base_url", "proxy")
    @classmethod
    def _is_address(cls, text: str | None) -> str | None:
        if text is None:
            return None
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address such as http://127.0.0.1:11434/v1")
        return text

    @property
    def address(self) -> str:
        """Where it is called."""
        return self.base_url or ADDRESSES[self.kind]

    @property
    def key(self) -> str:
        """Its key as text; empty where it has none."""
        return self.api_key.get_secret_value() if self.api_key is not None else ""

    @property
    def usable(self) -> bool:
        """Whether it can be called as it is configured."""
        needs = self.base_url is None if self.needs_key is None else self.needs_key
        return bool(self.key) or not needs


class CallSettings(Described):
    """How a model is asked; what is not set is left to the endpoint."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    max_tokens: int | None = Field(None, ge=1)
    seed: int | None = None
    stop: list[str] | None = Field(None, min_length=1)

    def asked(self) -> dict[str, Json]:
        """The settings that are set."""
        return {name: value for name in CallSettings.model_fields if (value := getattr(self, name)) is not None}


class Prices(Described):
    """USD per million tokens; without ``cached_input`` and ``cache_write`` those tokens cost what others do."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)
    cache_write: float | None = Field(None, ge=0)

    @property
    def price(self) -> Price:
        """The price that costs are counted by."""
        return Price(self.input, self.output, self.cached_input, self.cache_write)


def _prices(given: object) -> object:
    """The table that ``[2.5, 10]`` stands for."""
    if isinstance(given, list | tuple):
        if len(given) != 2:
            raise ValueError("a price is [input, output] or a table, in USD per million tokens")
        return {"input": given[0], "output": given[1]}
    return given


class ModelFacts(CallSettings):
    """What is known of one model, and how it is asked wherever nobody says otherwise."""

    context_length: int | None = Field(None, ge=1, description="Tokens that question and answer may have together.")
    max_output_tokens: int | None = Field(None, ge=1, description="Tokens that an answer may have.")
    capabilities: tuple[Capability, ...] | None = Field(None, description="What it can do; unknown without it.")
    price: Annotated[Prices | None, BeforeValidator(_prices)] = Field(
        None, description="USD per million tokens: [input, output], or a table that also has cached_input."
    )


class ModeModel(CallSettings):
    """The model of a mode, how it is asked, and which models serve, in order, when it has failed for good."""

    model: str | None = Field(None, description="provider:model; the default model without it.")
    fallback: tuple[str, ...] = Field((), description="Models for the steps that name no fallback of their own.")

    @model_validator(mode="after")
    def _falls_back_on_others(self) -> ModeModel:
        if self.model in self.fallback or len(set(self.fallback)) < len(self.fallback):
            raise ValueError("fallback must name other models than model, each once")
        return self
