"""What is different about one run: ``--set`` and ``--overrides``, put into the workflow before it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from state.values import Json

if TYPE_CHECKING:
    from cogwork.app import App
    from graphs.language.load import Workflow

Sets = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PLACE=VALUE",
        default_factory=list,
        help="Something different this time: nodes.draft.model=openai:x, limits.max_tokens=5000 …",
        show_default=False,
    ),
]
File = Annotated[
    str | None,
    typer.Option("--overrides", metavar="FILE|-|JSON", help="The same as an object.", show_default=False),
]


def loaded(app: App, workflow: str, sets: Iterable[str], file: str | None) -> Workflow:
    """The workflow with what the options say of this run; ``--set`` goes over ``--overrides``.

    Raises:
        SpecError: the workflow cannot be loaded, or an override does not fit.
        Refusal: an option is not of its form.
    """
    from graphs.language.overrides import overridden

    found = app.load(workflow)
    return overridden(found, given(found, sets, file))


def given(found: Workflow, sets: Iterable[str], file: str | None) -> Json:
    """The overrides that the options mean for a workflow.

    Raises:
        Refusal: an option is not of its form.
    """
    from cogwork.cli.values import document, pair
    from graphs.language.overrides import joined, placed

    made: Json = document(file, "--overrides") if file is not None else {}
    for text in sets:
        place, value = pair(text, "--set")
        made = joined(made, placed(found, place, _value(value)))
    return made


def _value(text: str) -> Json:
    """JSON where it is some, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
