"""The command ``config``: which settings hold, and where each comes from."""

from __future__ import annotations

import json as _json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import MISSING, Refusal
from state.values import Json

if TYPE_CHECKING:
    from cogwork.settings import Settings

HIDDEN: Final = "********"
_TELLING: Final = re.compile(r"(?i)key|token|secret|password|passwd|authorization|credential|cookie")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_VARIABLES: Final = re.compile(r"(?:[A-Za-z]+ )?\$\{[A-Za-z_]\w*\}")


def config(
    name: Annotated[str | None, typer.Argument(metavar="[SETTING]", help="Only this one.", show_default=False)] = None,
    json: context.Json = False,
) -> None:
    """The settings that hold here, and where each comes from. Secrets are not shown."""
    settings = context.opened().settings
    rows = effective(settings)
    if name is not None and name not in rows:
        import difflib

        close = difflib.get_close_matches(name, rows, 1)
        raise Refusal(f"There is no setting {name!r}", f"did you mean {close[0]!r}?" if close else "", MISSING)
    chosen = {key: row for key, row in rows.items() if name in (None, key)}
    if json:
        render.write_json(chosen)
        return
    render.columns(
        [
            [(key, "cyan"), _json.dumps(row["value"], ensure_ascii=False), (str(row["source"]), "dim")]
            for key, row in chosen.items()
        ],
        ("SETTING", "VALUE", "SOURCE"),
    )


def effective(settings: Settings) -> dict[str, dict[str, Json]]:
    """Each setting with its value, secrets hidden, and its source; a text with variables is shown as its file has it."""
    from cogwork.configuration import layers, merged

    files = layers(os.environ)
    written = merged(tuple(layer.written for layer in files))
    variables = {name.upper(): name for name, value in os.environ.items() if value}
    rows: dict[str, dict[str, Json]] = {}
    for name, info in type(settings).model_fields.items():
        alias = info.validation_alias if isinstance(info.validation_alias, str) else None
        variable = variables.get((alias or f"COGWORK_{name}").upper())
        holding = [layer.file for layer in files if name in layer.values or (alias and alias in layer.values)]
        tables = isinstance(getattr(settings, name), Mapping)  # those of all files go into each other
        source = variable or ", ".join(holding if tables else holding[-1:]) or "default"
        raw = None if variable else written.get(name, written.get(alias or ""))
        rows[name] = {"value": shown(getattr(settings, name), raw, name), "source": source}
    return rows


def shown(value: Any, written: Any, key: str) -> Json:
    """A value as it may be seen: ``written`` is what stands in the file, where it comes from one."""
    from pydantic import BaseModel, SecretStr

    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
    if isinstance(value, Mapping):
        inner = written if isinstance(written, Mapping) else {}
        return {str(name): shown(each, inner.get(name), str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        items = written if isinstance(written, list) and len(written) == len(value) else [None] * len(value)
        return [shown(each, item, key) for each, item in zip(value, items, strict=True)]
    if value is None or isinstance(value, bool | int | float):
        return written if isinstance(written, str) and "${" in written else value
    return _text(str(value), written, key)


def _text(value: str, written: Any, key: str) -> str:
    if isinstance(written, str) and _VARIABLES.fullmatch(written):
        return written
    if _TELLING.search(key):
        return HIDDEN
    return _USERINFO.sub(HIDDEN, written if isinstance(written, str) and "${" in written else value)
