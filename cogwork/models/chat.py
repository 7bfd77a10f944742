"""The chat models that the settings allow, by ``provider:model`` name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from cogwork.models.offline import NAMES as OFFLINE_NAMES
from cogwork.models.offline import OfflineModel
from cogwork.models.provider import Provider
from state.errors import Fault
from state.schemas import faults
from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["ChatModels", "Provider"]

OPENAI_DEFAULT: Final = "openai:gpt-4o-mini"
KNOWN_OPENAI: Final = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1", "gpt-5-mini", "gpt-5", "o4-mini")
"""Names offered as suggestions; any other name goes to the provider as it is."""
SETTINGS: Final[Schema] = {
    "type": "object",
    "properties": {
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "max_tokens": {"type": "integer", "minimum": 1},
        "seed": {"type": "integer"},
        "stop": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
"""The call settings that every model takes."""


class ChatModels:
    """Finds models by name: ``offline`` always, and ``<provider>:<model>`` for every configured provider.

    ``allowed`` holds names or patterns such as ``openai:*``; None allows all that is configured. Without ``default`` it is
    ``openai:gpt-4o-mini`` where the provider ``openai`` has a key, else ``offline``.
    """

    def __init__(
        self,
        *,
        default: str | None = None,
        per_mode: Mapping[str, str] | None = None,
        providers: Mapping[str, Provider] | None = None,
        allowed: Sequence[str] | None = None,
        prices: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self._prices = dict(prices or {})
        self._providers = dict(providers or {})
        self._per_mode = dict(per_mode or {})
        self._allowed = None if allowed is None else tuple(allowed)
        self._default = default or self._best()
        self._made: dict[str, BaseChatModel] = {}

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """The model of that name, else the mode's, else the default one, with its call settings.

        Raises:
            Fault: ``invalid_input`` for a name that is unknown, not configured or not allowed, or for settings that do not fit.
        """
        chosen = self.chosen(name, mode=mode)
        problem = self.problem(chosen)
        unfit = faults(SETTINGS, dict(settings or {}))
        if problem or unfit:
            told = problem or f"The settings of the model {chosen!r} do not fit: {'; '.join(unfit)}"
            raise Fault("invalid_input", told, origin="model")
        model = self._made.get(chosen)
        if model is None:
            model = self._made[chosen] = self._make(chosen)
        return model.model_copy(update=dict(settings)) if settings else model

    def chosen(self, name: str | None, *, mode: str | None = None) -> str:
        """The full name that ``find`` would take."""
        if name:
            return name
        return self._per_mode.get(mode or "", self._default)

    def names(self) -> list[str]:
        """The names worth offering: the default, the modes' and what the providers say they serve."""
        served = (f"{key}:{model}" for key, p in self._providers.items() if p.usable for model in _served(key, p))
        every = {"offline", self._default, *self._per_mode.values(), *served}
        return sorted(name for name in every if self.problem(name) is None)

    def price(self, name: str) -> tuple[float, float] | None:
        """USD for a million tokens read and written by the model of that name; None where the settings do not say."""
        known = self._prices.get(name)
        return known or next((price for key, price in self._prices.items() if key.partition(":")[2] == name), None)

    def problem(self, name: str) -> str | None:
        """Why ``find`` would refuse that name, in one sentence; None when it would not. Opens no connection."""
        key, _, model = name.partition(":")
        provider = self._providers.get(key)
        if key == "offline":
            wrong = None if name in OFFLINE_NAMES else f"There is no model {name!r}; did you mean 'offline'?"
        elif provider is None:
            wrong = self._unknown_provider(name, key)
        else:
            wrong = _provider_problem(name, key, model, provider)
        return wrong or self._forbidden(name)

    def _unknown_provider(self, name: str, key: str) -> str:
        if key == "openai":
            return f"The model {name!r} needs an OpenAI key: set OPENAI_API_KEY, or use 'offline'."
        known = ["offline", *self._providers]
        near = self._similar(name) or get_close_matches(key, [*known, "openai"], 1)
        meant = (
            f"did you mean {near[0]!r}?"
            if near
            else "add a provider with its base_url to the settings, or use 'offline'."
        )
        listed = ", ".join(sorted(known))
        return f"There is no model {name!r}: names are 'provider:model', and the providers are {listed}; {meant}"

    def _similar(self, name: str) -> list[str]:
        offered = [*OFFLINE_NAMES, *(f"{key}:{m}" for key, p in self._providers.items() for m in _served(key, p))]
        bare = [full for full in offered if full.partition(":")[2] == name]
        return bare or get_close_matches(name, offered, 1)

    def _forbidden(self, name: str) -> str | None:
        if self._allowed is None or any(fnmatchcase(name, pattern) for pattern in self._allowed):
            return None
        return f"The settings do not allow the model {name!r}; they allow {', '.join(self._allowed) or 'none'}."

    def _best(self) -> str:
        openai = self._providers.get("openai")
        has_key = openai is not None and openai.usable and self.problem(OPENAI_DEFAULT) is None
        return OPENAI_DEFAULT if has_key else "offline"

    def _make(self, name: str) -> BaseChatModel:
        key, _, model = name.partition(":")
        if key == "offline":
            return OfflineModel()
        from cogwork.models.openai import chat_model

        return chat_model(model, self._providers[key])


def _served(key: str, provider: Provider) -> tuple[str, ...]:
    return provider.models or (KNOWN_OPENAI if key == "openai" else ())


def _provider_problem(name: str, key: str, model: str, provider: Provider) -> str | None:
    if not model:
        example = (_served(key, provider) or ("<model>",))[0]
        return f"The name {name!r} names a provider but no model; write for example '{key}:{example}'."
    if provider.models and model not in provider.models:
        near = get_close_matches(model, provider.models, 1)
        meant = f"did you mean '{key}:{near[0]}'?" if near else f"it serves {', '.join(provider.models)}."
        return f"The provider {key!r} serves no model {model!r}; {meant}"
    if not provider.usable:
        setting = (
            "set OPENAI_API_KEY" if key == "openai" else f"set the api_key of the provider {key!r} in the settings"
        )
        return f"The model {name!r} needs a key: {setting}, or use 'offline'."
    return None
