"""``cogwork result`` in every form: to standard output, to a file, whole, and with the exit code of the execution."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cogwork.cli.root import main
from cogwork.responses.xml import from_xml

pytestmark = [pytest.mark.req("X11"), pytest.mark.req("M7")]

WORKFLOWS = {
    "report": """
cogwork: v1
name: report
input: {topic: {type: string}}
nodes:
  draft: {type: transform, set: {text: "# {{ input.topic }}\\n\\nIt is **done**."}}
  save: {type: tool, tool: text.write, args: {path: reports/report.md, content: "{{ draft.text }}"}}
output: "{{ draft.text }}"
""",
    "long": """
cogwork: v1
name: long
input: {piece: {type: string}}
nodes:
  said: {type: transform, set: {text: "{{ input.piece }}{{ input.piece }}{{ input.piece }}"}}
output: "{{ said.text }}"
""",
    "asking": """
cogwork: v1
name: asking
nodes:
  sure: {type: human, ask: "Send it?", form: {go: {enum: [yes, no]}}}
output: "{{ sure.go }}"
""",
    "failing": """
cogwork: v1
name: failing
nodes:
  look: {type: tool, tool: text.read, args: {path: nowhere.md}}
""",
}
Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command in a folder with three workflows; what it says on standard output."""
    (tmp_path / "workflows").mkdir()
    for name, text in WORKFLOWS.items():
        (tmp_path / "workflows" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["cogwork", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == code, (words, told)
        return told.out if code != 2 else told.err

    return run


def ran(said: Said, workflow: str, *words: str, code: int = 0) -> str:
    """Run a workflow to its end or rest; the id of its execution."""
    said("run", workflow, *words, "--no-input", "--json", code=code)
    page = json.loads(said("executions", "--workflow", workflow, "--json"))
    return str(page["executions"][0]["execution_id"])


def test_a_result_is_written_in_every_form_with_its_artifact(said: Said, tmp_path: Path) -> None:
    name = ran(said, "report", "-i", "topic=Tea & <b>cake</b>")
    markdown = said("result", name, "--format", "markdown")
    assert markdown.startswith(
        "# Tea & <b>cake</b>\n\nIt is **done**.\n\n## Artifacts\n\n- `report.md`: `text/markdown, 36 bytes"
    )
    assert said("result", name, "-f", "text").startswith("# Tea & <b>")
    assert "<h1>Tea &amp; &lt;b&gt;cake&lt;/b&gt;</h1>" in said("result", name, "-f", "html")
    told = json.loads(said("result", name, "-f", "json"))
    assert told["status"] == "completed" and told["parts"][0]["because"] == "heading, bold text"
    (artifact,) = told["artifacts"]
    assert artifact["where"] == {"file": "reports/report.md"} and artifact["digest"].startswith("sha256:")
    assert artifact["content"] == (tmp_path / "reports" / "report.md").read_text()
    assert from_xml(said("result", name, "-f", "xml")) == told == yaml.safe_load(said("result", name, "-f", "yaml"))
    assert said("result", name, "-f", "html", "--output", "page.html") == ""
    assert "<h1>Tea" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert json.loads(said("result", name, "--json"))["steps"], "the record is there as before"


def test_a_large_result_is_shortened_unless_it_is_to_be_whole(said: Said) -> None:
    name = ran(said, "long", "-i", f"piece={'word ' * 20_000}")
    assert f"the whole: cogwork result {name} --json" in said("result", name, "-f", "text")
    assert len(said("result", name, "-f", "text", "--whole")) >= 300_000
    (part,) = json.loads(said("result", name, "-f", "json"))["parts"]
    assert part["size"] == 300_000 and part["shortened"]["shown"] == 256 * 1024


def test_a_resting_and_a_failed_execution_say_what_can_be_done_next_and_exit_as_they_stand(said: Said) -> None:
    name = ran(said, "asking", code=3)
    text = said("result", name, "-f", "text", code=3)
    assert "Question at sure: Send it?" in text and f"cogwork resume {name} -a go=yes" in text
    said("resume", name, "-a", "go=yes", "--no-input")
    assert said("result", name, "-f", "text") == "yes\n"
    failed = ran(said, "failing", code=1)
    text = said("result", failed, "-f", "text", code=1)
    assert "error " in text and f"cogwork fork {failed} --at look" in text and f"cogwork why {failed}" in text
    assert "look" in said("why", failed)


def test_options_that_mean_nothing_together_are_refused(said: Said) -> None:
    assert "exclude each other" in said("result", "x", "--json", "--format", "xml", code=2)
    assert "go with --format" in said("result", "x", "--output", "a.md", code=2)
    assert "markdown" in said("result", "x", "--format", "pdf", code=2)
    name = ran(said, "report", "-i", "topic=Tea")
    assert "cannot be written" in said("result", name, "-f", "text", "-o", "no/such/folder", code=2)
    said("result", "nothing", "-f", "text", code=4)
