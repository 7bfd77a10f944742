"""What isolated executions see of the file system: programs and libraries to read, a folder of their own, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cogwork.isolation import kernel

_FOLDER: Final = "/tmp"
_OTHER_FOLDER: Final = "/own"
_PROGRAMS: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
)
_FOR_THE_NETWORK: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/pki")
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PRIVATE: Final = (".git", ".env", ".cogwork", ".ssh", ".netrc", ".aws")
"""What is hidden where it stands at the top of a folder that code is imported from."""
_INODES_PER_MB: Final = 64


def folder() -> str:
    """Where an execution finds its own folder: ``/tmp``, or ``/own`` where that would cover code that lies in ``/tmp``."""
    return _OTHER_FOLDER if any(path.startswith(f"{_FOLDER}/") for path in _read()) else _FOLDER


def enter(at: str, hidden: Iterable[str]) -> None:
    """Build the view at the folder ``at``, and make it the root of this process, for good.

    Raises:
        OSError: a mount was refused.
    """
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("tmpfs", at, "tmpfs", kernel.NO_SUID | kernel.NO_DEV, "mode=0755,size=4m")
    for name in ("proc", "dev", _FOLDER[1:], _OTHER_FOLDER[1:]):
        Path(at, name).mkdir()
    for source in _covering(_read()):
        _bound(at, source)
    for source in filter(os.path.exists, _DEVICES):
        _placed(at, source)
    kernel.mount("/proc", f"{at}/proc", flags=kernel.BIND | kernel.RECURSIVE)
    for path in _concealed(hidden):
        _hide(f"{at}{path}")
    with suppress(OSError):
        kernel.mount("", at, flags=kernel.REMOUNT | kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_DEV)
    kernel.pivot(at)


def own_folder(size_mb: int, user: int) -> None:
    """Mount the execution's own folder, empty, of that size and for that user.

    Raises:
        OSError: the mount was refused.
    """
    inodes = max(1024, size_mb * _INODES_PER_MB)
    options = f"mode=0700,size={size_mb}m,nr_inodes={inodes},uid={user},gid={user}"
    kernel.mount("tmpfs", folder(), "tmpfs", kernel.NO_SUID | kernel.NO_DEV, options)


def own_processes() -> None:
    """Show the processes of the namespace that was entered, and no others; where that is refused, show none.

    Raises:
        OSError: not even that could be mounted.
    """
    flags = kernel.NO_SUID | kernel.NO_DEV
    try:
        kernel.mount("proc", "/proc", "proc", flags)
    except OSError:
        kernel.mount("tmpfs", "/proc", "tmpfs", flags | kernel.READ_ONLY, "size=4k")


def _read() -> Iterator[str]:
    """What code has to be able to read, as far as it is there."""
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    executable = str(Path(sys.executable).resolve().parent)
    for path in (*_PROGRAMS, *_FOR_THE_NETWORK, *prefixes, executable, *sys.path):
        if path.startswith("/") and path != "/" and os.path.exists(path):
            yield os.path.normpath(path)


def _covering(paths: Iterable[str]) -> Iterator[str]:
    """The paths without those that lie within others, and without what the view has of its own."""
    taken: list[str] = []
    for path in sorted(set(paths)):
        inside = any(path.startswith(f"{other}/") for other in taken)
        if not inside and path not in (_FOLDER, "/proc", "/dev"):
            taken.append(path)
            yield path


def _bound(at: str, source: str) -> None:
    if os.path.islink(source):
        target = Path(f"{at}{source}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.readlink(source))
        if not os.path.exists(real := os.path.realpath(source)) or os.path.exists(f"{at}{real}"):
            return
        source = real
    kernel.read_only(_placed(at, source))


def _placed(at: str, source: str) -> str:
    """Where ``source`` is found in the view, once it is mounted there."""
    target = Path(f"{at}{source}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.isdir(source):
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    kernel.mount(source, str(target), flags=kernel.BIND | kernel.RECURSIVE)
    return str(target)


def _concealed(hidden: Iterable[str]) -> Iterator[str]:
    yield from (os.path.realpath(path) for path in hidden)
    for folder in sys.path:
        if folder.startswith("/") and os.path.isdir(folder):
            yield from (f"{folder}/{name}" for name in _PRIVATE)


def _hide(path: str) -> None:
    if os.path.isdir(path):
        kernel.mount("tmpfs", path, "tmpfs", kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_DEV, "mode=0700,size=4k")
    elif os.path.exists(path):
        kernel.mount("/dev/null", path, flags=kernel.BIND)
