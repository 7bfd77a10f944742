"""Making a backup of what the settings name, while it is used."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogwork.backup import postgres
from cogwork.backup.archive import described, written
from cogwork.backup.errors import BackupError, Occupied
from cogwork.backup.manifest import DUMP, FILES, Manifest, fits
from cogwork.backup.snapshot import copied
from cogwork.records.schema import TABLE
from cogwork.sealing.standing import KEY
from cogwork.sealing.standing import TABLE as SEALING

if TYPE_CHECKING:
    from cogwork.settings import Settings

FIRST: Final = ("queue.sqlite", "records.sqlite", "checkpoints.sqlite", "memory.sqlite")
"""The files that are held first when the instant is fixed, as most is written to them."""
LEFT_OUT: Final = ("-wal", "-shm", "-journal", ".lock", ".tmp", ".sock")
"""How the names of files end that belong to running processes."""
Holdings = tuple[str | None, tuple[str, ...]]
"""The revision of the records, and the ids of the keys that are needed."""


def save(settings: Settings, target: Path) -> Manifest:
    """Put all that is kept into an archive, as of one instant; no key is needed for it, and none goes into it.

    Raises:
        Occupied: there is a file of that name.
        BackupError: there is nothing to keep, or something of it cannot be read.
        OSError: the archive cannot be written.
    """
    if target.exists():
        raise Occupied(f"There is a file {target} already: name another one, or move it away")
    with tempfile.TemporaryDirectory(prefix=".cogwork-backup-", dir=target.absolute().parent) as folder:
        sources, holdings = _gathered(settings, Path(folder))
        if not sources:
            raise BackupError(f"There is nothing in {settings.state_dir} to make a backup of")
        revision, keys = holdings
        manifest = Manifest(
            cogwork=own_version(),
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            database="sqlite" if settings.database_url is None else "postgresql",
            revision=revision,
            keys=keys,
            schemas=postgres.schemas_of(settings.database_url) if settings.database_url is not None else (),
            members={name: described(path) for name, path in sorted(sources.items())},
        )
        written(target, manifest, sources)
    return manifest


def own_version() -> str:
    """The version of this cogwork."""
    try:
        return version("cogwork")
    except PackageNotFoundError:
        return "unknown"


def _gathered(settings: Settings, folder: Path) -> tuple[dict[str, Path], Holdings]:
    """Copies of all that is to be kept, by member; and what they say of themselves."""
    databases, others = _files(settings.state_dir)
    copies = copied(databases, folder) if databases else {}
    sources = {_member(settings.state_dir, file): copy for file, copy in copies.items()}
    for file in others:
        name = _member(settings.state_dir, file)
        sources[name] = folder / f"{len(sources)}.file"
        shutil.copyfile(file, sources[name], follow_symlinks=False)
    holdings = _holdings([*copies.values()])
    if (url := settings.database_url) is not None:
        postgres.dump(url, postgres.schemas_of(url), folder / DUMP)
        sources[DUMP] = folder / DUMP
        revision, keys = postgres.told(url)
        holdings = revision, tuple(sorted({*keys, *holdings[1]}))
    return sources, holdings


def _files(state: Path) -> tuple[list[Path], list[Path]]:
    """The SQLite files of the state folder, those first that are written to most; and the other files."""
    every = [path for path in sorted(state.rglob("*")) if path.is_file() and not path.is_symlink()]
    kept = [path for path in every if not _passing(path.relative_to(state))]
    databases = [path for path in kept if path.suffix == ".sqlite"]
    databases.sort(key=lambda path: (FIRST.index(path.name) if path.name in FIRST else len(FIRST), path))
    return databases, [path for path in kept if path.suffix != ".sqlite"]


def _passing(path: Path) -> bool:
    """Whether it belongs to a process that runs, or is being written."""
    hidden = any(part.startswith(".") or part.endswith(".owners") for part in path.parts)
    return hidden or path.name.endswith(LEFT_OUT)


def _member(state: Path, file: Path) -> str:
    name = f"{FILES}{file.relative_to(state).as_posix()}"
    if not fits(name):
        raise BackupError(f"{file} is none of cogwork's files, and cannot go into a backup: move it out of {state}")
    return name


def _holdings(copies: list[Path]) -> Holdings:
    revision: str | None = None
    keys: set[str] = set()
    for copy in copies:
        with closing(sqlite3.connect(copy)) as file:
            tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if TABLE in tables:
                revision = file.execute(f"SELECT version_num FROM {TABLE}").fetchone()[0]
                facts = file.execute("SELECT name FROM cogwork_facts WHERE name LIKE ?", (f"sealing:{KEY}%",))
                keys |= {name.rpartition(":")[2] for (name,) in facts}
            if SEALING in tables:
                rows = file.execute(f"SELECT name FROM {SEALING} WHERE name LIKE ?", (f"{KEY}%",))
                keys |= {name.removeprefix(KEY) for (name,) in rows}
    return revision, tuple(sorted(keys))
