"""Secrets of the settings: handed to calls under their references, and taken out of whatever comes back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from cogwork.encodings import encodings
from state.errors import Fault
from state.services import SECRET
from state.values import Json

SHORTEST: Final = 6
"""Characters that a secret has at least: anything shorter would be found in ordinary text, and hidden there."""
SHORTEST_KEY: Final = 16
"""Characters from which on a key of the settings is hidden: shorter ones are words such as ``ollama``, and no keys."""
MAX_FILE: Final = 64 * 1024


class SecretSource(BaseModel):
    """Where a secret is read from: an environment variable, a file, or ``value`` itself, whichever is given.

    ``tools`` holds names or patterns of the tools that workflows may pass it to; any tool without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str | None = Field(None, description="The environment variable that holds it.")
    file: Path | None = Field(None, description="The file that holds it, and nothing else.")
    value: SecretStr | None = Field(None, description="The secret.")
    tools: tuple[str, ...] | None = Field(None, description="Names or patterns of the tools that may be given it.")

    @model_validator(mode="after")
    def _one(self) -> SecretSource:
        if [self.env, self.file, self.value].count(None) != 2:
            raise ValueError("a secret comes from one place: {env = …}, {file = …} or {value = …}")
        return self

    def serves(self, tool: str) -> bool:
        """Whether workflows may pass the secret to the tool of that name."""
        return self.tools is None or any(fnmatchcase(tool, pattern) for pattern in self.tools)

    def read(self, environment: Mapping[str, str]) -> str:
        """The secret, without the line break at its end.

        Raises:
            ValueError: it cannot be read; the sentence says why, and holds nothing of it.
        """
        if self.value is not None:
            return self.value.get_secret_value()
        if self.env is not None:
            if self.env not in environment:
                raise ValueError(f"the environment variable {self.env} is not set")
            return environment[self.env]
        assert self.file is not None
        try:
            with self.file.open("rb") as opened:
                raw = opened.read(MAX_FILE + 1)
        except OSError as error:
            raise ValueError(f"the file {self.file} cannot be read ({error.strerror})") from error
        if len(raw) > MAX_FILE:
            raise ValueError(f"the file {self.file} is larger than {MAX_FILE // 1024} KiB")
        try:
            return raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError(f"the file {self.file} holds no UTF-8 text") from None


