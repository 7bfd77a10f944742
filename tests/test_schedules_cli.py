"""The commands ``schedules`` and ``triggers``, as people and programs use them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cogwork.cli import exits, schedules, triggers
from cogwork.cli.root import Door

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COGWORK_DATABASE_URL", raising=False)
    (tmp_path / "cogwork.toml").write_text('[secrets]\nhook = "correct horse battery"\n')
    cli = typer.Typer(cls=Door)
    cli.add_typer(schedules.schedules)
    cli.add_typer(triggers.triggers)
    runner = CliRunner()
    return lambda *words: runner.invoke(cli, list(words))


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.req("R5")
def test_a_schedule_is_added_listed_shown_fired_switched_and_removed(command: Command) -> None:
    assert "there is no schedule" in command("schedules", "list").stdout
    added = command(
        *("schedules", "add", "nightly", "report", "--cron", "30 2 * * *", "-z", "Europe/Berlin"),
        *("--set", "catch_up=latest", "--set", "jitter=5m", "--input", '{"day": "{{ event.due_at }}"}'),
    )
    assert added.exit_code == 0 and "nightly fires next at 2" in added.stdout
    shown = data(command("schedules", "show", "nightly", "--json"))
    assert shown["definition"] == {
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "jitter": 300,
        "catch_up": "latest",
    }
    assert len(shown["upcoming"]) == 5 and shown["upcoming"][0] == shown["next_at"]
    assert data(command("schedules", "upcoming", "nightly", "-n", "2", "--json")) == shown["upcoming"][:2]
    listed = command("schedules", "list").stdout
    assert "NEXT" in listed and "30 2 * * * Europe/Berlin" in listed and "enabled" in listed
    fired = data(command("schedules", "run", "nightly", "--json"))
    assert fired["outcome"] == "planned"
    assert fired["id"] in [each["id"] for each in data(command("schedules", "firings", "nightly", "--json"))]
    assert "planned" in command("schedules", "firings", "nightly").stdout
    assert command("schedules", "disable", "nightly").exit_code == 0
    assert data(command("schedules", "list", "--json"))[0]["enabled"] is False
    assert "dropped" in command("schedules", "firings", "nightly").stdout
    assert command("schedules", "enable", "nightly").exit_code == 0
    assert command("schedules", "remove", "nightly").exit_code == 0
    assert data(command("schedules", "list", "--json")) == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("schedules", "add", "x", "report", "--cron", "0 0 30 2 *"), exits.USAGE, "never fires"),
        (("schedules", "add", "x", "report", "--every", "soon"), exits.USAGE, "must be a duration"),
        (("schedules", "add", "x", "report"), exits.USAGE, "either cron or every"),
        (("schedules", "add", "x", "report", "--every", "1h", "--set", "overlap"), exits.USAGE, "has no '='"),
        (("schedules", "add", "x", "report", "--every", "1h", "--input", "{"), exits.USAGE, "not JSON"),
        (("schedules", "add", "x", "report", "--every", "1h", "--input", "[]"), exits.USAGE, "no JSON object"),
        (("schedules", "add", "x", "report", "--every", "1h", "--set", "a=*b"), exits.USAGE, "quote it"),
        (("schedules", "show", "nightli"), exits.MISSING, "nightly"),
        (("triggers", "firings", "nothing"), exits.MISSING, "no trigger"),
        (("triggers", "add", "x", "report", "webhok"), exits.USAGE, "there are webhook"),
        (("triggers", "deliver", "x"), exits.MISSING, "no trigger"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_exit_code(
    words: tuple[str, ...], code: int, says: str, command: Command
) -> None:
    command("schedules", "add", "nightly", "report", "--cron", "@daily")
    result = command(*words)
    assert (result.exit_code, says in result.output) == (code, True), result.output


@pytest.mark.req("M10")
def test_a_trigger_is_added_listed_delivered_to_by_hand_and_removed(command: Command) -> None:
    assert "there is no trigger" in command("triggers", "list").stdout
    added = command(
        *("triggers", "add", "pushed", "build", "webhook", "--set", "secret=secret://hook"),
        *("--set", "header=X-Sig", "--input", '{"n": "{{ event.body.n }}"}'),
    )
    assert added.exit_code == 0, added.output
    assert command("triggers", "add", "ends", "b", "workflow", "--set", "of=a", "--set", "on=[failed]").exit_code == 0
    assert command("triggers", "add", "files", "b", "file", "--set", 'path="**/*.csv"').exit_code == 0
    assert "webhook" in command("triggers", "list").stdout
    mark = hmac.new(b"correct horse battery", b'{"n": 1}', hashlib.sha256).hexdigest()
    words = ("triggers", "deliver", "pushed", "--body", '{"n": 1}', "-H", f"X-Sig: {mark}")
    assert data(command(*words, "--json"))["outcome"] == "planned"
    assert "(known)" in command(*words).stdout
    assert command(*words[:-1], "X-Sig: 00").exit_code == exits.USAGE
    assert len(data(command("triggers", "firings", "pushed", "--json"))) == 1
    assert command("triggers", "disable", "pushed").exit_code == 0
    assert data(command("triggers", "show", "pushed", "--json"))["enabled"] is False
    assert command(*words).exit_code != 0
    assert command("triggers", "enable", "pushed").exit_code == 0
    assert data(command("triggers", "show", "pushed", "--json"))["enabled"] is True
    for name in ("pushed", "ends", "files"):
        assert command("triggers", "remove", name).exit_code == 0
    assert data(command("triggers", "list", "--json")) == []
