"""The command ``models``: which models there are, what each can do and costs, and whether its endpoint answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cogwork.cli import context, render

if TYPE_CHECKING:
    from cogwork.models.chat import ChatModels
    from cogwork.models.info import ModelInfo
    from state.services import Price


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Show one, by provider:model.", show_default=False)
    ] = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Open the connection, and ask the endpoint whether it serves the model.")
    ] = False,
    json: context.Json = False,
) -> None:
    """The models that steps may name: context, abilities, price, and how their endpoints stand."""
    known = context.opened().models
    names = [name] if name is not None else [info.name for info in known.listed()]
    found, failed = _warmed(known, names) if warm else ([known.info(each) for each in names], {})
    if json:
        rows = [{**info.to_dict(), **({"error": failed[info.name]} if info.name in failed else {})} for info in found]
        render.write_json(rows if name is None else rows[0])
    elif name is not None:
        _show(found[0], failed.get(name, ""))
    else:
        _table(found, failed)
    if name is not None and (failed or found[0].problem):
        raise typer.Exit(1)


def _warmed(known: ChatModels, names: list[str]) -> tuple[list[ModelInfo], dict[str, str]]:
    """What is known of the models once their endpoints were asked, and what those that fail say."""
    import asyncio

    from state.errors import Fault

    failed: dict[str, str] = {}

    async def each(name: str) -> ModelInfo:
        if known.problem(name) is not None:
            return known.info(name)
        try:
            return await known.warm(name)
        except Fault as fault:
            failed[name] = f"{fault.message} [{fault.fault_class}]"
            return known.info(name)

    async def every() -> list[ModelInfo]:
        try:
            return list(await asyncio.gather(*map(each, names)))
        finally:
            await known.release()

    return asyncio.run(every()), failed


def _table(found: list[ModelInfo], failed: dict[str, str]) -> None:
    render.columns(
        [
            [
                (info.name, "cyan"),
                _state(info, failed),
                _number(info.context_length),
                ", ".join(info.capabilities or ()),
                price(info.price),
                (failed.get(info.name) or info.problem or ", ".join(info.used_as), "dim"),
            ]
            for info in found
        ],
        ("MODEL", "STATE", "CONTEXT", "CAN", "USD PER 1M", "ABOUT"),
    )


def _show(info: ModelInfo, failure: str) -> None:
    render.say((info.name, "bold cyan"), "  ", _state(info, {info.name: failure} if failure else {}))
    if told := failure or info.problem:
        render.say((told, "red"))
    render.say()
    rows = {
        "endpoint": info.endpoint or "none: it works offline",
        "breaker": info.breaker,
        "context": _number(info.context_length) or "unknown",
        "answer": _number(info.max_output_tokens) or "unknown",
        "can": "unknown" if info.capabilities is None else ", ".join(info.capabilities) or "nothing more",
        "USD per 1M": price(info.price) or "unknown",
        "used as": ", ".join(info.used_as) or "nothing yet",
    }
    render.columns([[(label, "dim"), value] for label, value in rows.items()], ("", ""))


def _state(info: ModelInfo, failed: dict[str, str]) -> tuple[str, str]:
    if info.name in failed:
        return "fails", "red"
    if info.problem:
        return "unusable", "yellow"
    if info.breaker != "closed":
        return f"breaker {info.breaker.replace('_', '-')}", "red"
    if info.served is not None:
        return ("served", "green") if info.served else ("not listed", "yellow")
    return info.state, ""


def _number(number: int | None) -> str:
    return f"{number:,}" if number is not None else ""


def price(cost: Price | None) -> str:
    """USD for a million tokens, read and written."""
    if cost is None:
        return ""
    cached = f", cached {cost.cached_input:g}" if cost.cached_input is not None else ""
    return f"{cost.input:g} in, {cost.output:g} out{cached}"
