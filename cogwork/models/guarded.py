"""What every chat model of a vendor has in common here: each call goes through its endpoint, and a cut stream is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from cogwork.models.endpoint import Endpoint
from state.errors import Fault

T = TypeVar("T")
PER_TOKEN = 4
"""Characters of a token, roughly: for the tokens that a call is counted with until the endpoint says how many they were."""


class Guarded(BaseChatModel):
    """Mixed into a vendor's model before its class."""

    _endpoint: Endpoint = PrivateAttr()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """No: what tells how a model is reached stays here."""
        return False

    @property
    def full_name(self) -> str:
        """The name that specs use, ``provider:model``."""
        return f"{self._endpoint.name}:{getattr(self, 'model_name', None) or getattr(self, 'model', '')}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, "endpoint": self._endpoint.provider.address}

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async with self._endpoint.calling(_estimate(messages)) as call:
            result = await call.result(super()._agenerate(messages, stop, run_manager, **kwargs))
            for generation in result.generations:
                call.tokens += _used(generation.message)
            return result

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        size, finished = 0, False
        async with self._endpoint.calling(_estimate(messages)) as call:
            async with aclosing(call.pieces(super()._astream(messages, stop, run_manager, **kwargs))) as pieces:
                async for chunk in pieces:
                    call.tokens += _used(chunk.message)
                    size, finished = size + len(chunk.text), finished or _says_why_it_ends(chunk)
                    yield chunk
            if not finished:
                told = f"The model's stream was cut after {size:,} characters"
                raise Fault("unavailable", told, origin="model")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _apart(self._agenerate(messages, stop, None, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        async def gathered() -> list[ChatGenerationChunk]:
            return [chunk async for chunk in self._astream(messages, stop, None, **kwargs)]

        yield from _apart(gathered())


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work in an event loop of its own: who calls without one has the same guarantees."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _estimate(messages: Sequence[BaseMessage]) -> int:
    return 1 + sum(len(message.text) for message in messages) // PER_TOKEN


def _used(message: BaseMessage) -> int:
    usage = getattr(message, "usage_metadata", None)
    return int(usage["total_tokens"]) if usage else 0


def _says_why_it_ends(chunk: ChatGenerationChunk) -> bool:
    about = {**(chunk.generation_info or {}), **chunk.message.response_metadata}
    return bool(about.get("finish_reason") or about.get("stop_reason"))
