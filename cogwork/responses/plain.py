"""Responses as plain text, safe to show on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cogwork.responses.prose import in_line, shown
from cogwork.responses.response import Action, Part, Response
from cogwork.responses.said import artifact_said, headline, question_said, wants_more
from state.values import Json


def to_text(response: Response) -> str:
    """The response as text; of one that has completed only the output, its warnings and artifacts."""
    text = "\n\n".join(_blocks(response)).strip("\n")
    return f"{text}\n" if text else ""


def _blocks(response: Response) -> Iterator[str]:
    more = wants_more(response)
    if more:
        yield in_line(headline(response))
    for part in response.parts:
        title = f"{in_line(part.name)}:\n" if part.name and part.kind != "question" else ""
        cut = f"\n{shown(part.shortened.mark)}" if part.shortened else ""
        yield f"{title}{_part(part)}{cut}"
    if response.warnings:
        yield "\n".join(f"warning: {in_line(warning)}" for warning in response.warnings)
    if response.artifacts:
        named = [f"  {in_line(each.name)}: {in_line(artifact_said(each))}" for each in response.artifacts]
        yield "\n".join(["Artifacts", *named])
    if more and response.actions:
        yield "\n".join(["What can be done next", *(line for each in response.actions for line in _lines(each))])


def _lines(action: Action) -> Iterator[str]:
    yield f"  {in_line(action.label)}: {in_line(action.description)}"
    yield f"    {in_line(action.command)}"
    yield f"    {action.method} {action.path}"


def _part(part: Part) -> str:
    if part.kind == "question":
        title, ask, rest = question_said(part)
        return "\n".join([shown(f"{title}: {ask}"), *(f"{name}: {indented(value)}" for name, value in rest.items())])
    if part.kind == "error" and isinstance(part.content, dict):
        return f"error {in_line(str(part.content.get('code')))}: {shown(str(part.content.get('message')))}"
    return shown(part.content).rstrip("\n") if isinstance(part.content, str) else indented(part.content)


def indented(value: Json) -> str:
    """A value as people read it: text as it is, else JSON in lines."""
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))
