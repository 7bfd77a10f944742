"""Names in the library: those made from titles, and ``name@which`` for one version of a workflow."""

from __future__ import annotations

import re
from typing import Final

from cogwork.errors import EngineError
from graphs.language.dialects.entry import as_name

LATEST: Final = "latest"
"""The label that names a workflow's version where nobody says which."""
MAX_NAME: Final = 128
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")
_LABEL: Final = re.compile(r"[A-Za-z_][\w.-]{0,63}")


def slug(title: str) -> str:
    """A legal name for a title; a name stays as it is."""
    return as_name(title)[:MAX_NAME].rstrip("_.-") or "workflow"


def is_name(text: str) -> bool:
    """Whether the text is a workflow's name as it stands."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def numbered(name: str, number: int) -> str:
    """The name with a number, for one that is taken."""
    ending = f"_{number}"
    return name if number < 2 else name[: MAX_NAME - len(ending)] + ending


def parted(name: str) -> tuple[str, int | str | None]:
    """``name@which`` as its two parts; without ``@`` nothing says which."""
    whole, mark, which = name.rpartition("@")
    return (whole, version_or_label(which)) if mark else (name, None)


def version_or_label(which: str | int) -> int | str:
    """A version's number, also as text, or a label.

    Raises:
        EngineError: ``invalid_input``; it can be neither.
    """
    if isinstance(which, int) and not isinstance(which, bool):
        return which
    text = str(which).strip()
    if re.fullmatch(r"v?\d{1,9}", text):
        return int(text.removeprefix("v"))
    return checked_label(text)


def checked_label(label: str) -> str:
    """The label.

    Raises:
        EngineError: ``invalid_input``; it is none, or could be taken for a version's number.
    """
    if not isinstance(label, str) or not _LABEL.fullmatch(label) or re.fullmatch(r"v\d+", label):
        message = (
            f"{str(label)[:80]!r} is no label: a letter, then letters, digits, _ . and -, at most 64 (prod, canary)"
        )
        raise EngineError("invalid_input", message, label=str(label)[:80])
    return label
