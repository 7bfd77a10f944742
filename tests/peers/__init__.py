"""Servers of other people that the tests talk to: node packages of ``package.json``, installed by ``npm ci --prefix tests/peers``.

Without node or without that install, the tests that need one are skipped and say so; in CI they have to run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BIN = HERE / "node_modules" / ".bin"


def missing(program: str) -> str | None:
    """Why that program of the node packages cannot be started here; None where it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (BIN / program).exists():
        return f"{program} is not installed: npm ci --prefix tests/peers"
    return None


def needs(program: str) -> pytest.MarkDecorator:
    """The mark that skips a test where the program is missing; in CI it fails there instead."""
    reason = missing(program)
    return pytest.mark.skipif(reason is not None and not os.environ.get("CI"), reason=reason or "")


def node22() -> str | None:
    """Node 22, which the packages bring along; None where they do not for this machine."""
    found = sorted(HERE.glob("node_modules/node-linux-*/bin/node"))
    return str(found[0]) if found else None


def needs_node22(package: str) -> pytest.MarkDecorator:
    """The mark that skips a test where that package or Node 22 is missing; in CI it fails there instead."""
    reason = (
        None if node22() and (HERE / "node_modules" / package).is_dir() else f"{package}: npm ci --prefix tests/peers"
    )
    return pytest.mark.skipif(reason is not None and not os.environ.get("CI"), reason=reason or "")
