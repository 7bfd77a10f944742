"""What a fork does to itself before anything runs in it that is not trusted."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cogwork.isolation import calls_denied, kernel, view
from cogwork.isolation.limits import ALWAYS, HOLDS, MB, Hold

USERS: Final = 2_000_000_000
"""The first of the users that executions run as, one each, where the superuser starts them."""
USERS_MANY: Final = 100_000
NOBODY: Final = 65_534
CPU_BEYOND: Final = 2
"""Seconds of processor time after which the kernel ends a process itself, should its keeper not have done so."""
_ARENA_MAX: Final = -8
_KEPT_VARIABLES: Final = ("PATH", "LANG", "TZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """How the fork server stands: what its forks can be given.

    ``namespaces``  None, or the rights by which they are made: those of the superuser, or of a namespace of users
    ``view``        whether the server's root is the view of ``view.enter``
    ``users``       the first of the users that forks may become; None where they stay who they are
    """

    namespaces: str | None = None
    view: bool = False
    users: int | None = None

    def user(self, number: int) -> int | None:
        """The user of that fork."""
        return self.users if self.users in (None, NOBODY) else self.users + number % USERS_MANY


@dataclass(slots=True)
class Confinement:
    """What holds of a fork so far, and why the rest does not."""

    held: set[Hold] = field(default_factory=lambda: set(ALWAYS))
    reasons: list[str] = field(default_factory=list)

    def attempt(self, what: str, do: Callable[[], Any], *gives: Hold) -> bool:
        """Whether it could be done; what it gives counts as held then."""
        try:
            do()
        except OSError as err:
            self.reasons.append(f"{what}: {err.strerror or err}")
            return False
        self.held.update(gives)
        return True

    def told(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {"held": [each for each in HOLDS if each in self.held], "reasons": self.reasons}


def apart(footing: Footing, found: Confinement) -> bool:
    """Have the next child of this process be in namespaces of users and processes of its own; whether it will be."""
    if footing.namespaces is None:
        found.reasons.append("namespaces: the kernel or its settings allow none")
        return False

    leave = enter_users if footing.namespaces == "user" else kernel.unshare
    return found.attempt("processes", lambda: leave(kernel.NEWPID), "orphans", "signals")


def enter_users(flags: int = 0) -> None:
    """Enter a namespace of users, and those that ``flags`` name, as the same user with all rights within.

    Raises:
        OSError: the kernel or its settings do not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEWUSER | flags)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def confine(order: Mapping[str, Any], footing: Footing, found: Confinement, *, alone: bool) -> None:
    """Confine this process as far as the machine allows; ``alone`` says that it is in a namespace of processes of its own.

    Raises:
        OSError: what holds everywhere could not be set up.
    """
    limits, user = order["limits"], footing.user(order["number"])
    os.setsid()
    found.attempt("parent", lambda: kernel.die_with_parent(signal.SIGKILL))
    if alone:
        _leave_all(limits, found)
    _in_own_folder(order, footing, found, user, alone=alone)
    _limit(limits, footing, found, alone=alone, user=user)
    _become(user, found)
    found.attempt("parent", lambda: kernel.die_with_parent(signal.SIGKILL))
    if not found.attempt("system calls", calls_denied.deny):
        found.held -= {"privileges", "memory"}
    if user is not None and not alone:
        found.held.update(("signals", "orphans"))
    _forget_environment(order["folder"] if "disk" not in found.held else view.folder())


def _leave_all(limits: Mapping[str, Any], found: Confinement) -> None:
    """Leave the namespaces of mounts, messages and names, and that of the network unless it is allowed."""
    found.attempt("mounts", lambda: kernel.unshare(kernel.NEWNS | kernel.NEWIPC | kernel.NEWUTS))
    if not limits["network"]:
        found.attempt("network", lambda: kernel.unshare(kernel.NEWNET), "network")


def _in_own_folder(
    order: Mapping[str, Any], footing: Footing, found: Confinement, user: int | None, *, alone: bool
) -> None:
    owner = os.geteuid() if user is None else user
    if alone and footing.view:
        if found.attempt("folder", lambda: view.own_folder(order["limits"]["disk_mb"], owner), "files", "disk"):
            found.attempt("processes shown", view.own_processes)
            os.chdir(view.folder())
            return
    folder = Path(order["folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None:
        os.chown(folder, user, user)
    os.chdir(folder)


def _limit(limits: Mapping[str, Any], footing: Footing, found: Confinement, *, alone: bool, user: int | None) -> None:
    """The kernel's limits. Memory is counted on top of what the fork has from its server."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)  # each arena of a thread takes 64 MiB of addresses
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _shown() else MB * 512
    wanted = {
        resource.RLIMIT_AS: has + limits["memory_mb"] * MB,
        resource.RLIMIT_CPU: limits["cpu_s"] + CPU_BEYOND,
        resource.RLIMIT_FSIZE: limits["file_mb"] * MB,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 64 * 1024,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    own_count = user not in (None, NOBODY) or (alone and footing.namespaces == "user")
    if own_count:
        wanted[resource.RLIMIT_NPROC] = limits["processes"]
        found.held.add("processes")
    for name, most in wanted.items():
        hard = resource.getrlimit(name)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most))


def _shown() -> bool:
    return os.path.exists("/proc/self/statm")


def _become(user: int | None, found: Confinement) -> None:
    """Become the user, without any right of the superuser."""
    if user is not None:

        def change() -> None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)

        found.attempt("user", change, "user")
    if found.attempt("privileges", kernel.no_new_privileges):
        found.attempt("privileges", kernel.drop_capabilities, "privileges")


def _forget_environment(folder: str) -> None:
    kept = {name: value for name in _KEPT_VARIABLES if (value := os.environ.get(name)) is not None}
    os.environ.clear()
    os.environ.update({**kept, "HOME": folder, "TMPDIR": folder})
