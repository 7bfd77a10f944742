"""Answers from the command line, matched with the questions that are open, and the command that gives them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cogwork.cli.exits import Refusal
from cogwork.cli.values import coerced, pair, parsed
from state.values import Json

Question = Mapping[str, Any]
"""What a person is asked: ``at``, ``ask``, ``form``, ``show``?, ``deadline``?."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The ``-a``, ``--answer`` and ``--limit`` options of one command."""

    fields: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fields or self.whole or self.limits)

    def __str__(self) -> str:
        return ", ".join([*self.fields, *self.whole, *(f"--limit {limit}" for limit in self.limits)])

    def answers(self, questions: Sequence[Question]) -> dict[str, Json]:
        """Answer by path, for those of the questions that the options answer.

        Raises:
            Refusal: an option that fits no open question.
        """
        by_path = {str(question["at"]): question for question in questions}
        answers: dict[str, Json] = {}
        for text in self.whole:
            path, value = _split_path(text, by_path, "--answer")
            answers[path] = parsed(value, f"--answer {path}")
        for text in self.fields:
            path, field, value = _placed(text, by_path)
            schema = _fields(by_path[path]).get(field, {})
            answers.setdefault(path, {})
            if not isinstance(answers[path], dict):
                raise Refusal(f"{path} is answered by --answer with something that has no fields")
            answers[path][field] = coerced(schema, value)
        for text in self.limits:
            path, name, value = _limit(text, questions)
            answers.setdefault(path, {})[name] = value
        return answers

    def waiting_for(self, questions: Iterable[Question]) -> Given:
        """The options that are about these questions; the rest may be about later ones."""
        return Given(
            fields=tuple(text for text in self.fields if _about(text, questions, fields=True)),
            whole=tuple(text for text in self.whole if _about(text, questions, fields=False)),
            limits=self.limits if any(question.get("kind") == "budget" for question in questions) else (),
        )

    def without(self, used: Given) -> Given:
        """The options that are left when ``used`` are taken."""
        return Given(
            fields=tuple(text for text in self.fields if text not in used.fields),
            whole=tuple(text for text in self.whole if text not in used.whole),
            limits=tuple(text for text in self.limits if text not in used.limits),
        )


def _about(text: str, questions: Iterable[Question], *, fields: bool) -> bool:
    key = text.partition("=")[0].strip()
    for question in questions:
        if key == question["at"] or (fields and (key in _fields(question) or key.startswith(f"{question['at']}."))):
            return True
    return False


def _split_path(text: str, questions: Mapping[str, Question], option: str) -> tuple[str, str]:
    path, value = pair(text, option)
    if path not in questions:
        raise Refusal(f"Nothing is asked at {path!r}", f"open: {', '.join(sorted(questions)) or 'nothing'}")
    return path, value


def _placed(text: str, questions: Mapping[str, Question]) -> tuple[str, str, str]:
    """The question and field that ``-a key=value`` is about."""
    key, value = pair(text, "-a")
    asking = [path for path, question in questions.items() if key in _fields(question)]
    if len(asking) == 1:
        return asking[0], key, value
    if len(asking) > 1:
        raise Refusal(
            f"Several questions have a field {key!r}", f"write -a {_quoted(f'{sorted(asking)[0]}.{key}={value}')}"
        )
    prefixes = [path for path in questions if key.startswith(f"{path}.")]
    if prefixes:
        path = max(prefixes, key=len)
        return path, key[len(path) + 1 :], value
    if len(questions) == 1:
        return next(iter(questions)), key, value
    raise Refusal(f"-a {key}: no open question has such a field", _offered(questions))


def _limit(text: str, questions: Sequence[Question]) -> tuple[str, str, Json]:
    """The question for a higher limit that ``--limit name=value`` answers, with the limit's name and value."""
    name, value = pair(text, "--limit")
    asked = next((question for question in questions if question.get("kind") == "budget"), None)
    if asked is None:
        raise Refusal(f"--limit {name}: the run does not rest at a limit")
    if name not in _fields(asked):
        raise Refusal(f"--limit {name}: the run rests at {', '.join(_fields(asked))}")
    return str(asked["at"]), name, _amount(name, value, _fields(asked)[name])


def _amount(name: str, text: str, schema: Any) -> Json:
    """A limit's value; a time may be written as a duration, ``10m``."""
    if name == "timeout":
        from nodes.base import seconds

        try:
            return seconds(coerced({"type": "number"}, text))
        except ValueError as err:
            raise Refusal(f"--limit {name}: {text!r} {err}") from err
    return coerced(schema if isinstance(schema, dict) else {}, text)


def _offered(questions: Mapping[str, Question]) -> str:
    offered = [f"{path}.{field}" for path, question in questions.items() for field in _fields(question)]
    return f"there are {', '.join(offered)}" if offered else "nothing is asked"


def _fields(question: Question) -> dict[str, Any]:
    properties = question.get("form", {}).get("properties")
    return properties if isinstance(properties, dict) else {}


def resume_command(run: str, questions: Sequence[Question]) -> str:
    """The command that answers these questions, with an example for each field that must be given."""
    words = ["cogwork", "resume", run]
    for question in questions:
        if question.get("kind") == "budget":
            words += [word for name, schema in _shown(question) for word in ("--limit", f"{name}={example(schema)}")]
            continue
        prefix = f"{question['at']}." if len(questions) > 1 else ""
        for name, schema in _shown(question):
            value = "…" if question.get("kind") == "in_doubt" else example(schema)
            words += ["-a", f"{prefix}{name}={value}"]
    return " ".join(_quoted(word) for word in words)


def _shown(question: Question) -> list[tuple[str, dict[str, Any]]]:
    fields = _fields(question)
    needed = [name for name in fields if name in question.get("form", {}).get("required", ())]
    return [(name, fields[name] if isinstance(fields[name], dict) else {}) for name in needed or list(fields)[:1]]


def example(schema: Mapping[str, Any]) -> str:
    """A value that the schema may take, for people to change."""
    import json

    if schema.get("enum"):
        first = schema["enum"][0]
        return first if isinstance(first, str) else json.dumps(first)
    if "default" in schema and schema["default"] not in ("", None):
        return json.dumps(schema["default"])
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    if isinstance(least, int | float) and least > 0:
        return f"{2 * least:.10g}"
    samples = {"boolean": "true", "integer": "1", "number": "1.0", "array": "[]", "object": "{}"}
    return samples.get(str(schema.get("type")), "…")


def _quoted(word: str) -> str:
    return (
        word
        if word.replace("…", "").replace("=", "").replace(".", "").replace("_", "a").isalnum()
        else shlex.quote(word)
    )
