"""An endpoint that serves chat models, as it is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An endpoint that speaks OpenAI's chat protocol.

    ``timeout_s`` bounds connecting, and the silence between two pieces of an answer; the whole call's deadline belongs to the step.
    ``models`` limits the names it serves; empty means any. ``needs_key`` is false for endpoints of one's own.
    """

    kind: Literal["openai"] = "openai"
    base_url: str = "https://api.openai.com/v1"
    api_key: SecretStr | None = None
    timeout_s: float = 60.0
    max_retries: int = 0
    models: tuple[str, ...] = ()
    needs_key: bool = True
    proxy: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be called as it is configured."""
        return not self.needs_key or bool(self.api_key and self.api_key.get_secret_value())
