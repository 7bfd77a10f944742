"""The calls of the Linux kernel that containment needs and Python's library lacks."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

NEWNS: Final = 0x00020000
NEWUTS: Final = 0x04000000
NEWIPC: Final = 0x08000000
NEWUSER: Final = 0x10000000
NEWPID: Final = 0x20000000
NEWNET: Final = 0x40000000

READ_ONLY: Final = 1
NO_SUID: Final = 2
NO_DEV: Final = 4
REMOUNT: Final = 32
BIND: Final = 4096
RECURSIVE: Final = 16384
PRIVATE: Final = 1 << 18

_PDEATHSIG: Final = 1
_SECCOMP: Final = 22
_SECCOMP_FILTER: Final = ctypes.c_ulong(2)
_CAPBSET_DROP: Final = 24
_SUBREAPER: Final = 36
_NO_NEW_PRIVS: Final = 38
_DETACH: Final = 2
_LAST_CAPABILITY: Final = 63
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR: Final = 442
_AT_RECURSIVE: Final = 0x8000
_CAPSET_VERSION: Final = 0x20080522

_libc: Final = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` name for new ones; that of processes is entered by the next child.

    Raises:
        OSError: the kernel or its settings do not allow it.
    """
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """``mount(2)``.

    Raises:
        OSError: it was refused.
    """
    given = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    _checked(_libc.mount(*given))


def read_only(target: str) -> None:
    """Make the mount at ``target``, and all below it, read-only and without set-uid programs.

    Raises:
        OSError: it was refused, or the kernel is older than 5.12.
    """

    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]

    wanted = Attributes(READ_ONLY | NO_SUID, 0, 0, 0)
    where = ctypes.c_char_p(target.encode())
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _checked(_libc.syscall(_MOUNT_SETATTR, -100, where, _AT_RECURSIVE, ctypes.byref(wanted), size))


def pivot(root: str) -> None:
    """Make ``root``, a mount, the root of the file system, and let go of all that was there before.

    Raises:
        OSError: it was refused, or nobody has looked up the call's number for this machine.
    """
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root is not known for {platform.machine()}")
    os.chdir(root)
    _checked(_libc.syscall(number, b".", b"."))
    _checked(_libc.umount2(b".", _DETACH))
    os.chdir("/")


def die_with_parent(signal: int) -> None:
    """Get that signal when the parent dies."""
    _prctl(_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own one dies."""
    _prctl(_SUBREAPER, 1)


def no_new_privileges() -> None:
    """Let no program that is started from here give more rights than there are."""
    _prctl(_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability, also for programs that are started from here.

    Raises:
        OSError: it was refused.
    """
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPSET_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, nothing))


def filter_calls(program: int, steps: int) -> None:
    """Have every system call go through the filter of that many steps at that address.

    Raises:
        OSError: it was refused.
    """

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]

    _checked(_libc.prctl(_SECCOMP, _SECCOMP_FILTER, ctypes.byref(Program(steps, program)), 0, 0))


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
