"""Code out of the material: what it holds already, else a skeleton that says what it is and fails its tests."""

from __future__ import annotations

import keyword
import re

from cogwork.models.material import Code, Material
from cogwork.models.passages import cut
from cogwork.models.ranking import terms

_SIGNATURE = re.compile(r"\b(?P<name>[a-z_]\w{2,})\((?P<args>(?:\s*[a-z_]\w*\s*,)*\s*[a-z_]\w*\s*|)\)")
_CALLED = re.compile(r"\b(?:called|named|function|method)\s+`?(?P<name>[a-z_]\w{2,})\b`?")
_ORDER = re.compile(r"\b(?:write|implement|code|program|define)\b", re.IGNORECASE)
_TESTING = re.compile(r"\bdef test_|\bimport pytest\b|\bunittest\b|^\s*assert ", re.MULTILINE)


def code(material: Material) -> str:
    """The code that the material holds, unchanged, else a skeleton of what is asked."""
    found = [block for block in material.code if not _is_test(block)]
    if found:
        return "\n\n".join(block.text for block in found)
    name, args = _signature(material)
    asked = _asked(material)
    return (
        '"""A skeleton, not a solution: no language model was used, and an offline model cannot write code.\n\n'
        f'Asked: {asked}\n"""\n\n\n'
        f"def {name}({args}):\n    raise NotImplementedError({f'not written yet: {asked}'!r})\n"
    )


def tests(material: Material) -> str:
    """The tests that the material holds, unchanged, else one that fails and says why."""
    found = [block for block in material.code if _is_test(block)]
    if found:
        return "\n\n".join(block.text for block in found)
    name, _ = _signature(material)
    return (
        f'"""No language model was used, so no test was written. Asked: {_asked(material)}"""\n\n\n'
        f"def test_{name.lstrip('_')}_is_written():\n    raise AssertionError({f'no test was written for: {_asked(material)}'!r})\n"
    )


def wants_code(material: Material) -> bool:
    """Whether the request names a function with its arguments, and orders it written."""
    return bool(_SIGNATURE.search(material.asked) and _ORDER.search(material.asked))


def _is_test(block: Code) -> bool:
    return "test" in block.section.lower() or bool(_TESTING.search(block.text))


def _asked(material: Material) -> str:
    told = material.asked or (material.units[0].text if material.units else "")
    return cut(" ".join(told.split()).replace("\\", "/").replace('"""', "'''"), 300).rstrip('"')


def _signature(material: Material) -> tuple[str, str]:
    """The function's name and arguments, from the request where it writes them."""
    text = "\n".join([material.asked, *(unit.text for unit in material.units[:20])])
    if match := _SIGNATURE.search(text):
        args = [arg.strip() for arg in match["args"].split(",") if arg.strip()]
        if not keyword.iskeyword(match["name"]) and not any(keyword.iskeyword(arg) for arg in args):
            return match["name"], ", ".join(dict.fromkeys(args))
    if (
        (match := _CALLED.search(text))
        and not keyword.iskeyword(match["name"])
        and match["name"] not in ("that", "which")
    ):
        return match["name"], "*args"
    words = [word for word in re.findall(r"[a-z]+", text.lower()) if terms(word)][:3]
    return "_".join(words) or "asked", "*args"
