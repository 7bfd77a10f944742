"""Which files the text reader takes, and what it says about those it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.language.yaml import read_file
from state.errors import SpecError


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "x: 1.10"), ("a.YML", "x: 1.10"), ("a.json", '{"x": 1.10}')])
def test_a_file_is_read_by_its_ending_and_remembers_its_name(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    read = read_file(path)
    assert (read.value, read.raw, read.file) == ({"x": 1.1}, {"/x": "1.10"}, str(path))


def test_yaml_in_a_json_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("x: 1")
    with pytest.raises(SpecError, match="json_syntax"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.yaml", None, "file_missing"),
        ("missing", None, "file_missing"),
        ("file.txt", b"a: 1", "file_unreadable"),
        ("file.yaml/inner.yaml", None, "file_missing"),
        ("folder.yaml", "folder", "file_unreadable"),
        ("n\0l.yaml", None, "file_unreadable"),
        ("n" * 5000 + ".yaml", None, "file_unreadable"),
        ("loop.yaml", "loop", "file_unreadable"),
        ("large.yaml", b"#" * 1_000_001, "too_large"),
        ("latin.yaml", b"a: \xe9", "not_utf8"),
        ("empty.json", b"", "empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(
    tmp_path: Path, name: str, content: bytes | str | None, code: str
) -> None:
    (tmp_path / "file.yaml").write_text("a: 1")
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content == "loop":
        path.symlink_to(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_file(path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == (code, str(path))
    assert problem.hint


def test_a_device_is_not_read() -> None:
    with pytest.raises(SpecError, match="not a file"):
        read_file("/dev/zero")
