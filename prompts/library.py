"""Prompt files in folders, by name and version: those of cogwork first, then a user's own, which replace files of the same
name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prompts.partials import link
from prompts.reading import MAX_BYTES, ReadPrompt, read_prompt
from prompts.template import PromptError, PromptTemplate
from state.problems import Problem

SHIPPED: Final = Path(__file__).parent / "modes"
"""The prompts that come with cogwork, one folder per mode."""
_PIECES: Final = re.compile(r"\d+|[^\d.]+")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The versions of one name, the latest first.

    A later folder's come before those of an earlier one, whatever they are numbered: who writes a prompt of our name means
    theirs. Those of an earlier folder can still be asked for by their version.
    """

    versions: tuple[ReadPrompt, ...] = ()

    def latest(self) -> ReadPrompt | None:
        """The version that a bare name means."""
        return self.versions[0] if self.versions else None

    def find(self, version: str) -> ReadPrompt | None:
        """That version."""
        return next((each for each in self.versions if each.template.version == version), None)

    def over(self, others: Iterable[ReadPrompt]) -> Shelf:
        """The shelf with the versions of a later folder."""
        newest = sorted(others, key=lambda each: version_order(each.template.version), reverse=True)
        return Shelf((*newest, *(each for each in self.versions if each.template.version not in _versions(newest))))


@dataclass(slots=True)
class Shelves:
    """What was read of several folders, and everything that is wrong with it."""

    by_name: dict[str, Shelf] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def find(self, name: str, mode: str | None = None) -> ReadPrompt | None:
        """The file of that name, or name@version: of the mode first."""
        bare, _, version = name.partition("@")
        for wanted in (f"{mode}/{bare}", bare) if mode else (bare,):
            shelf = self.by_name.get(wanted, Shelf())
            found = shelf.find(version) if version else shelf.latest()
            if found is not None:
                return found
        return None

    def beside(self, name: str, user: ReadPrompt) -> ReadPrompt | None:
        """What ``{{> name}}`` in ``user`` means: a file of the same folder first."""
        return self.find(name, user.template.name.rpartition("/")[0] or None)


class PromptLibrary:
    """The prompts of several folders; a later folder's file replaces an earlier one of the same name.

    A file's name is its path within the folder without ``.md``, and without a leading ``modes/``: ``planning/plan``; a file
    ``plan@2.md`` is version 2 of ``plan``. Every file is read at once, so that a broken one is found before anything runs.

    Raises:
        PromptError: every fault of every file.
    """

    def __init__(self, folders: Sequence[Path] = (SHIPPED,)) -> None:
        self._prompts, problems = read_folders(folders)
        if problems:
            raise PromptError(tuple(problems))

    def find(self, name: str, *, mode: str | None = None) -> PromptTemplate | None:
        """The prompt of that name: the mode's own first, then the shared one; None when there is none.

        ``name@version`` asks for that version, a bare name for the latest.
        """
        bare, _, version = name.partition("@")
        for wanted in (f"{mode}/{bare}", bare) if mode else (bare,):
            versions = self._prompts.get(wanted, {})
            found = versions.get(version) if version else next(iter(versions.values()), None)
            if found is not None:
                return None if found.partial else found
        return None

    def names(self) -> Iterable[str]:
        """All names, sorted; partials are not among them."""
        return sorted(name for name, versions in self._prompts.items() if not next(iter(versions.values())).partial)

    def partials(self) -> Iterable[str]:
        """The names of the partials, sorted."""
        return sorted(set(self._prompts) - set(self.names()))

    def versions(self, name: str) -> Mapping[str, PromptTemplate]:
        """Every version of a prompt or partial, the one that its bare name means first; empty where there is none."""
        return self._prompts.get(name, {})


def read_folders(folders: Sequence[Path]) -> tuple[dict[str, dict[str, PromptTemplate]], list[Problem]]:
    """The usable prompts of the folders by name and version, and every fault of every file."""
    shelves = Shelves()
    for folder in folders:
        _read_folder(folder, shelves)
    found: dict[str, dict[str, PromptTemplate]] = {}
    for name, shelf in shelves.by_name.items():
        for each in shelf.versions:
            linked, problems = link(each, shelves.beside, tuple(shelves.by_name))
            shelves.problems.extend(problems)
            if not problems:
                found.setdefault(name, {})[each.template.version] = linked
    return found, sorted(shelves.problems, key=Problem.sort_key)


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """What versions are sorted by: numbers as numbers, so that 1.10 comes after 1.9."""
    pieces = _PIECES.findall(version)
    return tuple((1, int(piece), "") if piece.isascii() and piece.isdigit() else (0, 0, piece) for piece in pieces)


def _versions(prompts: Iterable[ReadPrompt]) -> set[str]:
    return {each.template.version for each in prompts}


def _read_folder(folder: Path, shelves: Shelves) -> None:
    """Put the files of a folder upon the shelves."""
    read: dict[str, dict[str, ReadPrompt]] = {}
    for path in _files(folder, shelves.problems):
        try:
            prompt = _read(path, folder)
        except PromptError as error:
            shelves.problems.extend(error.problems)
            continue
        versions = read.setdefault(prompt.template.name, {})
        if (other := versions.get(prompt.template.version)) is not None:
            message = f"version {prompt.template.version!r} of {prompt.template.name!r} is also in {other.file}"
            shelves.problems.append(prompt.problem(message, 1))
        versions[prompt.template.version] = prompt
    for name, versions in read.items():
        shelves.by_name[name] = shelves.by_name.get(name, Shelf()).over(versions.values())


def _files(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """The prompt files that truly lie in the folder; a link that leads out of it does not count."""
    if not folder.is_dir():
        problems.append(Problem(code="prompt", message="there is no such folder of prompts", file=str(folder)))
        return
    root = folder.resolve()
    for path in sorted(folder.rglob("*.md")):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.name != "README.md" and not hidden and path.is_file() and path.resolve().is_relative_to(root):
            yield path


def _read(path: Path, folder: Path) -> ReadPrompt:
    told = path.relative_to(folder).with_suffix("").as_posix()
    name, _, version = told.removeprefix("modes/").partition("@")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8") if len(raw) <= MAX_BYTES else " " * len(raw)
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(code="prompt", message=f"the file cannot be read: {error}", file=str(path))
        raise PromptError((problem,)) from error
    return read_prompt(text, name=name, file=str(path), version=version)
