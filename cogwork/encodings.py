"""What a text may look like once programs have passed it on: quoted, escaped, encoded."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Final
from urllib.parse import quote, quote_plus

_LOWER: Final = re.compile(r"%[0-9A-F]{2}")
_LINE: Final = 16
"""Characters from which on a line of a text of several lines is looked for by itself."""
_CORE: Final = 7
"""Characters that the part of a base64 text has at least, by which it is known."""


def encodings(text: str) -> list[str]:
    """The text itself and its usual encodings, each once: URL, JSON (also within JSON), Python and HTML escapes, base64
    (also within a longer base64 text), hexadecimal digits, and its long lines."""
    lines = [line.strip() for line in text.splitlines()] if "\n" in text.strip() else []
    found: dict[str, None] = {}
    for each in (text, text.strip(), *(line for line in lines if len(line) >= _LINE and "-----" not in line)):
        found.update(dict.fromkeys(_escaped(each)))
        found.update(dict.fromkeys(_encoded(each.encode())))
    return list(found)


def _escaped(text: str) -> list[str]:
    escaped = json.dumps(text)[1:-1]
    urls = [quote(text), quote(text, safe=""), quote_plus(text)]
    return [
        text,
        *urls,
        *(_LOWER.sub(lambda found: found[0].lower(), url) for url in urls),
        escaped,
        json.dumps(escaped)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        escaped.replace("/", "\\/"),
        repr(text)[1:-1],
        html.escape(text),
        html.escape(text, quote=False),
    ]


def _encoded(raw: bytes) -> list[str]:
    found = [raw.hex(), raw.hex().upper()]
    for text in (base64.b64encode(raw).decode(), *_cores(raw)):
        safe = text.replace("+", "-").replace("/", "_")
        found += [text, safe, text.rstrip("="), safe.rstrip("="), quote(text, safe="")]
    return found


def _cores(raw: bytes) -> list[str]:
    """What the bytes leave in the base64 of a longer text, whatever stands beside them: one for each place in a triple."""
    cores = []
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode()
        core = text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        if len(core) >= _CORE:
            cores.append(core)
    return cores
