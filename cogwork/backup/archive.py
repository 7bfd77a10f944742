"""The archive: a compressed tar file of plain files and nothing else, written whole or not at all, and read without trust."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cogwork.backup.errors import Missing, Occupied, Unsound
from cogwork.backup.manifest import MAX_BYTES, NAME, Manifest, Member, read

BLOCK: Final = 512
CHUNK: Final = 1 << 20
PADDING: Final = 1 << 16
"""Zeros that other programs may put behind the end."""
LEVEL: Final = 3
"""How hard it is compressed; what is sealed does not become smaller anyway."""
Take = Callable[[str, bytes], None]
"""Is given a member's name and its next bytes."""


def described(path: Path) -> Member:
    """The size and digest of a file."""
    with path.open("rb") as file:
        return Member(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def written(target: Path, manifest: Manifest, sources: dict[str, Path]) -> None:
    """Write the archive; under its name there is the whole of it, or what was there before.

    Raises:
        Occupied: there is something of that name.
        OSError: it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=LEVEL) as packed:
                _put(packed, NAME, manifest.written())
                for name in manifest.members:
                    _put_file(packed, name, sources[name])
                packed.write(bytes(2 * BLOCK))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)
    except FileExistsError as err:
        raise Occupied(f"There is a file {target} already: name another one, or move it away") from err
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    synced(target.parent)


def synced(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(packed: Any, name: str, data: bytes) -> None:
    packed.write(_header(name, len(data)) + data + bytes(-len(data) % BLOCK))


def _put_file(packed: Any, name: str, path: Path) -> None:
    size = path.stat().st_size
    packed.write(_header(name, size))
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            packed.write(chunk)
    packed.write(bytes(-size % BLOCK))


def _header(name: str, size: int) -> bytes:
    told = tarfile.TarInfo(name)
    told.size, told.mode, told.mtime = size, 0o600, int(time.time())
    return told.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


# -- reading ---------------------------------------------------------------------------------------------------------------


def manifest_of(path: Path) -> Manifest:
    """What an archive says of itself; the rest of it is not read.

    Raises:
        Missing: there is no such file.
        Unsound: it is no backup.
    """
    with _unpacked(path) as packed:
        return _manifest(packed)


def checked(path: Path, take: Take = lambda name, data: None) -> Manifest:
    """Read all of an archive, hold it to its manifest, and hand on what its members hold, in order.

    What is handed on is not proven to be right before this returns.

    Raises:
        Missing: there is no such file.
        Unsound: something in it is not as the manifest says, or is no plain file.
    """
    with _unpacked(path) as packed:
        manifest = _manifest(packed)
        seen: set[str] = set()
        while (header := _next(packed)) is not None:
            name, size = header
            member = manifest.members.get(name)
            if member is None or name in seen or member.size != size:
                raise Unsound(f"The archive holds a member {name[:100]!r} that its manifest does not describe so")
            seen.add(name)
            _member(packed, name, member, take)
        if missing := sorted(manifest.members.keys() - seen):
            raise Unsound(f"The archive lacks {missing[0]}")
        _nothing_more(packed)
    return manifest


def _member(packed: Any, name: str, member: Member, take: Take) -> None:
    digest, left = hashlib.sha256(), member.size
    take(name, b"")
    while left:
        data = _exactly(packed, min(left, CHUNK))
        digest.update(data)
        take(name, data)
        left -= len(data)
    _exactly(packed, -member.size % BLOCK)
    if digest.hexdigest() != member.sha256:
        raise Unsound(f"{name} in the archive was altered: its digest is not that of the manifest")


def _manifest(packed: Any) -> Manifest:
    header = _next(packed)
    if header is None or header[0] != NAME or header[1] > MAX_BYTES:
        raise Unsound("The archive does not begin with a manifest: it is no backup of cogwork")
    data = _exactly(packed, header[1])
    _exactly(packed, -header[1] % BLOCK)
    return read(data)


def _next(packed: Any) -> tuple[str, int] | None:
    """The name and size of the next member; None at the end.

    Headers are read one by one: the tar module would read headers of any size into memory, follow links and make devices.
    """
    raw = _exactly(packed, BLOCK)
    if not raw.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(raw, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as err:
        raise Unsound("The archive is damaged: it has no header where one should be") from err
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.linkname or header.size < 0:
        raise Unsound(
            f"The archive holds {header.name[:100]!r}, which is no plain file: no backup has links or devices"
        )
    return header.name, header.size


def _nothing_more(packed: Any) -> None:
    """The end, up to which a few zeros may stand; reading it has the checksum of the compression looked at."""
    if packed.read(PADDING).strip(b"\0") or packed.read(1):
        raise Unsound("The archive holds something behind its end")


def _exactly(packed: Any, size: int) -> bytes:
    data = packed.read(size) if size else b""
    if len(data) != size:
        raise Unsound("The archive breaks off")
    return data


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    try:
        with gzip.open(path, "rb") as packed:
            yield packed
    except FileNotFoundError as err:
        raise Missing(f"There is no file {path}") from err
    except EOFError as err:
        raise Unsound("The archive breaks off") from err
    except (gzip.BadGzipFile, zlib.error) as err:
        raise Unsound(f"{path} is no compressed archive, or is damaged") from err
