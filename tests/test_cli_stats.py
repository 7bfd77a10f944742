"""``cogwork stats`` and ``cogwork health``: tables for people, JSON for programs, and a drawing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli.figures import bar, rate, sparks
from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.metrics import Metrics
from cogwork.metrics.axes import axis, money, span
from cogwork.metrics.plot import plot
from cogwork.records.database import opened
from tests.ledger import NOW, Ledger, ago, fault

pytestmark = [pytest.mark.req("E6"), pytest.mark.req("M10")]
Cogwork = Callable[..., Result]


@pytest.fixture
def cogwork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cogwork:
    """The two commands in an empty folder, on a terminal of 100 columns that shows no colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "COGWORK_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Records of some executions of the last days."""
    ledger, now = Ledger(), datetime.now(UTC)
    for days in (1, 2, 2, 4):
        at = now - timedelta(days=days)
        name = ledger.execution(created=at, seconds=days, version=1)
        ledger.step(
            name, start=at, tool="text.read", kind="llm", model="m", agent="writer", input_tokens=1000, cost_usd=0.5
        )
    ledger.execution("failed", created=now - timedelta(days=1), seconds=90, version=2, error=fault("refused"))
    ledger.execution("paused", workflow="[red]odd\x1b[31m", created=now - timedelta(days=1))
    with opened(tmp_path / ".cogwork" / "records.sqlite") as records:
        ledger.write(records)
    return tmp_path


def test_the_table_of_a_workflow_tells_its_figures_and_its_days(cogwork: Cogwork, filled: Path) -> None:
    said = cogwork("stats", "greet").stdout
    assert "workflow greet" in said and "1 failed" in said and "80.0%" in said and "$2.00" in said
    assert "average 19.8 s · p50 2 s" in said and "1: 1 refused" in said
    day = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d")
    (row,) = [line for line in said.splitlines() if line.startswith(day)]
    assert row.split() == [day, "2", "█" * 16, "100%", "2", "s", "2", "s", "$1.00"]


def test_the_overview_lists_the_workflows_and_shows_no_control_characters(cogwork: Cogwork, filled: Path) -> None:
    said = cogwork("stats", "--since", "last_30_days").stdout
    assert "all workflows" in said and "[red]odd" in said and "\x1b" not in said
    assert said.index("greet") < said.index("[red]odd")


def test_json_holds_every_figure(cogwork: Cogwork, filled: Path) -> None:
    told = json.loads(cogwork("stats", "greet", "--json", "--by", "hour", "--timezone", "Asia/Tokyo").stdout)
    assert told["execution_count"] == 5 and told["subject"] == {"workflow": "greet"}
    assert len(told["throughput"]) in (168, 169) and told["throughput"][5]["from"].endswith("+09:00")
    for option, name in (("--tool", "text.read"), ("--model", "m"), ("--agent", "writer")):
        assert json.loads(cogwork("stats", option, name, "--json").stdout)["execution_count"] == 4
    assert json.loads(cogwork("stats", "greet", "--node", "ask", "--json").stdout)["execution_count"] == 4


def test_two_versions_stand_beside_each_other(cogwork: Cogwork, filled: Path) -> None:
    said = cogwork("stats", "greet", "--version", 1, "--version", 2).stdout
    assert "VERSION 1" in said and "−100%" in said and "more than chance" in said
    assert json.loads(cogwork("stats", "greet", "--version", 1, "--version", 2, "--json").stdout)["clear"] is True
    assert json.loads(cogwork("stats", "greet", "--version", 2, "--json").stdout)["execution_count"] == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["gret"], 4, "did you mean greet"),
        (["greet", "--since", "last_week"], 2, "last_N_days"),
        (["--node", "x"], 2, "needs a workflow"),
        (["--version", "1"], 2, "needs a workflow"),
        (["--tool", "a", "--model", "b"], 2, "do not go together"),
        (["greet", "--tool", "a"], 2, "of all workflows"),
        (["greet", "--by", "week"], 2, "hour or day"),
        (["greet", "--plot", "no/such/folder.svg"], 1, "cannot be written"),
        (["--tool", "text.rea"], 0, "did you mean text.read"),
        (["--agent", "write"], 4, "did you mean writer"),
    ],
)
def test_what_cannot_be_told_is_said_with_what_can(
    cogwork: Cogwork, filled: Path, words: list[str], code: int, says: str
) -> None:
    result = cogwork("stats", *words)
    assert says in result.stderr
    assert result.exit_code == code


