"""Python functions that the settings name as tools: for people who write no program around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cogwork.app import App
from cogwork.cli.root import cli
from cogwork.settings import Settings
from cogwork.tools.loading import LoadingError, loaded_tools
from cogwork.tools.toolbox import TwoTools

pytestmark = [pytest.mark.req("R4")]

MINE = '''
from dataclasses import dataclass

import cogwork
import neighbour


@dataclass
class Sum:
    total: int


@cogwork.tool(name="sums.add", effect="none")
def add(one: int, other: int) -> Sum:
    """Add two numbers."""
    return Sum(one + other)


@cogwork.tool
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper() + neighbour.MARK


def whisper(text: str) -> str:
    """Say it softly."""
    return text.lower()


UNFIT = 3
'''
WORKFLOW = """
cogwork: v1
name: adds
input: {one: {type: integer, default: 2}}
nodes:
  sum: {type: tool, tool: sums.add, args: {one: "{{ input.one }}", other: 40}}
  said: {type: tool, tool: shout, args: {text: "it is {{ sum.total }}"}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file of functions, a package, and a workflow that calls them."""
    for name in [name for name in os.environ if name.startswith(("COGWORK_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_tools.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("MARK = '!'\n", encoding="utf-8")
    (tmp_path / "adds.yaml").write_text(WORKFLOW, encoding="utf-8")
    package = tmp_path / f"pack_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import two\n__all__ = ['two']\n", encoding="utf-8")
    (package / "inner.py").write_text(
        "import cogwork\n\n@cogwork.tool\ndef two() -> int:\n    return 2\n\ndef three() -> int:\n    return 3\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def package(folder: Path) -> str:
    """The name of the package."""
    return next(path.name for path in folder.iterdir() if path.name.startswith("pack_"))


@pytest.fixture
def cogwork(folder: Path) -> Callable[..., Result]:
    """Runs one command in this process."""
    return lambda *words: CliRunner().invoke(cli, list(words))


def named(*entries: str) -> list[str]:
    """The names of the tools that the entries give."""
    return [tool.name for tool in loaded_tools(entries)]


def refused(*entries: str) -> str:
    """Why the entries are refused, and what to do about it."""
    with pytest.raises(LoadingError) as raised:
        loaded_tools(entries)
    return f"{raised.value} | {raised.value.hint}"


def test_a_workflow_on_the_command_line_calls_functions_of_a_file_that_the_settings_name(
    folder: Path, cogwork: Callable[..., Result]
) -> None:
    (folder / "cogwork.toml").write_text('python_tools = ["my_tools.py"]\n', encoding="utf-8")
    done = cogwork("run", "adds.yaml", "--json", "--no-checkpoint")
    assert json.loads(done.stdout.splitlines()[-1])["output"] == "IT IS 42!"
    listed = {tool["name"]: tool for tool in json.loads(cogwork("tools", "--json").stdout)}
    assert listed["sums.add"]["output"]["properties"] == {"total": {"type": "integer"}}
    assert (listed["shout"]["effect"], listed["sums.add"]["effect"]) == ("write", "none")
    assert "whisper" not in listed


def test_what_langgraph_dev_serves_can_call_them_too(folder: Path) -> None:
    code = "from cogwork.entrypoints import generic; print(generic.services.tools.find('sums.add').description)"
    given = {**os.environ, "COGWORK_PYTHON_TOOLS": '["my_tools.py"]'}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "Add two numbers."


def test_files_modules_and_single_functions_are_named_each_in_its_way(folder: Path, package: str) -> None:
    assert named("my_tools.py") == ["sums.add", "shout"]
    assert named("my_tools.py:whisper") == ["whisper"]
    assert named(package) == ["two"]
    (folder / "uses.py").write_text(f"from {package} import two\n", encoding="utf-8")
    assert "holds no function" in refused("uses.py")
    assert named(f"{package}.inner:three", f"{package}.inner") == ["three", "two"]
    assert named("my_tools.py:shout", "my_tools.py", "my_tools.py:whisper") == ["shout", "sums.add", "whisper"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("gone.py", "is not there (looked for"),
        ("no.such.module", "there is no module 'no'"),
        ("my_tools.py:shuot", "does not define 'shuot' | its tools are add, shout"),
        ("my_tools.py:UNFIT", "which is no function but int"),
        (
            "neighbour.py",
            "holds no function that is decorated with cogwork.tool | decorate a function with @cogwork.tool",
        ),
        ("raises.py", "ZeroDivisionError: division by zero (raises.py:2)"),
        ("broken.py", "SyntaxError: '(' was never closed (broken.py:1)"),
        ("needs.py", "ModuleNotFoundError: No module named 'nobody_has_this' (needs.py:1)"),
        ("leaves.py", "cannot be imported: SystemExit: 3"),
        ("stars.py:many", "is no tool: many cannot be a tool: its parameter args cannot be given by name"),
    ],
)
def test_an_entry_that_gives_no_tool_says_why_and_where(folder: Path, entry: str, said: str) -> None:
    files = {
        "raises.py": "import os\nos.nothing = 1 / 0\n",
        "broken.py": "x = (\n",
        "needs.py": "import nobody_has_this\n",
        "leaves.py": "raise SystemExit(3)\n",
        "stars.py": "def many(*args):\n    return args\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    told = refused(entry).replace(f"{folder}/", "")
    assert told.startswith(f"python_tools: {entry!r} ")
    assert said in told


def test_the_command_line_tells_it_in_a_sentence_and_exits_as_for_wrong_usage(
    folder: Path, cogwork: Callable[..., Result]
) -> None:
    (folder / "cogwork.toml").write_text('python_tools = ["gone.py"]\n', encoding="utf-8")
    done = cogwork("tools")
    assert (done.exit_code, done.stderr.startswith("error: python_tools: 'gone.py' is not there")) == (2, True)


def test_two_tools_of_one_name_are_refused_with_both_places(folder: Path) -> None:
    (folder / "more.py").write_text("import cogwork\n\n@cogwork.tool\ndef shout() -> int:\n    return 1\n", "utf-8")
    app = App(settings=Settings(python_tools=["my_tools.py", "more.py"]))
    with pytest.raises(TwoTools, match=r"named shout: .*my_tools\.py:19 and .*more\.py:3; rename one"):
        app.services  # noqa: B018 - the toolbox is made when it is first asked for


def test_a_file_whose_code_raised_is_loaded_anew_once_it_is_mended(folder: Path) -> None:
    (folder / "late.py").write_text("import cogwork\nboom\n", encoding="utf-8")
    assert "NameError" in refused("late.py")
    (folder / "late.py").write_text("import cogwork\n\n@cogwork.tool\ndef late() -> int:\n    return 1\n", "utf-8")
    assert named("late.py") == ["late"]
