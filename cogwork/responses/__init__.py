"""What an execution has come to, told in the form that is wanted: text, Markdown, HTML, JSON, XML, YAML, or as a stream.

``response_of`` makes a ``Response`` of a result and ``refusal_of`` one of an error; ``chosen`` reads the header ``Accept``;
``rendered`` writes it; ``chunks`` and ``as_sse`` make a stream of an execution's events.
"""

from __future__ import annotations

from cogwork.responses.accepting import FORMS, MEDIA_TYPES, chosen, form_named
from cogwork.responses.bounds import USUAL, WHOLE, Bounds
from cogwork.responses.forms import formatted, rendered
from cogwork.responses.response import Action, Artifact, Form, Part, Response, Shortened
from cogwork.responses.results import refusal_of, response_of, status_of
from cogwork.responses.stream import Chunk, as_sse, begins_after, chunks

__all__ = [
    "FORMS",
    "MEDIA_TYPES",
    "USUAL",
    "WHOLE",
    "Action",
    "Artifact",
    "Bounds",
    "Chunk",
    "Form",
    "Part",
    "Response",
    "Shortened",
    "as_sse",
    "begins_after",
    "chosen",
    "chunks",
    "form_named",
    "formatted",
    "refusal_of",
    "rendered",
    "response_of",
    "status_of",
]
