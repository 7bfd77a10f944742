"""The one place that knows OpenAI's client: chat models of any endpoint that speaks its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from cogwork.models.endpoint import Endpoint
from cogwork.models.guarded import Guarded
from cogwork.models.provider import Provider
from cogwork.models.transport import LoopTransport, async_client, blocking_client, no_client, silence

FIELDS: Final[Mapping[str, str]] = {
    **{name: name for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop")},
    "max_tokens": "max_tokens",
}
"""The client's name for each call setting."""


class OpenAIModel(Guarded, ChatOpenAI):
    """A chat model that speaks OpenAI's protocol."""


def chat_model(name: str, endpoint: Endpoint) -> OpenAIModel:
    """The model of that name at the endpoint; everything the client would look up in the environment is given here."""
    provider, transport = endpoint.provider, endpoint.connections()
    model = OpenAIModel(
        model=name,
        api_key=SecretStr(provider.key or "not-needed"),
        base_url=provider.address,
        openai_proxy="",
        timeout=silence(provider),
        max_retries=0,
        stream_usage=True,
        stream_chunk_timeout=provider.timeout_s,
        use_responses_api=False,
        http_client=no_client(),
        http_async_client=async_client(transport),
    )
    model._endpoint = endpoint
    return model


def embedding_model(name: str, provider: Provider) -> OpenAIEmbeddings:
    """The embedding model of that name at the provider, to be called from threads; texts are sent as they are, not as tokens."""
    return OpenAIEmbeddings(
        model=name,
        openai_api_key=SecretStr(provider.key or "not-needed"),
        openai_api_base=provider.address,
        request_timeout=silence(provider),
        max_retries=0,
        check_embedding_ctx_length=False,
        http_client=blocking_client(provider),
        http_async_client=async_client(LoopTransport(provider)),
    )
