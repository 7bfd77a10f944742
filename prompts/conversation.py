"""A conversation as a model is told it: in order, merged, and trimmed from its oldest end without tearing apart what belongs
together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from prompts.tokens import PER_MESSAGE
from state.errors import Fault
from state.services import Shortened
from state.values import Json

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
"""Who may speak in a history that is handed in, and what models call them."""
MAX_ENTRIES: Final = 10_000
_KEYS: Final = ("role", "content", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message; ``calls`` are the ids of the tool calls in it, ``answers`` is the id of the call whose result it is.

    ``of`` is the message that it was made from; None for one that is new.
    """

    role: Role
    text: str
    calls: tuple[str, ...] = ()
    answers: str = ""
    of: Any = None


def entries(given: Json) -> list[Turn]:
    """The turns of a history that is handed in: a list of ``{role, content, timestamp?}``, sorted where all have a time.

    Raises:
        Fault: ``invalid_input`` with every entry that is none.
    """
    if given in (None, ""):
        return []
    if not isinstance(given, list) or len(given) > MAX_ENTRIES:
        told = f"context.history must be a list of at most {MAX_ENTRIES:,} entries {{role, content, timestamp?}}"
        raise Fault("invalid_input", told, stage="render")
    if wrong := [f"entry {n}: {fault}" for n, each in enumerate(given) if (fault := _fault(each))]:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        told = f"context.history is no conversation: {'; '.join(wrong[:3])}{more}"
        raise Fault("invalid_input", told, stage="render", details=wrong[:100])
    if all("timestamp" in each for each in given):
        given = sorted(given, key=lambda each: _time(each["timestamp"]))
    return [Turn(role=ROLES[each["role"]], text=each["content"]) for each in given]


def _fault(entry: Json) -> str | None:
    if not isinstance(entry, dict):
        return "it is no object"
    if unknown := [key for key in entry if key not in _KEYS]:
        return f"unknown key {unknown[0]!r}; the keys are {', '.join(_KEYS)}"
    role = entry.get("role")
    if role in ("system", "developer"):
        return "instructions belong into the prompt, not into a history"
    if not isinstance(role, str) or role not in ROLES:
        return f"the role must be one of {', '.join(ROLES)}"
    if not isinstance(entry.get("content"), str):
        return "the content must be text"
    if "timestamp" in entry and (not isinstance(entry["timestamp"], str) or not _is_time(entry["timestamp"])):
        return "the timestamp must be ISO 8601, such as 2026-11-21T09:30:00Z"
    return None


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def merged(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with what one side says twice in a row as one; calls of tools and their results stay by themselves."""
    made: list[Turn] = []
    for turn in turns:
        if not turn.text.strip() and not turn.calls and not turn.answers:
            continue
        last = made[-1] if made else None
        plain = last is not None and not (last.calls or last.answers or turn.calls or turn.answers)
        if last is not None and plain and last.role == turn.role:
            made[-1] = replace(last, text=f"{last.text}\n\n{turn.text}", of=None)
        else:
            made.append(turn)
    return made


def trimmed(
    turns: Sequence[Turn],
    count: Callable[[str], int],
    *,
    max_messages: int | None = None,
    max_tokens: int | None = None,
) -> tuple[list[Turn], Shortened | None]:
    """The latest turns within the bounds, and what was left out.

    A call of tools and its results stay or go together, and a half of such a pair that has no other goes. What was cut
    begins with what a user says. Tokens are those of the texts with the frame of each message.
    """
    groups = list(_groups(turns))
    kept: list[list[Turn]] = []
    messages = tokens = 0
    for group in reversed(groups):
        messages, tokens = messages + len(group), tokens + sum(size(turn, count) for turn in group)
        if (max_messages is not None and messages > max_messages) or (max_tokens is not None and tokens > max_tokens):
            break
        kept.insert(0, group)
    while kept and len(kept) < len(groups) and kept[0][0].role != "user":
        kept.pop(0)
    left = [turn for group in kept for turn in group]
    if len(kept) == len(groups):
        return left, None
    gone = [turn for group in groups[: len(groups) - len(kept)] for turn in group]
    how = f"left out the oldest {len(gone)} of {len(gone) + len(left)} messages"
    return left, Shortened(variable="history", dropped=sum(size(turn, count) for turn in gone), how=how)


def size(turn: Turn, count: Callable[[str], int]) -> int:
    """The tokens of a turn, with its frame."""
    return count(turn.text) + PER_MESSAGE


def _groups(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """The turns that must not be parted: a call of tools with all its results, any other turn by itself."""
    place = 0
    while place < len(turns):
        turn, place = turns[place], place + 1
        if turn.answers:
            continue
        group, missing = [turn], set(turn.calls)
        while missing and place < len(turns) and turns[place].answers in missing:
            missing.discard(turns[place].answers)
            group.append(turns[place])
            place += 1
        if not missing:
            yield group
