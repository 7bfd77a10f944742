"""The one place that knows Anthropic's client: chat models of any endpoint that speaks its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import anthropic
from langchain_anthropic import ChatAnthropic
from pydantic import SecretStr

from cogwork.models.endpoint import Endpoint
from cogwork.models.guarded import Guarded
from cogwork.models.transport import async_client, no_client, silence
from state.errors import Fault

FIELDS: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "stop": "stop_sequences",
}
"""The client's name for each call setting; the protocol has no others."""


class AnthropicModel(Guarded, ChatAnthropic):
    """A chat model that speaks Anthropic's protocol."""

    @cached_property
    def _async_client(self) -> anthropic.AsyncClient:
        endpoint = self._endpoint
        return anthropic.AsyncClient(
            api_key=endpoint.provider.key or "not-needed",
            base_url=endpoint.provider.address,
            timeout=silence(endpoint.provider),
            max_retries=0,
            http_client=async_client(endpoint.connections()),
        )

    @cached_property
    def _client(self) -> anthropic.Client:
        return anthropic.Client(api_key="not-needed", base_url=self._endpoint.provider.address, http_client=no_client())

    def _get_request_payload(self, input_: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return dict(super()._get_request_payload(input_, **kwargs))
        except (ValueError, LookupError, TypeError, AttributeError) as err:
            if "response_format" not in kwargs:
                raise
            told = f"This response_format cannot be said in Anthropic's protocol: {err}"[:500]
            raise Fault("invalid_input", told, origin="model") from err


def chat_model(name: str, endpoint: Endpoint) -> AnthropicModel:
    """The model of that name at the endpoint; everything the client would look up in the environment is given here."""
    provider = endpoint.provider
    model = AnthropicModel(
        model=name,
        api_key=SecretStr(provider.key or "not-needed"),
        base_url=provider.address,
        anthropic_proxy=None,
        timeout=provider.timeout_s,
        max_retries=0,
        stream_usage=True,
    )
    model._endpoint = endpoint
    return model
