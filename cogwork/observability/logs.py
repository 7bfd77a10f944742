"""Log lines: as text or JSON, with what they are about, and without secrets."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

from state.bearing import borne
from state.services import Secrets

if TYPE_CHECKING:
    from cogwork.settings import Settings

OURS: Final = ("cogwork", "graphs", "nodes", "prompts", "state")
"""The loggers whose level is the settings'; those of others tell of warnings and errors."""
MOST_CHARACTERS: Final = 16_000
"""The longest message and the longest traceback of a line."""
_USUAL: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_MARK: Final = "_cogwork"


def configured(settings: Settings, stream: IO[str] | None = None) -> None:
    """Let the process log as the settings say, to stderr or another stream; asked again, as they say now."""
    from cogwork.secrets import SecretStore, keys_of
    from cogwork.settings import environment

    chosen = settings.observability
    handler = logging.StreamHandler(stream or sys.stderr)
    secrets = SecretStore(settings.secrets, environment(), keys_of(settings))
    handler.setFormatter(Lines(secrets, as_json=chosen.log_format == "json"))
    setattr(handler, _MARK, True)
    root = logging.getLogger()
    for known in [each for each in root.handlers if getattr(each, _MARK, False)]:
        root.removeHandler(known)
    root.addHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(chosen.log_level.upper())


class Lines(logging.Formatter):
    """A line per record: the time, level and logger, the message, and what it is about (``state/bearing.py``, and ``extra``)."""

    def __init__(self, secrets: Secrets, *, as_json: bool) -> None:
        super().__init__()
        self._secrets, self._as_json = secrets, as_json

    def format(self, record: logging.LogRecord) -> str:
        """The line, without secrets."""
        told = self._told(record)
        # Put together first, then redacted: a secret may come from an argument, a field or a traceback.
        told = self._secrets.redact(told)
        for long in ("message", "exception"):
            if len(told.get(long, "")) > MOST_CHARACTERS:
                told[long] = f"{told[long][:MOST_CHARACTERS]}…"
        if self._as_json:
            return json.dumps(told, ensure_ascii=False)
        return _text(told)

    def _told(self, record: logging.LogRecord) -> dict[str, Any]:
        extra = {name: _plain(value) for name, value in record.__dict__.items() if name not in _USUAL}
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **({"template": record.msg} if record.args and isinstance(record.msg, str) else {}),
            **borne(),
            **extra,
        }
        if record.exc_info and record.exc_info[1] is not None:
            told["exception"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        return told


def _text(told: Mapping[str, Any]) -> str:
    about = {name: value for name, value in told.items() if name not in _HEAD}
    more = "".join(f" {name}={value}" for name, value in about.items())
    line = f"{told['time']} {told['level']:<7} {told['logger']}: {told['message']}{more}".replace("\n", "\\n")
    return f"{line}\n{told['exception']}" if "exception" in told else line


_HEAD: Final = frozenset({"time", "level", "logger", "message", "template", "exception"})


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)[:MOST_CHARACTERS]
