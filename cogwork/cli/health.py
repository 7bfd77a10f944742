"""The command ``health``: whether the records, their disk, the checkpoints, the workers and the services are well."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import DONE, FAILED, RESTS
from state.values import Json

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.metrics.health import Probe

CODES: Final = {"healthy": DONE, "degraded": RESTS, "unhealthy": FAILED}
_STYLES: Final = {"healthy": "green", "degraded": "yellow", "unhealthy": "bold red"}
_MARKS: Final = {"healthy": "✓", "degraded": "!", "unhealthy": "✗"}


def health(
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that each part has to answer.")] = 5.0,
    json: context.Json = False,
) -> None:
    """How every part that cogwork depends on stands; exit code 0 healthy, 3 degraded, 1 unhealthy."""
    import asyncio

    from cogwork.metrics.health import system_health

    app = context.opened()
    told = asyncio.run(system_health(probes(app), within=timeout))
    if json:
        render.write_json(told)
    else:
        _show(told)
    raise typer.Exit(CODES[told["status"]])


def probes(app: App) -> dict[str, Probe]:
    """The probes of all that this process can ask."""
    from cogwork.metrics.probes import disk_probe, opened_probes, service_probes, store_probe

    def records() -> Any:
        from cogwork.cli.stats import kept_records

        return kept_records(app)

    return {
        **opened_probes(records),
        "disk": disk_probe(app.settings.state_dir),
        "checkpoints": store_probe(app.checkpoints, "checkpoints"),
        "memory": store_probe(lambda: _memory(app), "memory"),
        **service_probes(app.health),
    }


def _memory(app: App) -> AbstractContextManager[Any]:
    """The store of memory, closed again."""
    from cogwork.sessions.store import memory_store

    chosen = app.settings
    path = chosen.state_dir / "memory.sqlite"
    return closing(memory_store(path, chosen.database_url, synchronous=chosen.synchronous, ring=app.ring))


def _show(told: dict[str, Json]) -> None:
    rows: list[list[str | tuple[str, str]]] = [
        [
            (f"{_MARKS[part['status']]} {name}", _STYLES[part["status"]]),
            part["status"],
            f"{part['latency_ms']:,.1f} ms",
            (part["detail"], "dim"),
        ]
        for name, part in told["parts"].items()
    ]
    render.columns(rows, ("PART", "STATUS", "ANSWERED", "ABOUT"))
    render.say()
    render.say((told["status"], _STYLES[told["status"]]))
