"""Which form of a response a caller wants, by the header ``Accept``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from cogwork.errors import EngineError
from cogwork.responses.response import Form

FORMS: Final[tuple[Form, ...]] = get_args(Form)
MEDIA_TYPES: Final[Mapping[Form, str]] = {
    "text": "text/plain; charset=utf-8",
    "markdown": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "xml": "application/xml",
    "yaml": "application/yaml",
}
"""The media type that each form is sent as; each is in UTF-8."""
_KNOWN: Final[Mapping[str, Form]] = {
    "application/json": "json",
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "text/x-yaml": "yaml",
    "application/xml": "xml",
    "text/xml": "xml",
}
"""The types that are understood; of those that are wanted alike the first one here is chosen."""
_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER: Final = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+')
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9a-z-]+"
_RANGE: Final = re.compile(rf"({_TOKEN})/({_TOKEN})")
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One range of the header: ``specific`` is higher the fewer types it takes in."""

    main: str
    sub: str
    quality: float
    specific: int

    def takes(self, media_type: str) -> bool:
        main, _, sub = media_type.partition("/")
        return self.main in ("*", main) and self.sub in ("*", sub)


def chosen(accept: str | None) -> Form:
    """The form that the caller wants most; JSON without the header, and where several are wanted alike and JSON is one of them.

    Of the ranges that take a type in, the most specific one says how much it is wanted; ``q=0`` is not at all. What cannot be
    read in the header is passed over, and a header of which nothing can be read counts as none.

    Raises:
        EngineError: ``not_acceptable``, for the status 406; its details have the types that there are.
    """
    wanted = list(_wanted((accept or "")[:_LONGEST]))
    if not wanted:
        return "json"
    rated = [(_quality(wanted, media_type), form) for media_type, form in _KNOWN.items()]
    best, form = max(rated, key=lambda each: each[0])
    if best <= 0:
        offered = [media_type.partition(";")[0] for media_type in MEDIA_TYPES.values()]
        message = f"None of the wanted types can be given; there are {', '.join(offered)}"
        raise EngineError("not_acceptable", message, accept=(accept or "")[:200], offered=offered)
    return form


def form_named(name: str) -> Form:
    """The form of that name.

    Raises:
        EngineError: ``not_acceptable``.
    """
    if name not in FORMS:
        raise EngineError("not_acceptable", f"There is no form {name[:40]!r}; there are {', '.join(FORMS)}")
    return name


def _wanted(header: str) -> Iterator[_Wanted]:
    for element in _ELEMENT.findall(header):
        media_range, *parameters = [part.strip().lower() for part in _PARAMETER.findall(element)] or [""]
        found = _RANGE.fullmatch(media_range)
        named = dict(part.split("=", 1) for part in parameters if "=" in part)
        quality = named.pop("q", "1").strip()
        if found is None or (found[1] == "*" and found[2] != "*") or not _QUALITY.fullmatch(quality):
            continue
        in_utf8 = named.get("charset", "utf-8").strip('"') in ("utf-8", "utf8", "us-ascii", "*")
        specific = (found[1] != "*") + (found[2] != "*")
        yield _Wanted(found[1], found[2], float(quality) if in_utf8 else 0.0, specific)


def _quality(wanted: list[_Wanted], media_type: str) -> float:
    taking = [each for each in wanted if each.takes(media_type)]
    most = max((each.specific for each in taking), default=-1)
    return max((each.quality for each in taking if each.specific == most), default=0.0)
