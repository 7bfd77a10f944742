"""Plain JSON as YAML that readers of YAML 1.1 and 1.2 understand alike."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from state.values import Json

_WORD: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*", re.ASCII)
_LINES: Final = re.compile(r"(?! )[^\r\t\x85\u2028\u2029\ufeff\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+\n")
_TRAILING: Final = re.compile(r"[ \t]\n|\n\n\Z|\A\n")
_MEANT: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"})
_NO_FOLDING: Final = 1 << 30


def to_yaml(value: Json) -> str:
    """The value as a YAML document; any reader gives it back, with each text a text and each number a number."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_NO_FOLDING, default_flow_style=False
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes texts so that nothing else can be meant by them, and nothing as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))


def _style(text: str) -> str | None:
    """Plain for words, a block for lines, else double quotes."""
    if _WORD.fullmatch(text) and len(text) <= 200:
        return '"' if text.lower() in _MEANT else None
    return "|" if _LINES.fullmatch(text) and not _TRAILING.search(text) else '"'


_Dumper.add_representer(str, _represent)
