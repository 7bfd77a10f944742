"""The commands around tools: ``tools`` lists them, ``tools search`` finds the ones that fit."""

from __future__ import annotations

from typing import Annotated

import typer

from cogwork.cli import catalog, context, render
from cogwork.cli.exits import Refusal

tools = typer.Typer(name="tools", no_args_is_help=False, invoke_without_command=True)


@tools.callback(invoke_without_command=True)
def list_tools(ctx: typer.Context, json: context.Json = False) -> None:
    """The tools that workflows may name: what they do to the world, and their arguments; or search them."""
    if ctx.invoked_subcommand is None:
        catalog.tools(json)


@tools.command()
def search(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="What is to be done, in plain words.", show_default=False)
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 10,
    json: context.Json = False,
) -> None:
    """The tools that fit a description best, by their names, descriptions and parameters."""
    from cogwork.tools.finding import found

    app = context.opened()
    try:
        hits = [found(hit) for hit in app.search_tools(query, limit)]
    except (ImportError, ValueError) as err:
        raise Refusal(str(err), "see the setting embeddings in cogwork.toml and COGWORK_EMBEDDINGS") from err
    if trouble := app.finder.trouble:
        render.note(("note: ", "bold yellow"), f"searched by words alone, as {trouble}")
    if json:
        render.write_json([dict(hit) for hit in hits])
    elif hits:
        render.columns(
            [
                [
                    (hit["name"], "cyan"),
                    (hit["effect"], "yellow" if hit["effect"] == "write" else "green"),
                    f"{hit['score']:.2f}",
                    (hit["description"].split("\n")[0], "dim"),
                ]
                for hit in hits
            ],
            ("TOOL", "EFFECT", "SCORE", "WHAT IT DOES"),
        )
    else:
        render.say("no tool has a word of that")
