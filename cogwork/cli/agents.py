"""The command ``agents``: those that are registered, what each of them is, and registering one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, render

if TYPE_CHECKING:
    from cogwork.agents import Agents, RegisteredAgent


def agents(
    name: Annotated[
        str | None, typer.Argument(metavar="[AGENT]", help="Show one, by id or name.", show_default=False)
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option("--capability", "-c", help="Only those that have it; may be repeated.")
    ] = None,
    register: Annotated[
        Path | None, typer.Option("--register", metavar="FILE", help="Register the agent of a YAML or JSON file.")
    ] = None,
    archive: Annotated[bool, typer.Option("--archive", help="Take the agent out of use.")] = False,
    json: context.Json = False,
) -> None:
    """The agents that workflows may name without declaring them, and whom they hand over to."""
    known = context.opened().agents
    if register is not None:
        name = _registered(known, register)
    if name is None:
        _list(known, capability or [], json=json)
    elif archive:
        known.archive(name)
        render.note(f"{name} is archived")
    else:
        _show(known, known.get(name), json=json)


def _registered(known: Agents, path: Path) -> str:
    from cogwork.agents import read_agent

    name, fields = read_agent(path)
    return known.register(name, **fields)


def _list(known: Agents, capabilities: list[str], *, json: bool) -> None:
    found = known.listed(capabilities=capabilities)
    if json:
        render.write_json([_data(known, each) for each in found])
        return
    if not found:
        render.say(
            "no agent is registered; a file of the folder agents/ declares one, or: cogwork agents --register FILE"
        )
        return
    render.columns(
        [
            [
                (each.id, "cyan"),
                each.agent.model or "",
                ", ".join(each.agent.capabilities),
                ", ".join(each.agent.tools),
                (each.agent.description, "dim"),
            ]
            for each in found
        ],
        ("AGENT", "MODEL", "CAPABILITIES", "TOOLS", "WHAT IT DOES"),
    )


def _show(known: Agents, found: RegisteredAgent, *, json: bool) -> None:
    if json:
        render.write_json(_data(known, found))
        return
    render.say((found.id, "bold cyan"), f"  {found.name}  {found.agent.description}")
    render.say()
    render.value(_data(known, found))


def _data(known: Agents, found: RegisteredAgent) -> dict[str, Any]:
    handoffs = [each.model_dump(mode="json") for each in known.handoffs(source=found.id)]
    return {**found.model_dump(mode="json", by_alias=True, exclude_none=True), "registered_handoffs": handoffs}
