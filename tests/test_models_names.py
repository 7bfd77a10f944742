"""Which model a name means, and what the refusal of a name says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr

from cogwork.models.chat import ChatModels, Provider
from cogwork.models.offline import OfflineModel
from state.errors import Fault

KEYED = Provider(api_key=SecretStr("sk-x"))
OWN = Provider(base_url="http://127.0.0.1:1/v1", needs_key=False, models=("qwen-small", "qwen-large"))


def test_without_a_key_the_default_is_offline() -> None:
    assert isinstance(ChatModels().find(None), OfflineModel)
    assert ChatModels(providers={"openai": Provider()}).chosen(None) == "offline"


def test_with_an_openai_key_the_default_is_its_small_model() -> None:
    assert ChatModels(providers={"openai": KEYED}).chosen(None) == "openai:gpt-4o-mini"


def test_a_key_whose_models_are_not_allowed_leaves_the_default_offline() -> None:
    assert ChatModels(providers={"openai": KEYED}, allowed=["offline"]).chosen(None) == "offline"


@pytest.mark.req("D5")
def test_a_mode_has_its_own_model_and_a_name_outranks_it() -> None:
    models = ChatModels(per_mode={"coding": "local:qwen-large"}, providers={"local": OWN})
    assert models.chosen(None, mode="coding") == "local:qwen-large"
    assert models.chosen(None, mode="planning") == "offline"
    assert models.chosen("local:qwen-small", mode="coding") == "local:qwen-small"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("openai:gpt-4o", "set OPENAI_API_KEY"),
        ("ofline", "did you mean 'offline'?"),
        ("offline:extrct", "did you mean 'offline'?"),
        ("local:qwen-smal", "did you mean 'local:qwen-small'?"),
        ("lcal:qwen-small", "did you mean 'local:qwen-small'?"),
        ("qwen-small", "did you mean 'local:qwen-small'?"),
        ("local:", "names a provider but no model; write for example 'local:qwen-small'"),
        ("bare:model", "set the api_key of the provider 'bare'"),
        ("zzz", "add a provider with its base_url"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_what_to_do(name: str, says: str) -> None:
    models = ChatModels(providers={"local": OWN, "bare": Provider()})
    assert says in (models.problem(name) or "")
    with pytest.raises(Fault) as caught:
        models.find(name)
    assert caught.value.fault_class == "invalid_input"
    assert says in caught.value.message


def test_what_the_settings_do_not_allow_is_refused() -> None:
    models = ChatModels(providers={"local": OWN, "openai": KEYED}, allowed=["offline", "local:*"])
    assert models.problem("local:qwen-small") is None
    assert "do not allow" in (models.problem("openai:gpt-4o") or "")


@pytest.mark.parametrize("settings", [{"temperature": "hot"}, {"max_tokens": 0}, {"tempreture": 1}])
def test_call_settings_that_do_not_fit_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Fault) as caught:
        ChatModels().find("offline", settings=settings)
    assert next(iter(settings)) in caught.value.message


def test_names_worth_offering_can_all_be_found() -> None:
    models = ChatModels(providers={"local": OWN, "openai": Provider()})
    assert models.names() == ["local:qwen-large", "local:qwen-small", "offline"]


def test_a_key_is_not_shown() -> None:
    assert "sk-x" not in repr(KEYED) + repr(ChatModels(providers={"openai": KEYED}).find(None))


def test_naming_models_does_not_import_the_providers_client() -> None:
    code = (
        "import sys; from cogwork.models.chat import ChatModels; ChatModels().problem('openai:gpt-4o');"
        "sys.exit(any(m.partition('.')[0] in ('openai', 'langchain_openai') for m in sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode
        == 0
    )
