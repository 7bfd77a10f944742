"""Which folders a tool may touch: a path from outside leads under one of them, symlinks followed, or it is refused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from state.errors import Fault

SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Folders that hold what others made; hidden folders are skipped too."""


class Roots:
    """Folders under which paths are allowed; a relative path is looked for in each, in order."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))

    def inside(self, path: str) -> Path:
        """The resolved path; a relative one under the first root that has it, else under the first.

        Raises:
            Fault: ``permission_denied`` when it leads elsewhere, ``invalid_input`` when it is no path.
        """
        if "\0" in path or len(path) > 4096:
            raise Fault("invalid_input", "A path holds a NUL character or is too long.", origin="tool")
        candidates = [found for folder in self.folders if (found := self._resolved(folder / path)) is not None]
        if not candidates:
            raise Fault("permission_denied", f"{path!r} is not {self._said()}", origin="tool")
        return next((found for found in candidates if found.exists()), candidates[0])

    def file(self, path: str) -> Path:
        """The regular file at ``path``.

        Raises:
            Fault: as ``inside``; ``invalid_input`` when there is no such file.
        """
        found = self.inside(path)
        if not found.is_file():
            what = "is a folder, not a file" if found.is_dir() else "does not exist"
            raise Fault("invalid_input", f"{path!r} {what} (looked {self._said()})", origin="tool")
        return found

    def folder(self, path: str) -> Path:
        """The folder at ``path``.

        Raises:
            Fault: as ``inside``; ``invalid_input`` when there is no such folder.
        """
        found = self.inside(path)
        if not found.is_dir():
            what = "is a file, not a folder" if found.exists() else "does not exist"
            raise Fault("invalid_input", f"{path!r} {what} (looked {self._said()})", origin="tool")
        return found

    def shown(self, path: Path) -> str:
        """The path as ``inside`` takes it: relative to its root, unless another root would come first."""
        for folder in self.folders:
            if path.is_relative_to(folder):
                relative = path.relative_to(folder).as_posix()
                return relative if self.inside(relative) == path else str(path)
        return path.name

    def files(self, folder: Path, glob: str = "**") -> Iterator[Path]:
        """The regular files below ``folder`` whose relative path fits, in a stable order, without hidden and made folders."""
        for top, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith(".") and name not in SKIPPED)
            for name in sorted(names):
                found = Path(top, name)
                relative = found.relative_to(folder).as_posix()
                if fits(relative, glob) and self._resolved(found) is not None and found.is_file():
                    yield found

    def _resolved(self, path: Path) -> Path | None:
        try:
            found = path.resolve()
        except (OSError, RuntimeError):
            return None
        return found if any(found.is_relative_to(folder) for folder in self.folders) else None

    def _said(self) -> str:
        """The roots in words, without the machine's folders above them."""
        here = Path.cwd()
        names = [
            folder.relative_to(here).as_posix() if folder.is_relative_to(here) else folder.name
            for folder in self.folders
        ]
        return f"under the allowed folders: {', '.join(names)}" if names else "allowed: no folder is"


def fits(path: str, glob: str) -> bool:
    """Whether a relative path fits a pattern: ``**`` stands for any folders; one without ``/`` is matched to the name."""
    parts = tuple(path.split("/"))
    return _fit(parts if "/" in glob or glob == "**" else parts[-1:], tuple(glob.split("/")))


@lru_cache(maxsize=16_384)
def _fit(parts: tuple[str, ...], globs: tuple[str, ...]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        rest = globs[1:]
        return not rest or any(_fit(parts[i:], rest) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _fit(parts[1:], globs[1:])
