"""Settings from files: environment variables within them, a file per environment, and what ``config`` shows of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cogwork.cli.config import leaves
from cogwork.cli.root import cli
from cogwork.configuration import ConfigurationError
from cogwork.documented import KEYS, Becomes
from cogwork.origins import WrongSettings
from cogwork.settings import Settings
from cogwork.toml_places import places

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
    with pytest.raises(WrongSettings) as caught:
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
    told = {name: (row["value"], row["source"]) for name, row in rows.items()}
    assert told["model"] == ("offline", "COGWORK_MODEL")
    assert told["state_dir"] == ("s", "cogwork.toml:1")
    assert told["prompts"] == (["q"], "cogwork.prod.toml:1")
    assert told["models"] == ({"coding": "openai:a", "planning": "openai:b"}, "cogwork.toml, cogwork.prod.toml")
    assert rows["models"]["parts"] == {"models.coding": "cogwork.toml:4", "models.planning": "cogwork.prod.toml:3"}
    assert told["allow_python"] == (False, "default")
    assert {name.partition(".")[0] for name in rows} == set(Settings.model_fields)
    assert all(row["description"] and row["allowed"] and row["variable"] for row in rows.values())


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


def test_one_setting_is_explained_with_what_it_may_be_and_where_each_part_comes_from(
    write: Write, config: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    write('session_ttl = "forever"\n[engine]\nconcurrency = 5\n[retention]\nevents = "7d"\n')
    monkeypatch.setenv("COGWORK_ENGINE__WORKERS", "3")
    monkeypatch.setenv("COGWORK_MODELS", '{"coding": "openai:a"}')
    told = config("--explain", "engine").stdout
    for line in ("from 1 to 10000", "COGWORK_ENGINE__CONCURRENCY", "cogwork.toml:3", "How many executions a worker"):
        assert line in told
    rows = json.loads(config("--json").stdout)
    assert (rows["engine.workers"]["value"], rows["engine.workers"]["source"]) == (3, "COGWORK_ENGINE__WORKERS")
    assert (rows["engine.poll_seconds"]["default"], rows["engine.poll_seconds"]["source"]) == ("0.1", "default")
    assert (rows["retention.events"]["value"], rows["retention.events"]["source"]) == (7 * 86400, "cogwork.toml:5")
    assert (rows["session_ttl"]["value"], rows["session_ttl"]["source"]) == ("forever", "cogwork.toml:1")
    assert rows["models"]["parts"] == {"models.coding": "COGWORK_MODELS"}
    assert list(json.loads(config("--explain", "models.coding", "--json").stdout)) == ["models"]
    done = config("--explain", "engine.concurency")
    assert (done.exit_code, "did you mean 'engine.concurrency'?" in done.stderr) == (4, True)


def test_all_defaults_are_told_with_their_meaning_even_where_a_file_is_wrong(
    write: Write, config: Callable[..., Result]
) -> None:
    write("nonsense = 1")
    assert config().exit_code == 2
    rows = json.loads(config("--defaults", "--json").stdout)
    assert rows["engine.concurrency"]["default"] == "100"
    assert rows["retention.failed"]["default"] == '"365d"'
    assert all(row["description"] for row in rows.values())
    assert "How long" in config("--defaults").stdout


# -- what is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "variables", "arguments", "says"),
    [
        (
            "a = 1\nsynchronus = 1",
            {},
            {},
            "cogwork.toml:2: there is no setting 'synchronus'; did you mean 'synchronous'?",
        ),
        (
            "[engine]\nconcurency = 1",
            {},
            {},
            "cogwork.toml:2: there is no setting 'concurency' in engine; did you mean",
        ),
        ("engine = {concurency = 1}", {}, {}, "cogwork.toml:1: there is no setting 'concurency' in engine"),
        (
            '[providers.own]\nbase_url = "http://h"\n[providers.own.headers]\na = "b"\n[providers.two]\nbase_ur = "x"',
            {},
            {},
            "cogwork.toml:6: there is no setting 'base_ur' in providers.two; did you mean 'base_url'?",
        ),
        (
            "",
            {"COGWORK_SYNCHRONUS": "x"},
            {},
            "COGWORK_SYNCHRONUS: there is no such setting; did you mean 'COGWORK_SYN",
        ),
        (
            "",
            {"COGWORK_ENGINE__WORKER": "1"},
            {},
            "COGWORK_ENGINE__WORKER: there is no setting 'worker' in engine; did you",
        ),
        (
            "",
            {"COGWORK_ENGINE": '{"worker": 1}'},
            {},
            "COGWORK_ENGINE: there is no setting 'worker' in engine; did you",
        ),
        ("", {}, {"modell": "x"}, "the argument modell: there is no setting 'modell'; did you mean 'model'?"),
        ("", {}, {"engine": {"worker": 1}}, "the argument engine.worker: there is no setting 'worker' in engine"),
        (
            "[engine]\n\nworkers = 0",
            {},
            {},
            "cogwork.toml:3: engine.workers: Input should be greater than or equal to 1",
        ),
        ("", {"COGWORK_ENGINE__WORKERS": "0"}, {}, "COGWORK_ENGINE__WORKERS: engine.workers: Input should be greater"),
        (
            "",
            {"COGWORK_SYNCHRONOUS": "OFF"},
            {},
            "COGWORK_SYNCHRONOUS: synchronous: Input should be 'FULL' or 'NORMAL'",
        ),
        ('roots = [\n"a",\n1]', {}, {}, "cogwork.toml:3: roots[1]: Input is not a valid path"),
        ("", {"COGWORK_ROOTS": "a"}, {}, "COGWORK_ROOTS: lists and tables are written as JSON"),
        ('[retention]\nfailed = "long"', {}, {}, "cogwork.toml:2: retention.failed: must be a duration such as 30s"),
        ("[retention]\npayloads = 60", {}, {}, "cogwork.toml:2: retention.payloads: Input should be greater than or"),
        ("[retention]\nfailed = -1", {}, {}, "cogwork.toml:2: retention.failed: must be a duration of more than zero"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_is_meant(
    write: Write,
    config: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    variables: dict[str, str],
    arguments: dict[str, Any],
    says: str,
) -> None:
    write(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as caught:
        Settings(**arguments)
    assert any(says in fault for fault in caught.value.faults), caught.value.faults
    if not arguments:
        done = config()
        assert (done.exit_code, says in done.stderr) == (2, True)


def test_everything_that_is_wrong_is_told_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a = 1\n[engine]\nworkers = 0\n", prod="b = 1\n")
    monkeypatch.setenv("COGWORK_ENV", "prod")
    monkeypatch.setenv("COGWORK_CC", "1")
    with pytest.raises(WrongSettings) as caught:
        Settings()
    assert sorted(fault.partition(": ")[0] for fault in caught.value.faults) == [
        *("COGWORK_CC", "cogwork.prod.toml:1", "cogwork.toml:1", "cogwork.toml:3")
    ]


def test_a_variable_that_a_file_refers_to_is_no_setting_and_no_fault(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGWORK_DATA", "/data")
    write('state_dir = "${COGWORK_DATA}/state"')
    assert Settings().state_dir == Path("/data/state")


def test_arguments_go_over_variables_those_over_the_environments_file_and_that_over_the_common_one(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def concurrency(**arguments: Any) -> list[int | str]:
        found = Settings(**arguments)
        return [found.engine.concurrency, found.engine.workers]

    assert concurrency() == [100, 1]
    write("[engine]\nconcurrency = 1\nworkers = 11\n", prod="[engine]\nconcurrency = 2\n")
    assert concurrency() == [1, 11]
    monkeypatch.setenv("COGWORK_ENV", "prod")
    assert concurrency() == [2, 11]
    monkeypatch.setenv("COGWORK_ENGINE__CONCURRENCY", "3")
    assert concurrency() == [3, 11]
    assert concurrency(engine={"concurrency": 4}) == [4, 11]


# -- configurations of other engines -------------------------------------------------------------------------------


def test_the_keys_of_other_engines_become_settings(write: Write) -> None:
    write()
    found = Settings.from_documents(
        {
            "connection_pool_size": 20,
            "compression_threshold": 2048,
            "maxConcurrentWorkflows": 7,
            "sessionTimeout": 1_800_000,
            "conversationHistoryLimit": 12,
            "errorRetentionDays": 30,
            "defaultLLMModel": "offline",
            "engine": {"workers": 2},
        }
    )
    assert (found.connection_pool_size, found.compression_above) == (20, 2048)
    assert (found.engine.concurrency, found.engine.workers) == (7, 2)
    assert (found.session_ttl, found.history.messages, found.retention.failed) == (1800, 12, 30 * 86400)
    assert found.model == "offline"


def test_keys_that_mean_nothing_here_are_refused_with_what_to_use_and_no_value(write: Write) -> None:
    write()
    config = {
        "mongo_uri": "mongodb://me:canary-4711@localhost:27017/",
        "redis_uri": "redis://localhost:6379/0",
        "neo4j_uri": "bolt://localhost:7687",
        "neo4j_user": "neo4j",
        "neo4j_password": "canary-4711",
        "pinecone_api_key": "canary-4711",
        "pinecone_environment": "production",
        "connection_pool_size": 10,
        "cache_ttl": 300,
        "compression_threshold": 1024,
        "batch_size": 100,
        "retry_count": 3,
        "log_level": "INFO",
    }
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_documents(config)
    told = str(refused.value)
    assert "canary-4711" not in told
    for key in config.keys() - {"connection_pool_size", "compression_threshold"}:
        assert f"{key}: " in told
    with pytest.raises(WrongSettings, match="there is no setting 'conection_pool_size'; did you mean"):
        Settings.from_documents({"conection_pool_size": 1})


@pytest.mark.parametrize("key", [key for key, meant in KEYS.items() if isinstance(meant, Becomes)])
def test_what_a_key_becomes_is_a_setting(key: str) -> None:
    meant = KEYS[key]
    assert isinstance(meant, Becomes)
    assert meant.setting in dict(leaves(Settings))


# -- places --------------------------------------------------------------------------------------------------------

TOML = """
a = 1 # b = 2
"c.d" = [
  "x]",
  {e = 1, f.g = [1, 2]},
] # end
h = '''
[not]
a = 2
'''
[t.u]
when = 1979-05-27T07:32:00Z
[[v]]
w = 1
[[v]]
w = 2
[v.x]
y = \"\"\"a\\\"\"\"\"
z = 0x1F
"""


def test_every_key_of_a_file_has_its_line() -> None:
    tomllib.loads(TOML)
    found = places(TOML)
    assert {path: line for path, line in found.items() if path[-1] not in ("f",)} == {
        ("a",): 2,
        ("c.d",): 3,
        ("c.d", 0): 4,
        ("c.d", 1): 5,
        ("c.d", 1, "e"): 5,
        ("c.d", 1, "f", "g"): 5,
        ("c.d", 1, "f", "g", 0): 5,
        ("c.d", 1, "f", "g", 1): 5,
        ("h",): 7,
        ("t",): 11,
        ("t", "u"): 11,
        ("t", "u", "when"): 12,
        ("v",): 13,
        ("v", 0): 13,
        ("v", 0, "w"): 14,
        ("v", 1): 15,
        ("v", 1, "w"): 16,
        ("v", 1, "x"): 17,
        ("v", 1, "x", "y"): 18,
        ("v", 1, "x", "z"): 19,
    }


@given(st.text(alphabet="a=[]{}\"'.,#\n 1\\", max_size=40))
def test_any_text_is_read_to_its_end(text: str) -> None:
    places(text)
