"""The commands about prompts: ``prompts``, and ``show``, ``render``, ``check`` and ``count`` below it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import MISSING, Refusal
from state.values import Json

if TYPE_CHECKING:
    from prompts.library import PromptLibrary
    from prompts.template import PromptTemplate
    from prompts.tokens import TokenCount
    from state.services import RenderedPrompt, Variable

prompts = typer.Typer(
    name="prompts",
    help="The prompt files that llm nodes may name: list, show, fill in, check and count them.",
    invoke_without_command=True,
    no_args_is_help=False,
)
Name = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="A prompt, such as planning/plan.", show_default=False)
]
Mode = Annotated[str | None, typer.Option(help="The mode whose prompts come first.", show_default=False)]
Model = Annotated[str, typer.Option(help="The model that counts, provider:model.", show_default=False)]
Pairs = Annotated[
    list[str],
    typer.Option("-i", metavar="NAME=VALUE", default_factory=list, help="One variable.", show_default=False),
]
Whole = Annotated[
    str | None, typer.Option("--input", metavar="FILE|-|JSON", help="All variables as an object.", show_default=False)
]


@prompts.callback()
def list_(ctx: typer.Context, model: Model = "", json: context.Json = False) -> None:
    """The prompts with their modes, versions, variables and the tokens of their own words."""
    if ctx.invoked_subcommand is not None:
        return
    library = _library()
    found = [(name, each) for name in library.names() if (each := library.find(name)) is not None]
    if json:
        render.write_json([_row(name, each, library, model) for name, each in found])
        return
    render.columns(
        [
            [
                (name, "cyan"),
                each.mode,
                ", ".join(library.versions(name)),
                _tokens(each.own_tokens(model)),
                ", ".join(_variable(variable) for variable in each.variables),
                (each.description, "dim"),
            ]
            for name, each in found
        ],
        ("PROMPT", "MODE", "VERSION", "TOKENS", "VARIABLES", "WHAT IT IS FOR"),
    )


@prompts.command()
def show(name: Name, mode: Mode = None, json: context.Json = False) -> None:
    """What a prompt declares, and its text with that of its partials in place."""
    library = _library()
    prompt = _found(library, name, mode)
    if json:
        render.write_json({**_row(prompt.name, prompt, library, ""), "text": prompt.text()})
        return
    render.say((f"{prompt.name}@{prompt.version}", "bold cyan"), f"  {prompt.description}")
    rows: list[list[str | tuple[str, str]]] = [[(each.name, "cyan"), *_about(each)] for each in prompt.variables]
    rows += [[(f"context.{name}", "cyan"), "", "", "", "of what the run is called with"] for name in prompt.context]
    if rows:
        render.say()
        render.columns(rows, ("VARIABLE", "TYPE", "DEFAULT", "SHORTENED", "MEANING"))
    render.say()
    render.write(render.safe(prompt.text()))


@prompts.command("render")
def rendered(
    name: Name,
    pairs: Pairs,
    given: Whole = None,
    mode: Mode = None,
    model: Model = "",
    tokens: Annotated[int | None, typer.Option(min=1, help="Shorten it to so many tokens.", show_default=False)] = None,
    run_context: Annotated[
        str | None, typer.Option("--context", metavar="FILE|JSON", help="The run's context.", show_default=False)
    ] = None,
    json: context.Json = False,
) -> None:
    """What a model would be told with these values, how many tokens that is, and what is left out."""
    from cogwork.cli.values import document, gathered

    prompt = _found(_library(), name, mode)
    values = gathered(prompt.schema, pairs, given)
    known = document(run_context) if run_context is not None else {}
    told = prompt.render(values, context=known, tokens=tokens, model=model)
    count = _count(f"{told.system}{told.user}", model)
    if json:
        left = [each.to_dict() for each in told.shortened]
        about: dict[str, Json] = {"name": told.name, "version": told.version, "tokens": asdict(count)}
        render.write_json({**about, "system": told.system, "user": told.user, "shortened": left})
        return
    _show(told, count)


@prompts.command()
def check(json: context.Json = False) -> None:
    """Every fault of every prompt file in the settings' folders. Exits with 1 if there is one."""
    from cogwork.cli.faults import code_of, show_problems
    from prompts.library import SHIPPED, read_folders

    folders = [SHIPPED, *context.opened().settings.prompts]
    found, problems = read_folders(folders)
    if json:
        render.write_json([asdict(problem) for problem in problems])
    else:
        show_problems(problems, render.say)
        usable = sum(len(versions) for versions in found.values())
        mark = ("✗ ", "red") if problems else ("✓ ", "green")
        render.say(mark, f"{usable} prompts and partials can be used, {len(problems)} faults")
    raise typer.Exit(code_of(problems))


