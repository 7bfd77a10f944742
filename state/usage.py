"""What calls of models have used: tokens and money, of one call, of several, and of a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from state.services import Price
from state.values import Json

CALLS: Final = "calls"
"""The key under which the usage of several calls has that of each."""
_DETAILS: Final = (
    ("input_token_details", "cache_read", "cached_input_tokens"),
    ("input_token_details", "cache_creation", "cache_write_tokens"),
    ("output_token_details", "reasoning", "reasoning_tokens"),
)


def counted(metadata: Mapping[str, Json]) -> dict[str, Json]:
    """LangChain's usage metadata as flat numbers; cached and reasoning tokens, parts of the others, where there are any."""
    usage: dict[str, Json] = {name: n for name, n in metadata.items() if _is_number(n)}
    for group, part, name in _DETAILS:
        details = metadata.get(group)
        if isinstance(details, Mapping) and (n := details.get(part)) and _is_number(n):
            usage[name] = n
    return usage


def summed(one: Mapping[str, Json], other: Mapping[str, Json]) -> dict[str, Json]:
    """The sum of the numbers of two usages of the same call."""
    numbers = {name: n for name, n in one.items() if _is_number(n)}
    for name, n in other.items():
        if _is_number(n):
            numbers[name] = round(numbers.get(name, 0) + n, 9)
    return numbers


def added(one: Mapping[str, Json], other: Mapping[str, Json]) -> dict[str, Json]:
    """The usage of two calls, or of more; ``calls`` then tells that of each."""
    if not one or not other:
        return dict(one or other)
    return {**summed(one, other), CALLS: [*_each(one), *_each(other)]}


def billed(usage: Mapping[str, Json], model: str, price: Price | None) -> dict[str, Json]:
    """The usage with the model, and with ``cost_usd`` where its price is known; of each call, where there are several."""
    if not usage:
        return {}
    more: dict[str, Json] = {"model": model}
    if price is not None and "cost_usd" not in usage:
        more["cost_usd"] = cost(usage, price)
    if CALLS in usage:
        more[CALLS] = [billed(each, model, price) for each in usage[CALLS]]
    return {**usage, **more}


def cost(usage: Mapping[str, Json], price: Price) -> float:
    """USD for the tokens; those out of and into the provider's cache at their own prices, where they have any."""
    rates = Price(*price)
    cached, written = usage.get("cached_input_tokens") or 0, usage.get("cache_write_tokens") or 0
    fresh = max(0, (usage.get("input_tokens") or 0) - cached - written)
    parts = (
        fresh * rates.input,
        cached * (rates.input if rates.cached_input is None else rates.cached_input),
        written * (rates.input if rates.cache_write is None else rates.cache_write),
        (usage.get("output_tokens") or 0) * rates.output,
    )
    return round(sum(parts) / 1_000_000, 9)


def total(records: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """What the steps of a run have used together, ``models`` telling it for each model; empty where no model was asked."""
    each = [call for record in records for call in _each(record.get("usage") or {})]
    if not each:
        return {}
    whole: dict[str, Json] = {}
    models: dict[str, dict[str, Json]] = {}
    for usage in each:
        whole = summed(whole, usage)
        name = str(usage.get("model") or "")
        models[name] = summed(models.get(name, {}), usage) | {"calls": models.get(name, {}).get("calls", 0) + 1}
    return {**whole, "models": models}


def _each(usage: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The usages of the single calls in it."""
    return [dict(each) for each in usage.get(CALLS) or ([usage] if usage else [])]


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
