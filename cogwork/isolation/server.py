"""The fork server: one process that has loaded everything once, and forks an isolated execution for each order of its worker."""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from cogwork.isolation import kernel, view
from cogwork.isolation.confined import NOBODY, USERS, Footing, enter_users
from cogwork.isolation.keeper import keep

HANDLES: Final = 5
MOST_BYTES: Final = 65_536


def main(handle: int) -> None:
    """Serve the worker at the other end of the socket ``handle`` until it is gone."""
    worker = socket.socket(fileno=handle)
    told: dict[str, Any] = json.loads(worker.recv(MOST_BYTES))
    for name in told["preload"]:
        importlib.import_module(name)
    footing, reasons = _standing(told)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    worker.send(json.dumps({"ready": os.getpid(), "reasons": reasons}).encode())
    while True:
        message, handles, *_ = socket.recv_fds(worker, MOST_BYTES, HANDLES)
        if not message:
            return
        _forked(worker, json.loads(message), handles, footing)


def _forked(worker: socket.socket, order: Mapping[str, Any], handles: list[int], footing: Footing) -> None:
    if len(handles) == HANDLES and os.fork() == 0:
        try:
            worker.close()
            gc.disable()
            keep(order, handles, footing)
        finally:
            os._exit(70)
    for each in handles:
        os.close(each)


def _standing(told: Mapping[str, Any]) -> tuple[Footing, list[str]]:
    """The strongest footing that works here, and why it is not stronger. What ``without`` names is not tried."""
    without, reasons = told["without"], list[str]()
    users = _users(without)
    namespaces = _namespaces(without, reasons)
    seen = False
    if namespaces is not None and "view" not in without:
        try:
            view.enter(told["folder"], told["hidden"])
            seen = True
        except OSError as err:
            reasons.append(f"view: {err.strerror or err}")
    if users is not None and (namespaces == "user" or not (seen or _readable_by(users, sys.path))):
        reasons.append("user: another one could not read the code" if namespaces != "user" else "user: not allowed")
        users = None
    return Footing(namespaces=namespaces, view=seen, users=users), reasons


def _namespaces(without: Collection[str], reasons: list[str]) -> str | None:
    """By whose rights namespaces are made, once this process has mounts of its own."""
    if "namespaces" in without:
        return None
    if os.geteuid() == 0 and "root" not in without:
        try:
            kernel.unshare(kernel.NEWNS)
            return "root"
        except OSError as err:
            reasons.append(f"namespaces of the superuser: {err.strerror}")
    try:
        enter_users(kernel.NEWNS)
        return "user"
    except OSError as err:
        reasons.append(f"namespaces of users: {err.strerror}")
        return None


def _users(without: Collection[str]) -> int | None:
    """The first of the users that forks may become."""
    if os.geteuid() != 0 or "user" in without:
        return None
    return next((user for user in (USERS, NOBODY) if _tried(lambda user=user: os.setresuid(user, user, user))), None)


def _readable_by(user: int, paths: Iterable[str]) -> bool:
    """Whether that user can read what is imported."""
    there = [path for path in paths if os.path.isdir(path)]

    def look() -> None:
        os.setresuid(user, user, user)
        for path in there:
            os.listdir(path)

    return _tried(look)


def _tried(do: Any) -> bool:
    """Whether a fork of this process can do it."""
    child = os.fork()
    if child == 0:
        try:
            do()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0
