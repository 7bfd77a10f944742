"""The command ``stats``: figures of workflows, steps, agents, tools and models over a time range, as table, JSON and plot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import FAILED, Refusal

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.metrics import Comparison, Metrics, Report
    from cogwork.records import Records

Of = Annotated[str | None, typer.Option(metavar="NAME", show_default=False)]


def stats(
    workflow: Annotated[
        str | None, typer.Argument(metavar="[WORKFLOW]", help="Name or id; without one, all.", show_default=False)
    ] = None,
    node: Annotated[str | None, typer.Option(help="One node of the workflow.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="The turns of an agent.", show_default=False)] = None,
    tool: Annotated[str | None, typer.Option(help="The steps that call a tool.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="The steps that ask a model.", show_default=False)] = None,
    version: Annotated[
        list[int] | None,
        typer.Option(help="One version of the workflow; given twice, the two beside each other.", show_default=False),
    ] = None,
    since: Annotated[
        str, typer.Option(help="last_N_minutes, last_N_hours, last_N_days, today, or START/END.")
    ] = "last_7_days",
    by: Annotated[str, typer.Option(help="Over time by day or by hour.")] = "day",
    timezone: Annotated[str, typer.Option(help="Time zone of days and hours, such as Europe/Berlin.")] = "UTC",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Also draw the figures over time there.", show_default=False)
    ] = None,
    json: context.Json = False,
) -> None:
    """How often, how well, how fast and how dearly things ran: counts, success, durations, tokens and cost over time."""
    import asyncio

    versions = version or []
    asked = {
        name: value for name, value in (("node", node), ("agent", agent), ("tool", tool), ("model", model)) if value
    }
    _fitting(workflow, asked, versions)
    with kept_metrics(context.opened()) as metrics:
        if len(versions) == 2:
            _show_comparison(asyncio.run(_compared(metrics, str(workflow), since, versions)), json=json)
            return
        more: dict[str, Any] = {"by": by, "timezone": timezone}
        if workflow is not None and versions:
            more["version"] = versions[0]
        report = asyncio.run(_report(metrics, workflow, asked, since, more))
        if plot is not None:
            _draw(report, plot)
        if json:
            render.write_json(report.to_dict())
            return
        from cogwork.cli.figures import show_report

        show_report(report, by)
        if not report["execution_count"] and asked:
            _hint(asyncio.run(metrics.names(next(iter(asked)))), asked)  # type: ignore[arg-type]


def _fitting(workflow: str | None, asked: dict[str, str], versions: list[int]) -> None:
    """Refuse options that do not go together."""
    if len(asked) > 1:
        raise Refusal(f"--{' and --'.join(asked)} do not go together", "ask for one of them")
    if asked and "node" not in asked and workflow is not None:
        raise Refusal(f"--{next(iter(asked))} is of all workflows", "leave the workflow out")
    if ("node" in asked or versions) and workflow is None:
        raise Refusal(f"--{'node' if asked else 'version'} needs a workflow", "name one: cogwork stats WORKFLOW …")
    if len(versions) > 2 or (len(versions) == 2 and asked):
        raise Refusal("At most two versions of a workflow stand beside each other", "give --version twice")


async def _report(
    metrics: Metrics, workflow: str | None, asked: dict[str, str], since: str, more: dict[str, Any]
) -> Report:
    match asked:
        case {"node": name}:
            return await metrics.node(str(workflow), name, since, **more)
        case {"agent": name}:
            return await metrics.agent(name, since, **more)
        case {"tool": name}:
            return await metrics.tool(name, since, **more)
        case {"model": name}:
            return await metrics.model(name, since, **more)
    return await (metrics.workflow(workflow, since, **more) if workflow else metrics.overview(since, **more))


async def _compared(metrics: Metrics, workflow: str, since: str, versions: list[int]) -> Comparison:
    return await metrics.compare(workflow, since, versions=(versions[0], versions[1]))


def _show_comparison(comparison: Comparison, *, json: bool) -> None:
    if json:
        render.write_json(comparison.to_dict())
        return
    from cogwork.cli.figures import show_comparison

    show_comparison(comparison)


def _draw(report: Report, target: Path) -> None:
    from cogwork.metrics.plot import plot

    try:
        target.write_text(plot(report), encoding="utf-8")
    except OSError as err:
        raise Refusal(f"{target} cannot be written: {err.strerror or err}", "choose another file", FAILED) from err
    render.note((f"drawn: {target}", "dim"))


def _hint(known: list[str], asked: dict[str, str]) -> None:
    """Names that are like the one of which nothing is known."""
    import difflib

    (kind, name), *_ = asked.items()
    if name not in known:
        close = difflib.get_close_matches(name, known, 3, 0.5)
        told = f"did you mean {' or '.join(close)}?" if close else f"steps tell of {', '.join(known[:8]) or 'none'}"
        render.note((f"no step tells of the {kind} {name!r}: {told}", "yellow"))


@contextmanager
def kept_records(app: App) -> Iterator[Records]:
    """The records of the settings' database, or of the file in the state folder.

    Raises:
        EngineError: ``database_error``.
    """
    from cogwork.records.database import opened

    chosen = app.settings
    path = chosen.state_dir / "records.sqlite"
    with opened(path, chosen.database_url, synchronous=chosen.synchronous, ring=app.ring) as records:
        yield records


@contextmanager
def kept_metrics(app: App) -> Iterator[Metrics]:
    """The metrics of the records; workflows and agents that are only in files are known too."""
    from cogwork.metrics import Metrics

    def known(kind: str) -> list[str]:
        if kind == "workflow":
            return [path.stem for path in app.workflow_files()]
        return [each.id for each in app.agents.listed(status=None)]

    with kept_records(app) as records:
        yield Metrics(records, known=known)
