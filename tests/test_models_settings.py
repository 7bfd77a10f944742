"""Endpoints, models and modes as a person writes them into cogwork.toml, and what the command ``models`` shows of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.app import App
from cogwork.cli.root import cli
from cogwork.origins import WrongSettings
from cogwork.settings import Settings

TOML = """
model = "own:large"

[providers.own]
base_url = "${OWN_ADDRESS:-http://127.0.0.1:9/v1}"
api_key = "${OWN_KEY}"
headers = {X-Team = "${OWN_TEAM:-harbour}"}
requests_per_minute = 60
max_concurrency = 4

[model_facts."own:large"]
context_length = 131072
max_output_tokens = 8192
capabilities = ["tools", "json_schema", "streaming"]
price = {input = 2.5, output = 10, cached_input = 1.25}
temperature = 0.2

[model_facts."own:small"]
price = [0.1, 0.4]

[models]
planning = "own:small"

[modes.coding]
model = "own:large"
temperature = 0.0
fallback = ["own:small", "offline"]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with that file, in which the tests work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OWN_KEY", "sk-canary-4711")
    (tmp_path / "cogwork.toml").write_text(TOML)
    return tmp_path


def cogwork(*words: str) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(cli, list(words), env={"COLUMNS": "200"})


@pytest.mark.req("X13", "X6")
def test_endpoints_models_and_modes_are_tables_of_the_settings(home: Path) -> None:
    known = App(settings=Settings()).models
    assert (known.chosen(None), known.chosen(None, mode="planning"), known.chosen(None, mode="coding")) == (
        "own:large",
        "own:small",
        "own:large",
    )
    assert (known.fallbacks("coding"), known.fallbacks("planning"), known.fallbacks(None)) == (
        ("own:small", "offline"),
        (),
        (),
    )
    info = known.info("own:large")
    assert (info.context_length, info.max_output_tokens, info.capabilities) == (
        131072,
        8192,
        ("tools", "json_schema", "streaming"),
    )
    assert info.price is not None and tuple(info.price) == (2.5, 10, 1.25, None)
    assert known.price("small") == known.price("own:small") == (0.1, 0.4, None, None)


@pytest.mark.req("X13", "M4")
def test_texts_of_an_endpoint_may_name_variables_of_the_environment(home: Path) -> None:
    own = Settings().providers["own"]
    assert (own.key, own.address, own.headers["X-Team"].get_secret_value()) == (
        "sk-canary-4711",
        "http://127.0.0.1:9/v1",
        "harbour",
    )
    assert "canary" not in repr(Settings())


def test_a_variable_that_is_not_set_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OWN_KEY")
    refused = cogwork("models")
    assert refused.exit_code == 2
    assert "providers" in refused.output and "OWN_KEY is not set" in refused.output


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("providers", {"own": {"base_url": "ftp://x"}}, "must be an address such as"),
        ("providers", {"own": {"kind": "openal"}}, "'openai' or 'anthropic'"),
        ("providers", {"own": {"timeout": 3}}, "no setting 'timeout' in providers.own; did you mean 'timeout_s'"),
        ("providers", {"own": {"requests_per_minute": 0}}, "greater than or equal to 1"),
        ("providers", {"a:b": {}}, "a provider cannot be named 'a:b'"),
        ("providers", {"offline": {}}, "a provider cannot be named 'offline'"),
        ("model_facts", {"own:x": {"price": [1]}}, "a price is [input, output]"),
        ("model_facts", {"own:x": {"price": [-1, 2]}}, "greater than or equal to 0"),
        ("model_facts", {"own:x": {"capabilities": ["flying"]}}, "'tools'"),
        ("model_facts", {"own:x": {"temperature": 3}}, "less than or equal to 2"),
        ("modes", {"singing": {}}, "unknown modes: singing"),
        ("modes", {"coding": {"model": "a:b", "fallback": ["a:b"]}}, "fallback must name other models"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_with_its_place(field: str, value: Any, says: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        Settings(**{field: value})
    assert says in str(caught.value)
    assert f"the argument {field}" in str(caught.value)


def test_the_vendors_keys_of_the_environment_still_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-b")
    known = App(settings=Settings()).models
    assert known.chosen(None) == "openai:gpt-4o-mini"
    assert (known.problem("anthropic:claude-x"), known.problem("openai:gpt-x")) == (None, None)


def test_a_vendors_endpoint_may_have_limits_and_its_key_from_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a")
    (home / "cogwork.toml").write_text("[providers.openai]\nrequests_per_minute = 60\n")
    openai = App(settings=Settings()).models._names.providers["openai"]
    assert (openai.key, openai.requests_per_minute, openai.usable) == ("sk-a", 60, True)


def test_a_key_of_the_environment_goes_to_no_address_of_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a")
    (home / "cogwork.toml").write_text('[providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\n')
    assert Settings().providers["openai"].key == ""
    assert App(settings=Settings()).models._names.providers["openai"].key == ""


@pytest.mark.req("X6")
def test_the_command_lists_models_with_what_is_known_of_them(home: Path) -> None:
    shown = cogwork("models").output
    line = next(line for line in shown.splitlines() if line.startswith("own:large"))
    assert all(part in line for part in ("ready", "131,072", "tools, json_schema", "2.5 in, 10 out", "default, coding"))
    listed = {each["name"]: each for each in json.loads(cogwork("models", "--json").output)}
    assert listed["own:small"]["used_as"] == ["planning", "coding (fallback)"]
    assert listed["own:small"]["price"] == {"input": 0.1, "output": 0.4}
    assert listed["offline"]["state"] == "ready"
    assert "canary" not in str(listed)


@pytest.mark.req("X6")
def test_warming_a_model_whose_endpoint_is_down_says_so_and_fails(home: Path) -> None:
    shown = cogwork("models", "own:large", "--warm")
    assert shown.exit_code == 1
    assert "[connection]" in shown.output and "fails" in shown.output
    every = {each["name"]: each for each in json.loads(cogwork("models", "--warm", "--json").output)}
    assert "[connection]" in every["own:small"]["error"]
    assert "error" not in every["offline"]


def test_an_unknown_model_is_shown_with_what_is_meant(home: Path) -> None:
    shown = cogwork("models", "own:")
    assert shown.exit_code == 1
    assert "names a provider but no model; write for example 'own:large'" in shown.output


def test_a_provider_whose_library_is_missing_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['langchain_anthropic'] = None\n"
        "from cogwork.models.chat import ChatModels, Provider\n"
        "from state.errors import Fault\n"
        "known = ChatModels(providers={'a': Provider(kind='anthropic', base_url='http://127.0.0.1:9')})\n"
        "try: known.find('a:claude')\n"
        "except Fault as fault: print(fault.fault_class, fault.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}, check=True
    )
    assert done.stdout.startswith("invalid_input The model 'a:claude' needs langchain_anthropic")
    assert "pip install 'cogwork[anthropic]'" in done.stdout
