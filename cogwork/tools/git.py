"""The tool that reads a repository's history; git runs without its hooks, pagers, helpers or network."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool
from cogwork.tools.roots import Roots
from state.errors import Fault

TIMEOUT: Final = 30.0
# Commits hold no NUL and no field here is empty, so two of them together can only begin a commit.
_FORMAT: Final = "--format=%x00%x00%H%x00=%an%x00=%ae%x00=%aI%x00=%s%x00=%b%x00"
_SAFE: Final = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"),
    *("-c", "log.showSignature=false", "-c", "core.quotePath=false", "-c", "log.follow=false"),
)


class Commit(TypedDict):
    """One commit; ``date`` is the author's, in UTC; ``files`` only where asked for."""

    sha: str
    author: str
    email: str
    date: str
    subject: str
    body: str
    files: NotRequired[list[str]]


class History(TypedDict):
    """Commits, newest first; ``truncated`` when the limit left older ones out."""

    commits: list[Commit]
    count: int
    truncated: bool


def git_tools(roots: Roots) -> list[FunctionTool]:
    """The tools of this module."""
    return [FunctionTool.from_function(partial(log, roots), name="git.log", effect="read")]


async def log(
    roots: Roots,
    path: Annotated[str, "The repository, relative to an allowed folder."] = ".",
    since: Annotated[str | None, "Only commits after this date, such as 2026-11-01."] = None,
    until: Annotated[str | None, "Only commits before this date."] = None,
    limit: Annotated[int, Field(ge=1, le=5_000, description="At most so many commits.")] = 200,
    paths: Annotated[list[str] | None, "Only commits that touch these paths of the repository."] = None,
    files: Annotated[bool, "Whether to name the files that each commit touches."] = False,
) -> History:
    """The commits of a git repository, newest first."""
    folder = await asyncio.to_thread(roots.folder, path)
    await _own_repository(roots, folder, path)
    asked = ["log", "--no-color", "--no-ext-diff", "--no-textconv", _FORMAT, f"--max-count={limit + 1}"]
    asked += [f"--since={_moment(since)}"] if since else []
    asked += [f"--until={_moment(until)}"] if until else []
    asked += ["--name-only"] if files else []
    text = await _git(roots, folder, *asked, "--", *(paths or ()))
    commits = [_commit(record, files) for record in text.split("\0\0")[1:]]
    return History(commits=commits[:limit], count=min(len(commits), limit), truncated=len(commits) > limit)


async def _own_repository(roots: Roots, folder: Path, path: str) -> None:
    """Refuses a folder without a repository, and one whose repository lies outside the roots."""
    text = await _git(roots, folder, "rev-parse", "--absolute-git-dir")
    await asyncio.to_thread(roots.inside, text.strip())
    if (await _git(roots, folder, "rev-list", "--max-count=1", "--all")).strip() == "":
        raise Fault("invalid_input", f"The repository {path!r} has no commits yet.", origin="tool")


def _moment(text: str) -> str:
    """The date as git reads it without guessing: ISO 8601, in UTC unless it names a zone."""
    try:
        moment = dt.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).isoformat()
    except ValueError as error:
        said = f"{text[:60]!r} is no date; write it like 2026-11-01 or 2026-11-01T12:00:00+00:00."
        raise Fault("invalid_input", said, origin="tool") from error


def _commit(record: str, files: bool) -> Commit:
    sha, *fields, rest = record.split("\0")
    author, email, date, subject, body = (field[1:] for field in fields)
    when = dt.datetime.fromisoformat(date).astimezone(dt.UTC).isoformat()
    commit = Commit(sha=sha, author=author, email=email, date=when, subject=subject, body=body.strip())
    if files:
        commit["files"] = [line for line in rest.splitlines() if line]
    return commit


async def _git(roots: Roots, folder: Path, *asked: str) -> str:
    """What git prints for arguments that are ours; it is ended when it takes too long or is no longer wanted."""
    program = await asyncio.to_thread(shutil.which, "git")
    if program is None:
        raise Fault("unavailable", "git is not installed where the tools run.", origin="tool")
    process = await asyncio.create_subprocess_exec(
        *(program, "--no-pager", "--literal-pathspecs", *_SAFE, "-c", f"safe.directory={folder}", *asked),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(roots, program),
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            output, said = await process.communicate()
    except TimeoutError as error:
        raise Fault("timeout", f"git took longer than {TIMEOUT:.0f} s.", origin="tool") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode != 0:
        raise _refusal(said.decode("utf-8", errors="replace").strip())
    return output.decode("utf-8", errors="replace")


def _environment(roots: Roots, program: str) -> dict[str, str]:
    return {
        "PATH": str(Path(program).parent),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CEILING_DIRECTORIES": ":".join(str(root.parent) for root in roots.folders),
    }


def _refusal(said: str) -> Fault:
    if "not a git repository" in said:
        return Fault("invalid_input", "There is no git repository in that folder.", origin="tool")
    return Fault("tool_error", f"git: {said[:500]}", origin="tool")
