"""Agents as files: people's YAML and JSON, and the JSON that calls left before there were records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cogwork.agents.records import RegisteredAgent, agent_id
from cogwork.errors import EngineError
from graphs.language.spec import Agent, full_schema
from graphs.language.yaml import read_yaml
from state.errors import SpecError

SUFFIXES: Final = (".yaml", ".yml", ".json")


def agent_of(name: str, fields: Mapping[str, Any]) -> Agent:
    """The agent of these fields.

    Raises:
        EngineError: ``invalid_input``, with every place that does not fit.
    """
    output = fields.get("output")
    whole = {**fields, "output": full_schema(output)} if isinstance(output, Mapping) else fields
    try:
        return Agent.model_validate(whole)
    except ValidationError as err:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_url=False))
        raise EngineError("invalid_input", f"The agent {name!r} does not fit: {places}") from err


def read_agent(path: Path) -> tuple[str, dict[str, Any]]:
    """The name and the fields of the agent that a YAML or JSON file declares; its name is the file's where it gives none.

    Raises:
        EngineError: ``invalid_input``; the file cannot be read, or holds no mapping.
    """
    try:
        read = read_yaml(path.read_text(encoding="utf-8"), file=str(path)).value
    except (SpecError, UnicodeDecodeError, OSError) as err:
        raise EngineError("invalid_input", f"{path} cannot be read: {err}") from err
    if not isinstance(read, Mapping):
        raise EngineError("invalid_input", f"{path} does not declare an agent: it holds no mapping")
    fields = {str(key): value for key, value in read.items()}
    return str(fields.pop("name", path.stem)), fields


def declared(path: Path) -> RegisteredAgent:
    """The agent that a file of a person declares; its id is made from the file's name."""
    name, fields = read_agent(path)
    return RegisteredAgent(id=agent_id(path.stem), name=name, agent=agent_of(name, fields), source=str(path))


def read_record(path: Path, kind: type[Any]) -> Any:
    """What a call left in a file.

    Raises:
        EngineError: ``invalid_input``; somebody has changed it.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as err:
        raise EngineError("invalid_input", f"{path} cannot be read: {err}") from err
