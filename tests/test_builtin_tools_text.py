"""Reading, listing, writing and searching text, and what leads out of the allowed folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cogwork.tools.builtin import builtin_tools
from cogwork.tools.roots import fits
from cogwork.tools.toolbox import Toolbox, checked_call
from state.errors import Fault
from state.services import CallContext

CONTEXT = CallContext(run="r", step="s", idempotency_key="k")
HANDBOOK = Path(__file__).parent.parent / "examples" / "data" / "handbook"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An allowed folder with a neighbour that is not allowed."""
    (tmp_path / "secret.txt").write_text("password")
    root = tmp_path / "docs"
    (root / "deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "guide.md").write_text("# Guide\n\none\ntwo\nthree\n")
    (root / "deep" / "notes.txt").write_text("deep notes\n")
    (root / ".git" / "hidden.txt").write_text("hidden")
    (root / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    return root


async def call(root: Path, name: str, **args: Any) -> Any:
    """The result of a built-in tool that may read and write below ``root``."""
    tool = Toolbox(builtin_tools(roots=[root], write_roots=[root], allow_python=False)).find(name)
    assert tool is not None
    return await checked_call(tool, args, CONTEXT)


async def refusal(root: Path, name: str, **args: Any) -> Fault:
    """The fault of a built-in tool."""
    with pytest.raises(Fault) as raised:
        await call(root, name, **args)
    return raised.value


async def test_a_file_is_read_as_a_whole_or_by_lines(folder: Path) -> None:
    whole = await call(folder, "text.read", path="guide.md")
    part = await call(folder, "text.read", path="guide.md", start_line=3, end_line=4)

    assert whole["text"] == "# Guide\n\none\ntwo\nthree\n"
    assert (whole["end_line"], whole["truncated"]) == (5, False)
    assert (part["text"], part["start_line"], part["end_line"]) == ("one\ntwo\n", 3, 4)


async def test_a_long_file_is_cut_and_says_so(folder: Path) -> None:
    (folder / "long.txt").write_text("ä" * 1000 + "\n" + "b" * 1000)

    read = await call(folder, "text.read", path="long.txt", max_bytes=101)

    assert read["text"] == "ä" * 50
    assert read["truncated"] is True


@pytest.mark.parametrize(
    "tool", ["text.read", "text.list", "text.search", "text.write", "text.remove", "git.log", "logs.parse"]
)
@pytest.mark.parametrize(
    "path", ["../secret.txt", "deep/../../secret.txt", "{outside}/secret.txt", "link", "up/secret.txt"]
)
async def test_no_path_leads_out_of_the_allowed_folders(folder: Path, tool: str, path: str) -> None:
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    args = {"folder" if tool == "text.list" else "path": path.format(outside=folder.parent)}
    extra = {"text.search": {"query": "password"}, "text.write": {"content": "x"}}.get(tool, {})

    fault = await refusal(folder, tool, **args, **extra)

    assert fault.fault_class == "permission_denied"
    assert "under the allowed folders: docs" in fault.message
    assert (folder.parent / "secret.txt").read_text() == "password"


async def test_listing_and_searching_do_not_follow_links_that_lead_out(folder: Path) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)

    listed = await call(folder, "text.list")
    found = await call(folder, "text.search", query="password")

    assert [file["path"] for file in listed["files"]] == ["guide.md", "picture.png", "deep/notes.txt"]
    assert found["passages"] == []


async def test_a_path_with_a_nul_character_is_refused(folder: Path) -> None:
    assert (await refusal(folder, "text.read", path="guide.md\0.txt")).fault_class == "invalid_input"


@pytest.mark.parametrize(
    ("path", "said"), [("none.md", "does not exist"), ("deep", "folder"), ("picture.png", "binary")]
)
async def test_what_is_no_text_file_is_refused_with_the_reason(folder: Path, path: str, said: str) -> None:
    fault = await refusal(folder, "text.read", path=path)

    assert fault.fault_class == "invalid_input"
    assert said in fault.message


async def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    assert (await refusal(folder, "text.read", path="pipe")).fault_class == "invalid_input"


async def test_an_absolute_path_within_is_fine(folder: Path) -> None:
    assert (await call(folder, "text.read", path=str(folder / "guide.md")))["path"] == "guide.md"


async def test_a_listing_is_limited_and_says_so(folder: Path) -> None:
    listed = await call(folder, "text.list", glob="**/*.txt", limit=1)

    assert ([f["path"] for f in listed["files"]], listed["truncated"]) == (["deep/notes.txt"], False)
    assert (await call(folder, "text.list", limit=1))["truncated"] is True


@pytest.mark.parametrize(
    ("path", "glob", "fit"),
    [
        ("a/b/c.md", "*.md", True),
        ("a/b/c.md", "a/*.md", False),
        ("a/b/c.md", "a/**/*.md", True),
        ("a/c.md", "a/**/*.md", True),
        ("a/c.md", "**", True),
        ("a/c.md", "../*", False),
        ("a" * 200, "*a" * 60 + "b", False),
    ],
)
def test_patterns_for_files(path: str, glob: str, fit: bool) -> None:
    assert fits(path, glob) is fit


async def test_a_file_is_written_as_a_whole_and_read_back(folder: Path) -> None:
    first = await call(folder, "text.write", path="new/deep/file.txt", content="héllo")
    second = await call(folder, "text.write", path="new/deep/file.txt", content="bye")

    assert (first["created"], first["bytes"]) == (True, 6)
    assert second["created"] is False
    assert (await call(folder, "text.read", path="new/deep/file.txt"))["text"] == "bye"
    assert [file.name for file in (folder / "new" / "deep").iterdir()] == ["file.txt"]


async def test_a_folder_is_not_overwritten(folder: Path) -> None:
    assert (await refusal(folder, "text.write", path="deep", content="x")).fault_class == "invalid_input"


async def test_writing_is_only_there_where_a_folder_allows_it(folder: Path) -> None:
    assert Toolbox(builtin_tools(roots=[folder], write_roots=[], allow_python=False)).find("text.write") is None
    assert Toolbox(builtin_tools(roots=[folder], write_roots=[], allow_python=False)).find("text.remove") is None


async def test_a_file_is_removed_once_and_a_second_time_there_is_nothing_to_do(folder: Path) -> None:
    first = await call(folder, "text.remove", path="guide.md")
    second = await call(folder, "text.remove", path="guide.md")

    assert (first, second) == ({"path": "guide.md", "removed": True}, {"path": "guide.md", "removed": False})
    assert not (folder / "guide.md").exists()


@pytest.mark.parametrize("path", ["deep", ".", "../secret.txt", "out.txt"])
async def test_neither_folders_nor_what_lies_elsewhere_is_removed(folder: Path, path: str) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    refused = await refusal(folder, "text.remove", path=path)

    assert refused.fault_class in ("invalid_input", "permission_denied")
    assert (folder / "deep" / "notes.txt").exists()
    assert (folder.parent / "secret.txt").read_text() == "password"


async def test_without_any_folder_nothing_can_be_read(folder: Path) -> None:
    tool = Toolbox(builtin_tools(roots=[], write_roots=[], allow_python=False)).find("text.read")
    assert tool is not None

    with pytest.raises(Fault) as raised:
        await checked_call(tool, {"path": str(folder / "guide.md")}, CONTEXT)
    assert raised.value.fault_class == "permission_denied"


async def test_an_excerpt_marks_the_line_in_the_middle(folder: Path) -> None:
    shown = await call(folder, "source.excerpt", path="guide.md", line=4, before=1, after=1)

    assert shown["code"] == "two"
    assert (shown["start_line"], shown["end_line"]) == (3, 5)
    assert shown["text"].splitlines()[1] == ">     4  two"
    assert "ends before line 99" in (await refusal(folder, "source.excerpt", path="guide.md", line=99)).message


async def test_a_question_finds_the_passage_that_answers_it() -> None:
    found = await call(HANDBOOK, "text.search", query="How long do we pause before a retry?")

    best = found["passages"][0]
    assert (best["path"], best["heading"]) == ("retries.md", "How long to wait")
    assert best["text"].startswith("## How long to wait")
    assert best["line"] == 10
    assert found["files"] == 2
    assert [p["score"] for p in found["passages"]] == sorted((p["score"] for p in found["passages"]), reverse=True)


async def test_other_forms_of_a_word_are_found() -> None:
    found = await call(HANDBOOK, "text.search", query="doubling pauses", limit=1)

    assert "doubles" in found["passages"][0]["text"]


async def test_lines_around_a_passage_are_added_on_request() -> None:
    found = await call(HANDBOOK, "text.search", query="person on duty", limit=1, context=2)

    assert found["passages"][0]["line"] == 3
    assert found["passages"][0]["text"].startswith("An incident is anything")


async def test_python_is_found_by_definition(folder: Path) -> None:
    (folder / "code.py").write_text(
        "import os\n\n\ndef parseConfig(path):\n    return path\n\n\nclass Other:\n    pass\n"
    )

    found = await call(folder, "text.search", query="parse config", glob="*.py")

    assert (found["passages"][0]["line"], found["passages"][0]["heading"]) == (4, "def parseConfig(path)")


async def test_a_query_that_nothing_answers_finds_nothing() -> None:
    assert (await call(HANDBOOK, "text.search", query="xylophone"))["passages"] == []
    assert (await call(HANDBOOK, "text.search", query="???"))["passages"] == []


async def test_binary_and_oversized_files_are_left_out_of_a_search(folder: Path) -> None:
    (folder / "huge.txt").write_text("needle " * 400_000)
    (folder / "blob.txt").write_bytes(b"needle\0")

    found = await call(folder, "text.search", query="needle")

    assert (found["passages"], found["skipped"]) == ([], 2)


async def test_a_path_from_the_working_folder_may_name_the_folder_to_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tool = Toolbox(builtin_tools(roots=[], write_roots=[Path("reports")], allow_python=False)).find("text.write")
    assert tool is not None

    for given in ("reports/a.md", "a.md"):
        written = await checked_call(tool, {"path": given, "content": given}, CONTEXT)
        assert (written["path"], (tmp_path / "reports" / "a.md").read_text()) == ("reports/a.md", given)
