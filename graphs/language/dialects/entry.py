"""Reading one mapping of a document and writing one of the canonical form, with the way from each key to where it stood."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, NamedTuple

from graphs.language.dialects.draft import Draft, under
from graphs.language.source import brief
from state.values import Json

_UNFIT_IN_TITLES: Final = re.compile(r"[^\w.-]+")


class Picked(NamedTuple):
    """A value of the document and its source pointer."""

    value: Json
    pointer: str


@dataclass(slots=True)
class Entry:
    """A mapping of the document that remembers which of its keys were read; null counts as absent."""

    draft: Draft
    value: Mapping[str, Json]
    pointer: str
    known: set[str] = field(default_factory=set)

    def pick(self, *names: str) -> Picked | None:
        """What stands under the first of the names that is there."""
        self.known.update(names)
        for name in names:
            if self.value.get(name) is not None:
                return Picked(self.value[name], under(self.pointer, name))
        return None

    def text(self, *names: str) -> Picked | None:
        """The same as text: a number or truth value in its source form; anything else is reported."""
        found = self.pick(*names)
        if found is None or isinstance(found.value, str):
            return found
        raw = self.draft.source.raw.get(found.pointer)
        if raw is None and isinstance(found.value, int | float):
            raw = str(found.value)
        if raw is None:
            self.refuse("wrong_type", f"`{found.pointer.rpartition('/')[2]}` must be text", found.pointer)
            return None
        return Picked(raw, found.pointer)

    def entry(self, *names: str) -> Entry | None:
        """The mapping under one of the names, to be read in turn."""
        found = self.pick(*names)
        if found is None:
            return None
        return as_entry(self.draft, found)

    def entries(self, *names: str) -> list[Entry]:
        """The mappings of the list under one of the names."""
        found = self.pick(*names)
        if found is None:
            return []
        if not isinstance(found.value, list):
            self.refuse("wrong_type", f"`{names[0]}` must be a list", found.pointer)
            return []
        picked = (Picked(item, under(found.pointer, index)) for index, item in enumerate(found.value))
        return [entry for item in picked if (entry := as_entry(self.draft, item)) is not None]

    def refuse(self, code: str, message: str, pointer: str, hint: str = "") -> None:
        """Note an error at a source pointer."""
        self.draft.problems.append(self.draft.source.problem(code, message, pointer, hint))

    def warn(self, code: str, message: str, pointer: str, hint: str = "") -> None:
        """Note a warning at a source pointer."""
        self.draft.problems.append(self.draft.source.problem(code, message, pointer, hint, severity="warning"))

    def report_rest(self, *harmless: str) -> None:
        """Say of every key that was not read that it is ignored, or what it was probably meant to be."""
        for key, value in self.value.items():
            if key in self.known or key in harmless or value in (None, "", [], {}):
                continue
            pointer = under(self.pointer, key)
            close = get_close_matches(key[:64], sorted(self.known), n=1, cutoff=0.8)
            problem = (
                self.draft.source.problem(
                    "unknown_key", f"{brief(key)} is not known here", pointer, f"Did you mean {close[0]!r}?", key=True
                )
                if close
                else self.draft.source.problem(
                    "dialect_ignored", f"{brief(key)} has no meaning here and is left out", pointer,
                    "Remove it, or move it to `metadata`.", severity="warning", key=True,
                )
            )  # fmt: skip
            self.draft.problems.append(problem)


def as_entry(draft: Draft, found: Picked) -> Entry | None:
    """The picked value as an entry; reported where it is no mapping."""
    if isinstance(found.value, Mapping):
        return Entry(draft, found.value, found.pointer)
    problem = draft.source.problem("wrong_type", "A mapping must stand here", found.pointer)
    draft.problems.append(problem)
    return None


@dataclass(slots=True)
class Target:
    """A mapping of the canonical form in the making."""

    draft: Draft
    pointer: str
    value: dict[str, Json] = field(default_factory=dict)

    def put(self, key: str, value: Json, source: str) -> None:
        """Set a key to what comes from ``source``."""
        self.value[key] = value
        self.draft.origin[under(self.pointer, key)] = source

    def copy(self, key: str, found: Picked | None) -> None:
        """Set a key to a value of the document, if there is one."""
        if found is not None:
            self.put(key, found.value, found.pointer)

    def below(self, key: str, source: str) -> Target:
        """The mapping under a key, to be written in turn."""
        target = Target(self.draft, under(self.pointer, key))
        self.put(key, target.value, source)
        return target


def head(entry: Entry, target: Target, *, fallback_name: str = "workflow") -> None:
    """Translate what every dialect has at its top: name, description, version, tags, metadata; a title becomes a name."""
    metadata = entry.pick("metadata")
    title = entry.text("name", "title", "id")
    name = as_name(title.value if title else fallback_name)
    target.put("cogwork", "v1", entry.pointer)
    target.put("name", name, title.pointer if title else entry.pointer)
    for key in ("version", "description", "tags"):
        target.copy(key, entry.pick(key))
    if title and title.value != name:
        kept = dict(metadata.value) if metadata and isinstance(metadata.value, Mapping) else {}
        target.put("metadata", {"title": title.value, **kept}, metadata.pointer if metadata else title.pointer)
    else:
        target.copy("metadata", metadata)


def as_name(title: str) -> str:
    """A name made from a title: lower case, joined by underscores; a name stays as it is."""
    if re.fullmatch(r"[A-Za-z_][\w.-]*", title):
        return title
    joined = _UNFIT_IN_TITLES.sub("_", title).strip("_.-").lower()
    return joined if re.match(r"[A-Za-z_]", joined) else f"workflow_{joined}".rstrip("_")


def retry(entry: Entry | None, node: Target) -> None:
    """Translate a retry policy; the dialects count retries, the canonical form counts attempts."""
    if entry is None:
        return
    policy = node.below("retry", entry.pointer)
    retries = entry.pick("max_retries", "maxRetries", "retry_count")
    attempts = entry.pick("max_attempts", "maxAttempts")
    if retries is not None:
        plain = isinstance(retries.value, int) and not isinstance(retries.value, bool)
        policy.put("max_attempts", retries.value + 1 if plain else retries.value, retries.pointer)
    else:
        policy.copy("max_attempts", attempts)
    policy.copy("backoff", entry.pick("backoff_seconds", "backoff", "initial_delay", "delay", "backoffSeconds"))
    policy.copy("multiplier", entry.pick("backoff_multiplier", "backoff_factor", "multiplier", "backoffMultiplier"))
    policy.copy("max_backoff", entry.pick("max_backoff", "max_delay"))
    if errors := entry.pick("retryable_errors", "retryableErrors", "on"):
        policy.put("on", list(_classes(entry, errors)), errors.pointer)
    entry.report_rest()


_ERROR_CLASSES: Final[Mapping[str, str]] = {
    "TimeoutError": "timeout",
    "ConnectionError": "connection",
    "ConnectionRefusedError": "connection",
    "RateLimitError": "rate_limited",
    "ValueError": "invalid_input",
    "PermissionError": "permission_denied",
}


def _classes(entry: Entry, errors: Picked) -> Iterator[Json]:
    for item in errors.value if isinstance(errors.value, list) else [errors.value]:
        if isinstance(item, str) and item.endswith(("Error", "Exception")) and item not in _ERROR_CLASSES:
            hint = f"Name classes of errors: {', '.join(sorted(set(_ERROR_CLASSES.values())))} …"
            entry.warn("dialect_ignored", f"The exception {brief(item)} is not a class of errors", errors.pointer, hint)
        else:
            yield _ERROR_CLASSES.get(item, item) if isinstance(item, str) else item


def names_of(found: Picked | None) -> list[str]:
    """The names in a list, or the single name; whatever is no text is left to the checks of the value itself."""
    if found is None:
        return []
    listed: Iterable[Json] = found.value if isinstance(found.value, list) else [found.value]
    return [name for name in listed if isinstance(name, str)]
