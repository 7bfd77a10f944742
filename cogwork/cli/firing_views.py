"""What the commands about schedules and triggers show and read: firings, fields, JSON, and the errors of verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cogwork.cli import render
from cogwork.cli.exits import MISSING, Refusal

if TYPE_CHECKING:
    from cogwork.schedules.rows import Firing, ScheduleRecord, TriggerRecord

T = TypeVar("T")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.", show_default=False)]
Workflow = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow that is started.", show_default=False)]
Version = Annotated[str, typer.Option("--version", help="A number or a label; else the default one.")]
Fields = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A further field; the value in YAML.")
]
Input = Annotated[
    str | None, typer.Option("--input", help="The input, as JSON; expressions over event may stand in it.")
]
Options = Annotated[str | None, typer.Option("--options", help="Options of the execution, as JSON.")]
_STYLES = {"fired": "green", "failed": "bold red", "planned": "cyan", "starting": "cyan", "gap": "bold yellow"}


def called(opener: Callable[[], Any], call: Callable[[Any], Awaitable[T]]) -> T:
    """What a verb returns; its errors as the command line tells them."""
    from cogwork.errors import EngineError

    with opener() as opened:
        try:
            return asyncio.run(_awaited(call(opened)))
        except EngineError as err:
            known = err.details.get("suggestions")
            hint = f"did you mean {' or '.join(known)}?" if isinstance(known, list) and known else ""
            missing = err.code.endswith("_not_found")
            raise Refusal(err.message.partition(": did you mean")[0], hint, *([MISSING] if missing else [])) from err


async def _awaited(call: Awaitable[T]) -> T:
    return await call


def show_firings(found: tuple[Firing, ...], json: bool) -> None:
    """Firings in columns, or as JSON."""
    if json:
        render.write_json([firing_data(each) for each in found])
    elif not found:
        render.say("nothing has fired yet")
    else:
        rows: list[list[str | tuple[str, str]]] = [
            [
                shown(each.due_at),
                (each.outcome, _STYLES.get(each.outcome, "yellow")),
                str(each.attempt),
                each.execution_id or "",
                (each.detail, "dim"),
            ]
            for each in found
        ]
        render.columns(rows, ("DUE", "OUTCOME", "ATTEMPTS", "EXECUTION", "DETAIL"))


def told(data: Any, sentence: str, json: bool) -> None:
    """A sentence, or JSON."""
    render.write_json(data) if json else render.say(sentence)


def schedule_data(each: ScheduleRecord) -> dict[str, Any]:
    """A schedule as JSON."""
    from cogwork.schedules.rows import plain_definition

    return _common(each) | {"definition": plain_definition(each.definition), "input": each.input}


def trigger_data(each: TriggerRecord) -> dict[str, Any]:
    """A trigger as JSON."""
    from cogwork.schedules.rows import plain_definition

    return _common(each) | {"kind": each.kind, "definition": plain_definition(each.definition)}


def _common(each: ScheduleRecord | TriggerRecord) -> dict[str, Any]:
    names = ("id", "name", "workflow", "version", "source", "enabled", "options")
    return {name: getattr(each, name) for name in names} | {"next_at": shown(each.next_at) or None}


def firing_data(each: Firing) -> dict[str, Any]:
    """A firing as JSON."""
    names = ("id", "outcome", "detail", "execution_id", "attempt", "duplicate")
    return {name: getattr(each, name) for name in names} | {"due_at": shown(each.due_at)}


def state(each: ScheduleRecord | TriggerRecord) -> tuple[str, str]:
    """Whether it is enabled."""
    return ("enabled", "green") if each.enabled else ("disabled", "yellow")


def shown(at: Any) -> str:
    """An instant, to the second."""
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def fields_of(given: list[str] | None) -> dict[str, Any]:
    """The fields of --set, their values in YAML."""
    from graphs.language.yaml import read_yaml
    from state.errors import SpecError

    found: dict[str, Any] = {}
    for each in given or []:
        field, text = halves(each, "=", "--set")
        try:
            found[field] = read_yaml(f"- {text}").value[0]
        except (SpecError, TypeError, IndexError) as err:
            raise Refusal(f"--set {field}={text!r} is no value", "quote it: --set 'path=\"**/*.csv\"'") from err
    return found


def halves(text: str, at: str, option: str) -> tuple[str, str]:
    """The two parts of an option, such as FIELD=VALUE."""
    name, found, value = text.partition(at)
    if not found:
        raise Refusal(f"{option} {text!r} has no {at!r}", f"write {option} 'NAME{at}VALUE'")
    return name.strip(), value.strip()


def object_of(text: str | None, option: str) -> Any:
    """The object of an option that takes JSON; None where it is not given."""
    import json

    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as err:
        raise Refusal(f"{option} is not JSON: {err}", f'write {option} \'{{"name": "value"}}\'') from err
    if not isinstance(found, dict):
        raise Refusal(f"{option} is no JSON object", f'write {option} \'{{"name": "value"}}\'')
    return found
