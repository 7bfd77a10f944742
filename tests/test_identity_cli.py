"""Tokens and the audit log from the command line."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.identity.tokens import Tokens
from cogwork.records.database import opened

pytestmark = pytest.mark.req("M9")
Cogwork = Callable[..., Result]


@pytest.fixture
def cogwork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cogwork:
    """Runs the command line in a folder of its own, and sees to its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, list(words))
        assert done.exit_code == code, done.output
        return done

    return run


def told(done: Result) -> Any:
    return json.loads(done.stdout)


def whose(text: str) -> str:
    """The role of who shows this token."""

    async def verified() -> str:
        with opened(Path(".cogwork/records.sqlite")) as records:
            return (await Tokens(records).verify(text)).role

    return asyncio.run(verified())


def test_a_token_is_printed_alone_and_once_so_that_a_variable_can_take_it(cogwork: Cogwork) -> None:
    made = cogwork("token", "create", "ci", "-r", "operator", "--meta", "team=shop")
    assert re.fullmatch(r"cw_[0-9a-f]{16}_[0-9a-f]{64}\n", made.stdout)
    assert "ci" in made.stderr and "is operator and holds until" in made.stderr
    assert "it is not shown again" in made.stderr
    assert whose(made.stdout.strip()) == "operator"
    secret = made.stdout.strip().split("_")[2]
    for words in (("token", "list"), ("token", "list", "--json"), ("audit",), ("audit", "--json")):
        shown = cogwork(*words)
        assert secret not in shown.output and "ci" in shown.output
    assert not any(secret.encode() in file.read_bytes() for file in Path(".cogwork").iterdir())
    assert "team=shop" in cogwork("token", "list").stdout


def test_a_token_is_rotated_and_revoked_by_its_name(cogwork: Cogwork) -> None:
    first = told(cogwork("token", "create", "ci", "--expires", "never", "--json"))
    assert (first["role"], first["expires_at"], first["state"]) == ("viewer", None, "valid")
    second = told(cogwork("token", "rotate", "ci", "--grace", "0", "--expires", "30d", "--json"))
    assert second["id"] == first["id"] and second["token"] != first["token"] and second["expires_at"] is not None
    with pytest.raises(Exception, match="not valid"):
        whose(first["token"])
    assert whose(second["token"]) == "viewer"
    assert "is revoked" in cogwork("token", "revoke", "ci").stderr
    assert told(cogwork("token", "list", "--json"))["tokens"] == []
    assert [each["state"] for each in told(cogwork("token", "list", "--all", "--json"))["tokens"]] == ["revoked"]
    assert "make one with: cogwork token create" in cogwork("token", "list").stdout


@pytest.mark.req("E7")
def test_what_is_wrong_about_a_token_is_said_with_what_to_do(cogwork: Cogwork) -> None:
    cogwork("token", "create", "nightly")
    assert "revoke it first" in cogwork("token", "create", "nightly", code=1).stderr
    assert "did you mean nightly" in cogwork("token", "revoke", "nightli", code=4).stderr
    assert "there are viewer, operator, author, admin" in cogwork("token", "create", "x", "-r", "root", code=2).stderr
    assert "must be a duration" in cogwork("token", "create", "x", "--expires", "soon", code=2).stderr


def test_who_made_and_ended_tokens_is_in_the_audit_log(cogwork: Cogwork) -> None:
    cogwork("token", "create", "ci")
    cogwork("token", "create", "ci", code=1)
    cogwork("token", "revoke", "ci")
    entries = told(cogwork("audit", "--json"))["entries"]
    seen = [(each["outcome"], each["details"]["action"]) for each in reversed(entries)]
    assert seen == [
        ("begun", "create"), ("done", "create"), ("begun", "create"), ("conflict", "create"),
        ("begun", "revoke"), ("done", "revoke"),
    ]  # fmt: skip
    assert {(each["principal_name"], each["verb"], each["target"], each["door"]) for each in entries} == {
        ("local", "tokens.write", "ci", "command line")
    }
    assert all(each["details"]["user"] for each in entries)
    first = told(cogwork("audit", "--outcome", "done", "-n", "1", "--json"))
    rest = told(cogwork("audit", "--outcome", "done", "-n", "1", "--cursor", first["cursor"], "--json"))
    assert [page["entries"][0]["details"]["action"] for page in (first, rest)] == ["revoke", "create"]
    assert told(cogwork("audit", "--until", "2020-01-01", "--json"))["entries"] == []
    assert "is no instant" in cogwork("audit", "--since", "yesterday", code=2).stderr
    assert re.search(
        r"^6 .* tokens\.write +done +ci +command line +action: revoke", cogwork("audit").stdout, re.MULTILINE
    )


def test_the_log_is_verified_exported_and_found_broken_where_it_was_changed(cogwork: Cogwork, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cogwork("token", "create", name)
    mark = told(cogwork("audit", "--verify", "--json"))["mark"]
    assert told(cogwork("audit", "--export", "audit.jsonl", "--json"))["mark"] == mark
    assert "4 entries, all as they were written" in cogwork("audit", "--verify").stdout
    assert "4 entries" in cogwork("audit", "--verify", "--file", "audit.jsonl").stdout
    assert "not written over" in cogwork("audit", "--export", "audit.jsonl", code=1).stderr
    cogwork("token", "create", "c")
    assert told(cogwork("audit", "--verify", "--mark", mark, "--json"))["entries"] == 2
    cogwork("audit", "--export", "more.jsonl", "--mark", mark)
    assert told(cogwork("audit", "--verify", "--file", "more.jsonl", "--mark", mark, "--json"))["entries"] == 2
    assert "is no mark" in cogwork("audit", "--verify", "--mark", "7", code=2).stderr
    with sqlite3.connect(tmp_path / ".cogwork" / "records.sqlite") as connection:
        connection.execute("DROP TRIGGER cogwork_audit_unchanged")
        connection.execute("UPDATE cogwork_audit SET principal_name = 'nobody' WHERE seq = 3")
    connection.close()
    assert "entry 3 is not as it was written: it was altered" in cogwork("audit", "--verify", code=1).stdout
    found = told(cogwork("audit", "--verify", "--json", code=1))
    assert found["broken"] == {"seq": 3, "why": "it was altered"} and found["entries"] == 2


def test_an_empty_log_is_verified_and_exported_as_one(cogwork: Cogwork) -> None:
    assert "nobody has done such a thing" in cogwork("audit").stderr
    assert "0 entries" in cogwork("audit", "--verify").stdout
    assert "is empty" in cogwork("audit", "--export", "none.jsonl").stdout
    assert Path("none.jsonl").read_text() == ""


@pytest.mark.req("E7")
def test_who_may_not_and_who_is_not_known_have_an_exit_code_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    from cogwork.cli.faults import complained
    from cogwork.errors import Unauthenticated
    from cogwork.identity.roles import Principal

    with pytest.raises(EngineError) as caught:
        Principal(id="v", name="vic", role="viewer").require("executions.start")
    assert complained(caught.value) == complained(Unauthenticated("expired")) == 6
    said = capsys.readouterr().err
    assert "vic is viewer, and executions.start takes the role operator" in said
    assert "The token is not valid" in said and "expired" not in said
