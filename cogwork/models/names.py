"""Which ``provider:model`` names can be used, and what the refusal of the others says."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

from cogwork.models.offline import NAMES as OFFLINE_NAMES
from cogwork.models.provider import Kind, Provider

KNOWN_OPENAI: Final = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1", "gpt-5-mini", "gpt-5", "o4-mini")
"""Names offered as suggestions; any other name goes to the provider as it is."""
LIBRARIES: Final[Mapping[Kind, tuple[str, str]]] = {
    "openai": ("langchain_openai", "cogwork"),
    "anthropic": ("langchain_anthropic", "cogwork[anthropic]"),
}
"""The library that a kind of provider needs, and what installs it."""
_KEYS: Final = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of models; ``allowed`` holds names or patterns such as ``openai:*``, None allows all that is configured."""

    providers: Mapping[str, Provider] = field(default_factory=dict)
    described: tuple[str, ...] = ()
    """Names that the settings say more about."""
    allowed: tuple[str, ...] | None = None

    def served(self, key: str) -> tuple[str, ...]:
        """What the provider is known to serve, without its own name."""
        provider = self.providers[key]
        said = tuple(name.partition(":")[2] for name in self.described if name.partition(":")[0] == key)
        guessed = KNOWN_OPENAI if key == "openai" and provider.base_url is None else ()
        return provider.models or tuple(dict.fromkeys([*said, *guessed]))

    def offered(self) -> list[str]:
        """Every name that is known, whether it can be used or not."""
        return ["offline", *(f"{key}:{model}" for key in self.providers for model in self.served(key))]

    def problem(self, name: str) -> str | None:
        """Why that name cannot be used, in one sentence; None where it can."""
        key, _, model = name.partition(":")
        provider = self.providers.get(key)
        if key == "offline":
            wrong = None if name in OFFLINE_NAMES else f"There is no model {name!r}; did you mean 'offline'?"
        elif provider is None:
            wrong = self._unknown_provider(name, key)
        else:
            wrong = self._provider_problem(name, key, model, provider)
        return wrong or self._forbidden(name)

    def _provider_problem(self, name: str, key: str, model: str, provider: Provider) -> str | None:
        if not model:
            example = (self.served(key) or ("<model>",))[0]
            return f"The name {name!r} names a provider but no model; write for example '{key}:{example}'."
        if provider.models and model not in provider.models:
            near = get_close_matches(model, provider.models, 1)
            meant = f"did you mean '{key}:{near[0]}'?" if near else f"it serves {', '.join(provider.models)}."
            return f"The provider {key!r} serves no model {model!r}; {meant}"
        if not provider.usable:
            return f"The model {name!r} needs a key: {_where_keys_go(key)}, or use 'offline'."
        return not_installed(provider.kind, name)

    def _unknown_provider(self, name: str, key: str) -> str:
        if key in _KEYS:
            return f"The model {name!r} needs a key: set {_KEYS[key]}, or use 'offline'."
        known = ["offline", *self.providers]
        near = self._similar(name) or get_close_matches(key, [*known, "openai"], 1)
        meant = (
            f"did you mean {near[0]!r}?"
            if near
            else "add a provider with its base_url to the settings, or use 'offline'."
        )
        listed = ", ".join(sorted(known))
        return f"There is no model {name!r}: names are 'provider:model', and the providers are {listed}; {meant}"

    def _similar(self, name: str) -> list[str]:
        offered = [*OFFLINE_NAMES, *self.offered()]
        bare = [full for full in offered if full.partition(":")[2] == name]
        return bare or get_close_matches(name, offered, 1)

    def _forbidden(self, name: str) -> str | None:
        if self.allowed is None or any(fnmatchcase(name, pattern) for pattern in self.allowed):
            return None
        return f"The settings do not allow the model {name!r}; they allow {', '.join(self.allowed) or 'none'}."


def not_installed(kind: Kind, name: str) -> str | None:
    """That the library of the kind is missing, and what to install; None where it is there."""
    library, extra = LIBRARIES[kind]
    if importlib.util.find_spec(library) is not None:
        return None
    return f"The model {name!r} needs {library}, which is not installed: pip install '{extra}'"


def _where_keys_go(key: str) -> str:
    if key in _KEYS:
        return f"set {_KEYS[key]}"
    return f"set the api_key of the provider {key!r} in the settings"
