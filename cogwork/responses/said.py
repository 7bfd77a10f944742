"""What the forms for people say of a response, in words: its headline, questions, artifacts and errors."""

from __future__ import annotations

from cogwork.responses.response import Artifact, Part, Response
from state.values import Json

_RESTS = {
    "human": "a person is asked",
    "requested": "on request",
    "budget": "a limit is used up",
    "in_doubt": "a call is in doubt",
    "interrupted": "its process has gone",
}


def headline(response: Response) -> str:
    """One line: which workflow, and how it stands."""
    if response.status == "refused":
        return f"refused: {(response.error or {}).get('code')}"
    why = _RESTS.get(response.reason, response.reason) if response.status == "paused" else ""
    seconds = response.metadata.get("duration")
    took = f" after {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    return f"{response.workflow}: {response.status}{f' ({why})' if why else took}"


def wants_more(response: Response) -> bool:
    """Whether people need the headline and what can be done next: for all but what has completed, where what it has made is
    enough."""
    return response.status != "completed" or not (response.parts or response.artifacts)


def question_said(part: Part) -> tuple[str, str, dict[str, Json]]:
    """A question's title, its sentence, and what there is beside it, such as the form and what to look at."""
    told = part.content if isinstance(part.content, dict) else {}
    names = {
        "show": "To look at",
        "form": "The answer",
        "deadline": "Open until",
        "refused": "The answer before was refused",
    }
    rest = {title: told[name] for name, title in names.items() if told.get(name) not in (None, {}, [])}
    return f"Question at {told.get('at', '')}", str(told.get("ask", "")), rest


def artifact_said(artifact: Artifact) -> str:
    """What an artifact is, how large, and where."""
    size = f"{artifact.size:,} bytes" if artifact.size is not None else "of unknown size"
    place = {"file": "in the file {}", "value": "in the result at {}", "uri": "at {}", "refused": "not read: {}"}
    where = "; ".join(place.get(kind, kind).replace("{}", value) for kind, value in artifact.where.items())
    digest = f", {artifact.digest[:19]}…" if artifact.digest else ""
    return f"{artifact.mime_type}, {size}{digest}, {where}"