@prompts.command()
def count(
    what: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A text file or a prompt.", show_default=False)],
    model: Model = "",
    json: context.Json = False,
) -> None:
    """The tokens of a file, or of a prompt's own words, and how they were counted."""
    path = Path(what)
    if path.is_file():
        try:
            found = _count(path.read_text(encoding="utf-8"), model)
        except UnicodeDecodeError as err:
            raise Refusal(f"{what} is no text in UTF-8: {err}") from err
    else:
        found = _found(_library(), what, None).own_tokens(model)
    if json:
        render.write_json(asdict(found))
        return
    how = "exactly" if found.exact else "an estimate, which may be off by a quarter and more"
    render.say((f"{found.tokens:,}", "bold"), " tokens", (f"  {found.method}: {how}", "dim"))


def _library() -> PromptLibrary:
    from prompts.library import SHIPPED, PromptLibrary

    return PromptLibrary([SHIPPED, *context.opened().settings.prompts])


def _found(library: PromptLibrary, name: str, mode: str | None) -> PromptTemplate:
    """The prompt or partial of that name.

    Raises:
        Refusal: there is none.
    """
    if (prompt := library.find(name, mode=mode)) is not None:
        return prompt
    bare, _, version = name.partition("@")
    versions = library.versions(bare)
    if versions and (version in versions or not version):
        return versions[version] if version else next(iter(versions.values()))
    known = [*library.names(), *library.partials()]
    close = difflib.get_close_matches(bare, known, 1)
    hint = (
        f"it has {', '.join(versions)}" if versions else f"did you mean {close[0]!r}?" if close else "cogwork prompts"
    )
    raise Refusal(f"There is no prompt {name!r}", hint, MISSING)


def _count(text: str, model: str) -> TokenCount:
    from prompts.tokens import count as counted

    return counted(text, model)


def _tokens(count: TokenCount) -> str:
    return f"{'' if count.exact else '~'}{count.tokens}"


def _variable(variable: Variable) -> str:
    return variable.name if variable.required else f"{variable.name}?"


def _about(variable: Variable) -> list[str]:
    import json

    default = "(needed)" if variable.required else json.dumps(variable.default, ensure_ascii=False)
    return [str(variable.schema.get("type", "any")), default, _cut(variable), variable.description]


def _cut(variable: Variable) -> str:
    cut = variable.cut
    if cut is None:
        return "never"
    bounds = [f"priority {cut.priority}"] if cut.priority is not None else []
    bounds += [f"at least {cut.least}"] if cut.least else []
    bounds += [f"at most {cut.most}"] if cut.most is not None else []
    return ", ".join([*bounds, f"keeps {cut.keep}"])


def _row(name: str, prompt: PromptTemplate, library: PromptLibrary, model: str) -> Mapping[str, Json]:
    return {
        "name": name,
        "version": prompt.version,
        "versions": list(library.versions(name)),
        "mode": prompt.mode,
        "description": prompt.description,
        "variables": prompt.schema,
        "context": list(prompt.context),
        "partials": list(prompt.partials),
        "tokens": asdict(prompt.own_tokens(model)),
    }


def _show(told: RenderedPrompt, count: TokenCount) -> None:
    if told.system:
        render.say(("# System", "bold"))
        render.write(render.safe(told.system))
        render.say()
    render.say(("# User", "bold"))
    render.write(render.safe(told.user))
    for cut in told.shortened:
        render.note((f"left out: {cut.dropped:,} tokens of {cut.variable} ({cut.how})", "yellow"))
    render.note((f"{_tokens(count)} tokens · {told.name}@{told.version} · {count.method}", "dim"))
