"""Reading the history of real repositories, also of ones made to do harm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cogwork.tools.builtin import builtin_tools
from cogwork.tools.toolbox import Toolbox, checked_call
from state.errors import Fault
from state.services import CallContext

CONTEXT = CallContext(run="r", step="s", idempotency_key="k")


def git(folder: Path, *args: str, date: str = "2026-11-01T10:00:00+02:00") -> None:
    """Runs git as a person would, at a fixed time."""
    identity = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_AUTHOR_DATE": date}
    other = {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org", "GIT_COMMITTER_DATE": date}
    env = identity | other | {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", *args], cwd=folder, env=env, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with three commits on three days."""
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for day, name, subject in (
        (1, "a.txt", "Add a"),
        (5, "b.txt", "Add b\x1f, ünïcode"),
        (9, "a.txt", "Change a\n\nWhy."),
    ):
        (folder / name).write_text(f"{day}")
        git(folder, "add", name)
        git(folder, "commit", "-q", "-m", subject, date=f"2026-11-{day:02}T10:00:00+02:00")
    return folder


async def log(root: Path, **args: Any) -> Any:
    """The result of ``git.log`` with ``root`` allowed."""
    tool = Toolbox(builtin_tools(roots=[root], write_roots=[], allow_python=False)).find("git.log")
    assert tool is not None
    return await checked_call(tool, args, CONTEXT)


async def test_commits_come_newest_first(repository: Path) -> None:
    found = await log(repository)

    assert [commit["subject"] for commit in found["commits"]] == ["Change a", "Add b\x1f, ünïcode", "Add a"]
    newest = found["commits"][0]
    assert (newest["author"], newest["email"], newest["body"]) == ("Ada", "ada@example.org", "Why.")
    assert newest["date"] == "2026-11-09T08:00:00+00:00"
    assert (found["count"], found["truncated"]) == (3, False)


async def test_commits_are_chosen_by_date_path_and_number(repository: Path) -> None:
    since = await log(repository.parent, path="repo", since="2026-11-04", until="2026-11-06")
    touching = await log(repository, paths=["a.txt"], files=True)
    one = await log(repository, limit=1)

    assert [commit["subject"][:5] for commit in since["commits"]] == ["Add b"]
    assert [commit["files"] for commit in touching["commits"]] == [["a.txt"], ["a.txt"]]
    assert (one["count"], one["truncated"]) == (1, True)


@pytest.mark.parametrize("value", ["--output=stolen", "--exec=x", ":(top)*", "-p"])
async def test_no_argument_becomes_an_option(repository: Path, value: str) -> None:
    assert (await log(repository, paths=[value]))["commits"] == []
    with pytest.raises(Fault, match="no date"):
        await log(repository, since=value)
    assert not (repository / "stolen").exists()


async def test_a_folder_without_a_repository_is_refused_even_within_one_above(repository: Path) -> None:
    (repository / "inner").mkdir()

    with pytest.raises(Fault, match="no git repository") as raised:
        await log(repository / "inner")
    assert raised.value.fault_class == "invalid_input"


async def test_a_repository_kept_elsewhere_is_refused(repository: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / ".git").write_text(f"gitdir: {repository / '.git'}\n")

    with pytest.raises(Fault) as raised:
        await log(allowed)
    assert raised.value.fault_class == "permission_denied"


async def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")

    with pytest.raises(Fault, match="no commits yet"):
        await log(tmp_path)


async def test_programs_named_in_a_repository_are_not_run(repository: Path) -> None:
    marker = repository / "ran"
    for key in ("core.pager", "core.fsmonitor", "gpg.program", "diff.x.textconv", "diff.external", "core.sshCommand"):
        git(repository, "config", key, f"touch {marker}; true")
    git(repository, "config", "log.showSignature", "true")
    (repository / ".gitattributes").write_text("* diff=x\n")

    assert (await log(repository, files=True))["count"] == 3
    assert not marker.exists()


async def test_without_git_the_fault_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))

    with pytest.raises(Fault, match="git is not installed") as raised:
        await log(repository)
    assert raised.value.fault_class == "unavailable"
