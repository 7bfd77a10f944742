"""Responses written in the form that is wanted: text, Markdown, HTML, JSON, XML, YAML."""

from __future__ import annotations

from typing import assert_never

from cogwork.responses.accepting import MEDIA_TYPES
from cogwork.responses.response import Form, Response, dumped
from state.values import Json


def rendered(response: Response, form: Form) -> str:
    """The response in that form, ending in one newline.

    ``text``, ``markdown`` and ``html`` are for people: the parts, warnings and artifacts, and for all that has not completed
    also how it stands and what can be done next. In ``json``, ``xml`` and ``yaml`` it is ``Response.to_dict()``, and a refused
    request the documents' form of its error. It works on one thread for up to seconds where a response is large.
    """
    match form:
        case "text":
            from cogwork.responses.plain import to_text

            return to_text(response)
        case "markdown":
            from cogwork.responses.markdown import to_markdown

            return to_markdown(response)
        case "html":
            from cogwork.responses.html import page

            return page(response)
        case "json":
            return dumped(sendable(response), 2) + "\n"
        case "xml":
            from cogwork.responses.xml import to_xml

            return to_xml(sendable(response))
        case "yaml":
            from cogwork.responses.yaml import to_yaml

            return to_yaml(sendable(response))
    assert_never(form)


def formatted(response: Response, form: Form) -> dict[str, Json]:
    """The documents' formatted response: its ``content`` in that form, and beside it what programs need."""
    told = response.to_dict()
    return {
        "content": rendered(response, form),
        "format": form,
        "mime_type": MEDIA_TYPES[form],
        "metadata": told["metadata"],
        "artifacts": told["artifacts"],
        "actions": told["actions"],
    }


def sendable(response: Response) -> dict[str, Json]:
    """The response as plain JSON; a refused request is the documents' form of its error and nothing else."""
    told = response.to_dict()
    return {"error": told["error"]} if response.status == "refused" else told
