"""Settings from files: environment variables within them, a file per environment, and what ``config`` shows of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from cogwork.cli.root import cli
from cogwork.configuration import ConfigurationError
from cogwork.settings import Settings

pytestmark = pytest.mark.req("M4", "X13")

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes ``cogwork.toml`` and ``cogwork.<env>.toml`` of an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("COGWORK_ENV", "COGWORK_MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def written(text: str = "", **more: str) -> None:
        (tmp_path / "cogwork.toml").write_text(text)
        for env, own in more.items():
            (tmp_path / f"cogwork.{env}.toml").write_text(own)

    return written


@pytest.fixture
def config(write: Write) -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(cli, ["config", *words], catch_exceptions=False)


# -- variables ---------------------------------------------------------------------------------------------------


def test_variables_are_replaced_in_texts_at_any_depth(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/data")
    monkeypatch.setenv("SIZE", "small")
    write('state_dir = "${WHERE}/state"\nroots = [".", "${WHERE}"]\n[models]\ncoding = "openai:${SIZE}"\n')
    found = Settings()
    assert found.state_dir == Path("/data/state")
    assert found.roots == [Path("."), Path("/data")]
    assert found.models == {"coding": "openai:small"}


@pytest.mark.parametrize(
    ("text", "held", "value"),
    [
        ("${NAME:-other}", None, "other"),
        ("${NAME:-other}", "", "other"),
        ("${NAME:-other}", "x", "x"),
        ("a${NAME:-}b", None, "ab"),
        ("a${NAME}b", "", "ab"),
        ("$${NAME}", "x", "${NAME}"),
        ("$$${NAME}", "x", "$${NAME}"),
        ("$NAME {NAME} $", "x", "$NAME {NAME} $"),
        ("${NAME}", "${HOME}$${X}", "${HOME}$${X}"),
    ],
)
def test_what_a_variable_becomes(
    write: Write, monkeypatch: pytest.MonkeyPatch, text: str, held: str | None, value: str
) -> None:
    monkeypatch.setenv("NAME", held) if held is not None else monkeypatch.delenv("NAME", raising=False)
    write(f'model = "{text}"')
    assert Settings().model == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('model = "${NOT_SET}"', "cogwork.toml: model: the environment variable NOT_SET is not set"),
        ('[models]\ncoding = "${NOT_SET}"', "cogwork.toml: models.coding: the environment variable NOT_SET"),
        ('roots = ["a", "${NOT_SET}"]', "cogwork.toml: roots[1]: the environment variable NOT_SET"),
        ('model = "${1}"', "cogwork.toml: model: '${' must be ${NAME}"),
        ('model = "${A"', "cogwork.toml: model: '${' must be ${NAME}"),
        ("model = ", "cogwork.toml cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_what_to_do(
    write: Write, config: Callable[..., Result], text: str, says: str
) -> None:
    write(text)
    with pytest.raises(ConfigurationError) as caught:
        Settings()
    assert says in str(caught.value)
    done = config()
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_secret_from_a_variable_is_in_no_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-4711")
    write('[prices]\nx = ["${CANARY}", 1]\n')
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "canary-4711" not in str(caught.value)


# -- environments ------------------------------------------------------------------------------------------------


def test_the_file_of_the_environment_goes_over_the_common_one(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    common = 'model = "offline"\nroots = ["a", "b"]\n[models]\ncoding = "openai:a"\nplanning = "openai:b"\n'
    write(common, prod='roots = ["c"]\n[models]\ncoding = "openai:c"\n')
    assert Settings().models["coding"] == "openai:a"
    monkeypatch.setenv("COGWORK_ENV", "prod")
    found = Settings()
    assert found.model == "offline"
    assert found.models == {"coding": "openai:c", "planning": "openai:b"}
    assert found.roots == [Path("c")]
    monkeypatch.setenv("COGWORK_MODEL", "openai:env")
    assert Settings().model == "openai:env"
    assert Settings(model="openai:given").model == "openai:given"


@pytest.mark.parametrize(
    ("env", "says"),
    [("prd", "there is no cogwork.prd.toml"), ("../x", "must be a name"), ("a/b", "must be a name")],
)
def test_an_environment_without_a_file_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch, env: str, says: str
) -> None:
    write("", prod="")
    monkeypatch.setenv("COGWORK_ENV", env)
    with pytest.raises(ConfigurationError, match=says):
        Settings()


# -- config ------------------------------------------------------------------------------------------------------


def test_config_tells_each_value_and_where_it_comes_from(
    write: Write, config: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        'state_dir = "s"\nprompts = ["p"]\n[models]\ncoding = "openai:a"\n',
        prod='prompts = ["q"]\n[models]\nplanning = "openai:b"\n',
    )
    monkeypatch.setenv("COGWORK_ENV", "prod")
    monkeypatch.setenv("COGWORK_MODEL", "offline")
    rows = json.loads(config("--json").stdout)
    assert rows["model"] == {"value": "offline", "source": "COGWORK_MODEL"}
    assert rows["state_dir"] == {"value": "s", "source": "cogwork.toml"}
    assert rows["prompts"] == {"value": ["q"], "source": "cogwork.prod.toml"}
    assert rows["models"] == {
        "value": {"coding": "openai:a", "planning": "openai:b"},
        "source": "cogwork.toml, cogwork.prod.toml",
    }
    assert rows["allow_python"] == {"value": False, "source": "default"}
    assert set(rows) == set(Settings.model_fields)


def test_config_shows_no_secret(write: Write, config: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-4711"
    monkeypatch.setenv("CANARY", canary)
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://me:{canary}@models.example/v1")
    write('database_url = "postgresql://me:${CANARY}@db/x"\n[models]\ncoding = "openai:${CANARY}"\n')
    for words in ((), ("--json",), ("models",)):
        assert canary not in config(*words).output
    rows = json.loads(config("--json").stdout)
    assert rows["openai_api_key"]["value"] == rows["database_url"]["value"] == "********"
    assert rows["openai_base_url"]["value"] == "https://********@models.example/v1"
    assert rows["models"]["value"] == {"coding": "openai:${CANARY}"}


@pytest.mark.parametrize(
    ("key", "value", "written", "shown"),
    [
        ("headers", {"Authorization": "Bearer x"}, {"Authorization": "Bearer ${T}"}, {"Authorization": "Bearer ${T}"}),
        ("headers", {"Authorization": "Bearer x"}, {"Authorization": "Bearer x"}, {"Authorization": "********"}),
        ("headers", {"X-Api-Key": "x"}, {"X-Api-Key": "${T:-x}"}, {"X-Api-Key": "********"}),
        ("args", ["--token", "x"], ["--token", "${T}"], ["--token", "${T}"]),
        ("rate", 5, "${RATE}", "${RATE}"),
    ],
)
def test_what_may_be_seen_of_a_nested_value(key: str, value: object, written: object, shown: object) -> None:
    from cogwork.cli import config as command

    assert command.shown(value, written, key) == shown


def test_one_setting_can_be_asked_for(write: Write, config: Callable[..., Result]) -> None:
    write()
    assert list(json.loads(config("model", "--json").stdout)) == ["model"]
    done = config("synchronus")
    assert (done.exit_code, "did you mean 'synchronous'?" in done.stderr) == (4, True)
