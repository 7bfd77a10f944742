"""Responses as Markdown, in which only the parts that are Markdown are read as such."""

from __future__ import annotations

from collections.abc import Iterator

from cogwork.responses.plain import indented
from cogwork.responses.prose import closed, coded, fenced, literal, literal_line, shown
from cogwork.responses.response import Action, Part, Response
from cogwork.responses.said import artifact_said, headline, question_said, wants_more


def to_markdown(response: Response) -> str:
    """The response as CommonMark; of one that has completed only the output, its warnings and artifacts."""
    text = "\n\n".join(_blocks(response)).strip("\n")
    return f"{text}\n" if text else ""


def _blocks(response: Response) -> Iterator[str]:
    more = wants_more(response)
    if more:
        yield f"# {literal_line(headline(response))}"
    for part in response.parts:
        if part.name and part.kind != "question":
            yield f"## {coded(part.name)}"
        yield from _part(part)
        if part.shortened:
            yield literal(part.shortened.mark)
    if response.warnings:
        yield "\n".join(f"- warning: {literal_line(warning)}" for warning in response.warnings)
    if response.artifacts:
        yield "## Artifacts"
        yield "\n".join(f"- {coded(each.name)}: {coded(artifact_said(each))}" for each in response.artifacts)
    if more and response.actions:
        yield "## What can be done next"
        yield "\n".join(map(_action, response.actions))


def _action(action: Action) -> str:
    said = f"- {literal_line(action.label)}: {literal_line(action.description)}"
    return f"{said}\n  - {coded(action.command)}\n  - {coded(f'{action.method} {action.path}')}"


def _part(part: Part) -> Iterator[str]:
    match part.kind:
        case "markdown":
            yield closed(shown(str(part.content)))
        case "text":
            yield literal(str(part.content))
        case "code":
            yield fenced(shown(str(part.content)), part.language)
        case "question":
            title, ask, rest = question_said(part)
            yield f"## {literal_line(title)}"
            yield literal(ask)
            for name, value in rest.items():
                yield f"{name}:"
                yield fenced(indented(value), "json")
        case "error":
            told = part.content if isinstance(part.content, dict) else {}
            yield literal(str(told.get("message")))
            yield fenced(indented(told), "json")
        case "data":
            yield fenced(indented(part.content), "json")