def test_where_nothing_ran_the_table_says_so(cogwork: Cogwork) -> None:
    result = cogwork("stats")
    assert result.exit_code == 0 and "nothing has ended" in result.stdout


# -- the drawing -----------------------------------------------------------------------------------------------------


def test_the_drawing_shows_counts_durations_and_cost_of_each_day(cogwork: Cogwork, filled: Path) -> None:
    assert cogwork("stats", "greet", "--plot", "days.svg").exit_code == 0
    drawn = ElementTree.fromstring((filled / "days.svg").read_text())
    titles = [each.text or "" for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert sum("2 completed" in title for title in titles) == 1
    assert sum("1 completed, 1 failed" in title for title in titles) == 1
    assert any("p50 2 s, p95 2 s" in title for title in titles) and any("$1.00" in title for title in titles)
    assert "prefers-color-scheme:dark" in (filled / "days.svg").read_text()


async def test_the_drawing_of_nothing_and_of_a_hostile_name_is_well_formed(tmp_path: Path) -> None:
    ledger = Ledger()
    name = '"><script>alert(1)</script>'
    ledger.step(ledger.execution(workflow=name), workflow=name, input_tokens=5)
    with opened(tmp_path / "records.sqlite") as records:
        ledger.write(records)
        metrics = Metrics(records, now=lambda: NOW, known=lambda kind: ["none"])
        for report in (await metrics.workflow("none", "today"), await metrics.workflow(name), await metrics.tool("t")):
            drawn = plot(report)
            assert ElementTree.fromstring(drawn) is not None and "<script" not in drawn
        assert ">?</text>" in plot(await metrics.workflow(name))
        with pytest.raises(EngineError, match="throughput"):
            plot(await metrics.workflow(name, metrics=["error_count"]))


def test_scales_durations_and_sums_are_written_for_people() -> None:
    assert axis(0) == ([0.0], 1.0) and axis(3, whole=True) == ([0, 1, 2, 3], 3) and axis(97)[1] == 100
    for most in (0.0003, 0.7, 1, 4.1, 12, 99.9, 5e6):
        ticks, top = axis(most)
        assert len(ticks) <= 6 and top >= most and ticks[-1] == pytest.approx(top)
    shown = {0: "0 s", 0.0123: "12 ms", 1.5: "1.5 s", 12.34: "12.3 s", 59.97: "1 min", 125: "2 min 5 s"}
    shown |= {3600: "1 h", 12_000: "3 h 20 min", 90_000: "1 d 1 h"}
    assert {value: span(value) for value in shown} == shown and span(None) == "–"
    assert [money(value) for value in (0, 0.0042, 0.5, 1234.5, None)] == [
        "$0.00",
        "$0.0042",
        "$0.50",
        "$1,234.50",
        "unknown",
    ]
    assert [rate(value) for value in (None, 0, 0.9999, 1)] == ["–", "0.0%", "99.9%", "100%"]
    assert bar(1, 1000) == "▏" and bar(0, 5) == "" and bar(5, 5) == "█" * 16
    assert sparks([0, 1, 7]) == " ▂█" and sparks([0, 0]) == "" and len(sparks([1] * 1000)) <= 32


# -- health ----------------------------------------------------------------------------------------------------------


def test_health_tells_of_every_part_and_exits_by_the_state(cogwork: Cogwork, filled: Path) -> None:
    result = cogwork("health", "--json")
    told = json.loads(result.stdout)
    assert set(told["parts"]) == {
        *("breakers", "checkpoints", "disk", "mcp", "memory", "models", "queue", "records", "workers")
    }
    assert told["status"] == "healthy" and result.exit_code == 0
    ledger = Ledger()
    ledger.execution("pending", created=ago(days=1))
    with opened(filled / ".cogwork" / "records.sqlite") as records:
        ledger.write(records)
    result = cogwork("health")
    assert result.exit_code == 3 and "✗ workers" in result.stdout and "cogwork worker" in result.stdout
    assert "! queue" in result.stdout and "1 wait" in result.stdout
    (filled / ".cogwork" / "records.sqlite").write_bytes(b"damaged " * 600)
    for more in (filled / ".cogwork").glob("records.sqlite-*"):
        more.unlink()
    result = cogwork("health")
    assert result.exit_code == 1 and "✗ records" in result.stdout