class SecretStore:
    """The ``Secrets`` of the settings; each is read when first needed, and kept for as long as the store.

    Args:
        sources: what the settings say, by name.
        environment: the environment variables.
        hidden: further values that are taken out of what comes back, by what stands in their place; none can be referred to.
    """

    def __init__(
        self,
        sources: Mapping[str, SecretStr | SecretSource],
        environment: Mapping[str, str],
        hidden: Mapping[str, SecretStr] | None = None,
    ) -> None:
        self._sources, self._environment = dict(sources), environment
        self._hidden = {f"[{name}]": value for name, value in (hidden or {}).items()}

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._sources)

    def problem(self, name: str, *, tool: str = "") -> str | None:
        """Why the secret cannot be used: it is not known, cannot be read, or is not for that tool."""
        if name in self._sources:
            source, why = self._sources[name], self._read[1].get(name)
            if why:
                return f"The secret {name!r} has no value: {why}"
            if tool and isinstance(source, SecretSource) and not source.serves(tool):
                return f"The secret {name!r} is not for {tool}: the settings give it to {', '.join(source.tools or ())}"
            return None
        close = difflib.get_close_matches(name, self._sources, 1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        return f"There is no secret {name!r} in the settings{meant}"

    def resolve(self, value: Json) -> Json:
        """The value with its references replaced by the secrets."""
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return SECRET.sub(lambda found: self._value(found[1]), value) if isinstance(value, str) else value

    def redact(self, value: Json, *, cut: bool = False) -> Json:
        """The value with its secrets replaced by their references."""
        if not self._forms:
            return value
        blob = "\0".join(_scalars(value))
        present = [form for form in self._forms if form in blob]
        heads = [head for head in self._heads if head in blob] if cut else []
        if not present and not heads:
            return value
        pattern = re.compile("|".join(map(re.escape, present))) if present else None
        return self._without(value, pattern, heads)

    def _value(self, name: str) -> str:
        if (why := self.problem(name)) is not None:
            raise Fault("invalid_input", why, origin="tool", stage="arguments")
        return self._read[0][name]

    @cached_property
    def _read(self) -> tuple[dict[str, str], dict[str, str]]:
        """The secrets that can be used, and why the others cannot."""
        values: dict[str, str] = {}
        faults: dict[str, str] = {}
        for name, source in self._sources.items():
            try:
                text = source.get_secret_value() if isinstance(source, SecretStr) else source.read(self._environment)
                values[name] = _usable(name, text)
            except ValueError as error:
                faults[name] = str(error)
        return values, faults

    @cached_property
    def _forms(self) -> dict[str, str]:
        """What a secret may look like to what stands in its place; the longest first."""
        known = {
            value.get_secret_value(): mark
            for mark, value in self._hidden.items()
            if len(value.get_secret_value()) >= SHORTEST_KEY
        }
        known |= {value: f"secret://{name}" for name, value in self._read[0].items()}
        forms: dict[str, str] = {}
        for value, mark in known.items():
            for form in encodings(value):
                forms.setdefault(form, mark)
        return dict(sorted(forms.items(), key=lambda pair: -len(pair[0])))

    @cached_property
    def _heads(self) -> dict[str, list[str]]:
        """The first characters of the forms, to the forms that begin so."""
        heads: dict[str, list[str]] = {}
        for form in self._forms:
            if len(form) > SHORTEST:
                heads.setdefault(form[:SHORTEST], []).append(form)
        return heads

    def _without(self, value: Json, pattern: re.Pattern[str] | None, heads: list[str]) -> Json:
        if isinstance(value, str):
            text = pattern.sub(lambda found: self._forms[found[0]], value) if pattern is not None else value
            return self._untailed(text, heads)
        if isinstance(value, dict):
            return {
                self._without(key, pattern, heads): self._without(item, pattern, heads) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._without(item, pattern, heads) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._forms.get(str(value), value)
        return value

    def _untailed(self, text: str, heads: list[str]) -> str:
        """The text without the beginning of a secret in which it was cut off."""
        for head in heads:
            for form in self._heads[head]:
                at = text.rfind(head, max(0, len(text) - len(form)))
                if at >= 0 and form.startswith(text[at:]):
                    text = text[:at] + self._forms[form]
        return text


def keys_of(settings: object, name: str = "") -> dict[str, SecretStr]:
    """The keys that settings hold at any depth, by the names of their fields: ``openai_api_key``, ``providers.local.api_key``.

    What is named under ``secrets`` is none of them: it has a reference of its own.
    """
    if isinstance(settings, SecretStr):
        return {name: settings}
    if isinstance(settings, BaseModel):
        parts: dict[str, object] = {field: getattr(settings, field) for field in type(settings).model_fields}
    elif isinstance(settings, Mapping):
        parts = {str(key): value for key, value in settings.items()}
    elif isinstance(settings, list | tuple):
        parts = {str(index): value for index, value in enumerate(settings)}
    else:
        return {}
    found: dict[str, SecretStr] = {}
    for part, value in parts.items():
        if name or part != "secrets":
            found |= keys_of(value, f"{name}.{part}" if name else part)
    return found


def _scalars(value: Json) -> Iterator[str]:
    """The texts of a value, and its numbers as texts."""
    if isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)


def _usable(name: str, text: str) -> str:
    if len(text.strip()) < SHORTEST:
        raise ValueError(f"it is shorter than {SHORTEST} characters, and could not be told from ordinary text")
    if text in f"secret://{name}":
        raise ValueError("it is a part of its own reference")
    return text
