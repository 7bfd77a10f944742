"""Putting a backup back: into a folder beside, which takes its place once all of it is there and in order."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import SecretStr

from cogwork.backup import postgres
from cogwork.backup.archive import checked, manifest_of, synced
from cogwork.backup.errors import BackupError, Occupied, Unsound
from cogwork.backup.manifest import DUMP, FILES, Manifest
from cogwork.backup.snapshot import sound
from cogwork.records.schema import HEAD

SPARE: Final = 64 * 1024 * 1024
"""Bytes that are to be free beyond what the backup takes."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, where it is, and where what was there before has gone."""

    manifest: Manifest
    into: Path
    before: Path | None = None


def restore(archive: Path, into: Path, url: SecretStr | None = None, *, force: bool = False) -> Restored:
    """Put a backup back into a state folder, and into the database at ``url`` where it is one of PostgreSQL.

    Everything is checked before anything is changed. With ``force`` what is there makes place: a folder is moved aside, tables
    are replaced.

    Raises:
        Occupied: something is there, or somebody works there.
        Unsound: the archive is not in order.
        BackupError: it is from a newer cogwork, or does not fit where it should go.
        OSError: it cannot be written.
    """
    manifest = manifest_of(archive)
    _fits(manifest, url)
    into = into.absolute()
    _free(into, force)
    if manifest.database == "postgresql" and url is not None:
        _unoccupied(url, manifest, force)
    into.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _room(manifest, into.parent)
    with tempfile.TemporaryDirectory(prefix=f".{into.name}.restoring-", dir=into.parent) as folder:
        staged = Path(folder) / "state"
        staged.mkdir(mode=0o700)
        if _unpacked(archive, staged, Path(folder) / DUMP) != manifest:
            raise Unsound("The archive was exchanged while it was read")
        if manifest.database == "postgresql" and url is not None:
            postgres.restore(url, manifest.schemas, Path(folder) / DUMP, force=force)
        before = _aside(into)
        os.rename(staged, into)
    synced(into.parent)
    return Restored(manifest, into, before)


def _fits(manifest: Manifest, url: SecretStr | None) -> None:
    revision = manifest.revision
    if revision is not None and not (revision.isdigit() and revision <= HEAD):
        raise BackupError(
            f"The backup has revision {revision} of the schema, and this cogwork knows {HEAD}: restore it with cogwork "
            f"{manifest.cogwork} or a newer one"
        )
    if manifest.database == "postgresql" and url is None:
        raise BackupError("The backup is one of PostgreSQL: name the database in the setting database_url")
    if manifest.database == "sqlite" and url is not None:
        raise BackupError("The backup is one of SQLite files, and the setting database_url names PostgreSQL: unset it")
    if manifest.database == "postgresql" and (DUMP not in manifest.members or not manifest.schemas):
        raise Unsound(f"The archive lacks {DUMP}")


def _unoccupied(url: SecretStr, manifest: Manifest, force: bool) -> None:
    own = postgres.schemas_of(url)
    if own != manifest.schemas:
        raise BackupError(
            f"The backup is of the schema {manifest.schemas[0]}, and database_url means {own[0]}: let it mean that one, with "
            f"?options=-csearch_path%3D{manifest.schemas[0]}"
        )
    if (held := postgres.tables_in(url, manifest.schemas)) and not force:
        raise Occupied(
            f"The schema {held[0][0]} holds tables already, such as {held[0][1]}: say --force to replace them"
        )


def _free(into: Path, force: bool) -> None:
    """See whether the folder may be written."""
    if into.is_symlink() or (into.exists() and not into.is_dir()):
        raise Occupied(f"{into} is no folder: name another one")
    if not into.exists() or not any(into.iterdir()):
        return
    if not force:
        raise Occupied(f"{into} is there already, and holds something: name another folder with --into, or say --force")
    for lock in into.glob("*.owners/*.lock"):
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                raise Occupied(f"Somebody is at work in {into}: stop the workers first") from err


def _room(manifest: Manifest, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if manifest.size + SPARE > free:
        raise BackupError(f"The backup takes {manifest.size:,} bytes, and {folder} has {free:,} free")


def _unpacked(archive: Path, staged: Path, dump: Path) -> Manifest:
    """The members as files, each on disk and in order; what the archive says of itself."""
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}

        def take(name: str, data: bytes) -> None:
            if name not in files:
                path = dump if name == DUMP else staged / name.removeprefix(FILES)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                for finished in files.values():
                    finished.close()
                files[name] = stack.enter_context(open(handle, "wb"))
            files[name].write(data)

        manifest = checked(archive, take)
    for path in staged.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
            if path.suffix == ".sqlite":
                sound(path, path.name)
    return manifest


def _aside(into: Path) -> Path | None:
    """Move a folder that holds something out of the way; where to."""
    if not into.exists() or not any(into.iterdir()):
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    before = into.with_name(f"{into.name}.before-{stamp}-{os.getpid()}")
    os.rename(into, before)
    return before
