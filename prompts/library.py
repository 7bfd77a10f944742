"""Prompt files in folders, by name: those of cogwork first, then a user's own, which replace files of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from prompts.reading import MAX_BYTES, parse_prompt
from prompts.template import PromptError, PromptTemplate
from state.problems import Problem

SHIPPED: Final = Path(__file__).parent / "modes"
"""The prompts that come with cogwork, one folder per mode."""


class PromptLibrary:
    """The prompts of several folders; a later folder's file replaces an earlier one of the same name.

    A file's name is its path within the folder without ``.md``, and without a leading ``modes/``: ``planning/plan``.
    Every file is read at once, so that a broken one is found before anything runs.

    Raises:
        PromptError: every fault of every file.
    """

    def __init__(self, folders: Sequence[Path] = (SHIPPED,)) -> None:
        self._prompts: dict[str, PromptTemplate] = {}
        problems: list[Problem] = []
        for folder in folders:
            for path in _files(folder):
                try:
                    prompt = _read(path, folder)
                except PromptError as error:
                    problems.extend(error.problems)
                else:
                    self._prompts[prompt.name] = prompt
        if problems:
            raise PromptError(tuple(problems))

    def find(self, name: str, *, mode: str | None = None) -> PromptTemplate | None:
        """The prompt of that name: the mode's own first, then the shared one; None when there is none."""
        own = self._prompts.get(f"{mode}/{name}") if mode else None
        return own or self._prompts.get(name)

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return sorted(self._prompts)


def _files(folder: Path) -> Iterator[Path]:
    """The prompt files that truly lie in the folder; a link that leads out of it does not count."""
    if not folder.is_dir():
        problem = Problem(code="prompt", message="there is no such folder of prompts", file=str(folder))
        raise PromptError((problem,))
    root = folder.resolve()
    for path in sorted(folder.rglob("*.md")):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.name != "README.md" and not hidden and path.is_file() and path.resolve().is_relative_to(root):
            yield path


def _read(path: Path, folder: Path) -> PromptTemplate:
    name = path.relative_to(folder).with_suffix("").as_posix().removeprefix("modes/")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8") if len(raw) <= MAX_BYTES else " " * len(raw)
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(code="prompt", message=f"the file cannot be read: {error}", file=str(path))
        raise PromptError((problem,)) from error
    return parse_prompt(text, name=name, file=str(path))
