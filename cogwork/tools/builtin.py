"""The tools that come with cogwork, bound to the folders that the settings allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cogwork.tools.git import git_tools
from cogwork.tools.logs import log_tools
from cogwork.tools.plans import plan_tools
from cogwork.tools.python import python_tools
from cogwork.tools.roots import Roots
from cogwork.tools.sandbox import Sandbox
from cogwork.tools.search import search_tools
from cogwork.tools.text import text_tools
from cogwork.tools.traces import trace_tools
from state.services import Tool


def builtin_tools(*, roots: Sequence[Path], write_roots: Sequence[Path], allow_python: bool) -> list[Tool]:
    """Every built-in tool: reading under ``roots``, writing under ``write_roots``, running Python where allowed."""
    readable, writable = Roots(roots), Roots(write_roots)
    return [
        *text_tools(readable, writable),
        *search_tools(readable),
        *log_tools(readable),
        *trace_tools(),
        *git_tools(readable),
        *python_tools(Sandbox() if allow_python else None),
        *plan_tools(),
    ]
