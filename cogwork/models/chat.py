"""The chat models that the settings allow, by ``provider:model`` name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cogwork.breaker import Breakers
from cogwork.models.endpoint import Endpoint, endpoint
from cogwork.models.info import ModelInfo, Warmth
from cogwork.models.names import Names
from cogwork.models.offline import NAMES as OFFLINE_NAMES
from cogwork.models.offline import OfflineModel
from cogwork.models.provider import ModelFacts, ModeModel, Provider
from state.errors import Fault
from state.schemas import faults
from state.services import Price
from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["ChatModels", "Provider"]

OPENAI_DEFAULT: Final = "openai:gpt-4o-mini"
SETTINGS: Final[Schema] = {
    "type": "object",
    "properties": {
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
        "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
        "max_tokens": {"type": "integer", "minimum": 1},
        "seed": {"type": "integer"},
        "stop": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
"""The call settings that every model takes."""
_UNKNOWN: Final = ModelFacts()


class ChatModels:
    """Finds models by name: ``offline`` always, and ``<provider>:<model>`` for every configured provider.

    ``allowed`` holds names or patterns such as ``openai:*``; None allows all that is configured. Without ``default`` it is
    ``openai:gpt-4o-mini`` where the provider ``openai`` has a key, else ``offline``. ``modes`` outranks ``per_mode``, which
    says the same in short, and a price in ``facts`` one in ``prices``.
    """

    def __init__(
        self,
        *,
        default: str | None = None,
        per_mode: Mapping[str, str] | None = None,
        modes: Mapping[str, ModeModel] | None = None,
        providers: Mapping[str, Provider] | None = None,
        facts: Mapping[str, ModelFacts] | None = None,
        allowed: Sequence[str] | None = None,
        prices: Mapping[str, tuple[float, float]] | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self._facts, self._prices = dict(facts or {}), dict(prices or {})
        self._modes = {mode: ModeModel(model=name) for mode, name in (per_mode or {}).items()} | dict(modes or {})
        self._names = Names(
            providers=dict(providers or {}),
            described=tuple(self._facts),
            allowed=None if allowed is None else tuple(allowed),
        )
        self._breakers = breakers or Breakers()
        self._default = default or self._best()
        self._endpoints: dict[str, Endpoint] = {}
        self._made: dict[str, BaseChatModel] = {}
        self._warm: dict[str, Warmth] = {}

    # -- what a run asks for ---------------------------------------------------------------------------------

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """The model of that name, else the mode's, else the default one.

        It is asked as ``settings`` say, else as its mode does where the mode has chosen it, else as the model's own facts do.

        Raises:
            Fault: ``invalid_input`` for a name that is unknown, not configured or not allowed, or for settings that do not fit.
        """
        chosen = self.chosen(name, mode=mode)
        problem = self.problem(chosen)
        unfit = faults(SETTINGS, dict(settings or {}))
        if problem or unfit:
            told = problem or f"The settings of the model {chosen!r} do not fit: {'; '.join(unfit)}"
            raise Fault("invalid_input", told, origin="model")
        asked = {
            **self._facts.get(chosen, _UNKNOWN).asked(),
            **(self._modes[mode].asked() if not name and mode in self._modes else {}),
            **(settings or {}),
        }
        return self._with_settings(chosen, asked)

    def chosen(self, name: str | None, *, mode: str | None = None) -> str:
        """The full name that ``find`` would take."""
        if name:
            return name
        of_mode = self._modes.get(mode or "")
        return of_mode.model if of_mode is not None and of_mode.model else self._default

    def fallbacks(self, mode: str | None) -> tuple[str, ...]:
        """The models that serve in that mode when the step's own has failed for good."""
        of_mode = self._modes.get(mode or "")
        return of_mode.fallback if of_mode is not None else ()

    def price(self, name: str) -> Price | None:
        """What the model of that name costs; None where the settings do not say."""
        for known in (name, *(full for full in (*self._facts, *self._prices) if full.partition(":")[2] == name)):
            if (stated := self._facts.get(known, _UNKNOWN).price) is not None:
                return stated.price
            if known in self._prices:
                return Price(*self._prices[known])
        return None

    def problem(self, name: str) -> str | None:
        """Why ``find`` would refuse that name, in one sentence; None when it would not. Opens no connection."""
        return self._names.problem(name)

    # -- what there is ---------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names worth offering: the default, the modes' and what the providers are known to serve."""
        return [name for name in self._known() if self.problem(name) is None]

    def listed(self) -> list[ModelInfo]:
        """Every model that is known, the unusable ones among them, sorted by name."""
        return [self.info(name) for name in self._known()]

    def context_length(self, name: str) -> int | None:
        """How many tokens the model of that name takes; None where the settings do not say."""
        return self._facts.get(name, _UNKNOWN).context_length

    def info(self, name: str) -> ModelInfo:
        """What is known of a model, whether it can be used or not. Opens no connection."""
        key = name.partition(":")[0]
        provider, facts, warmth = self._names.providers.get(key), self._facts.get(name, _UNKNOWN), self._warm.get(name)
        problem = self.problem(name)
        return ModelInfo(
            name=name,
            endpoint=provider.address if provider is not None else "",
            state="unusable" if problem else "loaded" if name in self._made else "ready",
            breaker=self._endpoint(key).breaker.state if provider is not None else "closed",
            problem=problem,
            context_length=facts.context_length or (warmth.context_length if warmth is not None else None),
            max_output_tokens=facts.max_output_tokens,
            capabilities=facts.capabilities,
            price=self.price(name),
            served=warmth.served if warmth is not None else None,
            used_as=tuple(use for use, model in self._uses() if model == name),
        )

    def loaded(self) -> list[str]:
        """The models whose client is in memory, sorted."""
        return sorted(self._made)

    async def warm(self, name: str) -> ModelInfo:
        """Make the model's client and open the connection to its endpoint; what is known of it then.

        Raises:
            Fault: it cannot be used, or its endpoint cannot be reached.
        """
        self.find(name)
        key, _, model = name.partition(":")
        if key in self._names.providers:
            from cogwork.models.warming import warmed

            self._warm[name] = await warmed(self._endpoint(key), model)
        return self.info(name)

    async def release(self, name: str | None = None) -> None:
        """Let go of a model, or of all, and close the connections that no other model uses."""
        for released in [name] if name is not None else [*self._made]:
            self._made.pop(released, None)
            self._warm.pop(released, None)
        used = {made.partition(":")[0] for made in self._made}
        for key, each in self._endpoints.items():
            if key not in used:
                await each.release()

    def health(self) -> list[dict[str, Json]]:
        """How every endpoint that was used stands, its breaker included."""
        return [self._endpoints[key].health() for key in sorted(self._endpoints)]

    # -- making them -----------------------------------------------------------------------------------------

    def _known(self) -> list[str]:
        return sorted({*self._names.offered(), *self._facts, *(model for _, model in self._uses())})

    def _uses(self) -> list[tuple[str, str]]:
        chosen = [(mode, each.model) for mode, each in self._modes.items() if each.model]
        spare = [(f"{mode} (fallback)", model) for mode, each in self._modes.items() for model in each.fallback]
        return [("default", self._default), *chosen, *spare]

    def _best(self) -> str:
        openai = self._names.providers.get("openai")
        has_key = openai is not None and openai.usable and self.problem(OPENAI_DEFAULT) is None
        return OPENAI_DEFAULT if has_key else "offline"

    def _endpoint(self, key: str) -> Endpoint:
        if key not in self._endpoints:
            provider = self._names.providers[key]
            breaker = self._breakers.of(
                f"model:{key}", threshold=provider.breaker_threshold, cooldown=provider.breaker_cooldown_s
            )
            self._endpoints[key] = endpoint(key, provider, breaker)
        return self._endpoints[key]

    def _with_settings(self, name: str, asked: Mapping[str, Json]) -> BaseChatModel:
        """The model, made once, as a copy that is asked so."""
        key, _, model = name.partition(":")
        if name in OFFLINE_NAMES:
            made = self._made.setdefault(name, OfflineModel())
            return made.model_copy(update=dict(asked)) if asked else made
        vendor = _vendor(self._names.providers[key])
        if unknown := set(asked) - set(vendor.FIELDS):
            told = f"The model {name!r} takes no {', '.join(sorted(unknown))}"
            raise Fault("invalid_input", told, origin="model")
        if name not in self._made:
            self._made[name] = vendor.chat_model(model, self._endpoint(key))
        update = {vendor.FIELDS[setting]: value for setting, value in asked.items()}
        return self._made[name].model_copy(update=update) if update else self._made[name]


def _vendor(provider: Provider) -> Any:
    """The module that knows the library of the provider's kind."""
    if provider.kind == "anthropic":
        from cogwork.models import anthropic

        return anthropic
    from cogwork.models import openai

    return openai
