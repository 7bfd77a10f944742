"""aimock, an endpoint of other people that speaks OpenAI's and Anthropic's protocols, started with fixtures of our own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from cogwork.models.provider import Provider
from tests.peers import BIN

KEY = SecretStr("sk-canary-4711")
READY_SECONDS = 60.0


def saying(told: str, content: Any, **more: Any) -> dict[str, Any]:
    """A fixture: who says ``told`` is answered with ``content``; ``more`` are fields of the answer or options of the stream."""
    options = {name: more.pop(name) for name in _OPTIONS if name in more}
    return {"match": {"userMessage": told}, "response": {"content": content, **more}, **options}


def answering(told: str, response: dict[str, Any], **match: Any) -> dict[str, Any]:
    """A fixture: who says ``told`` is answered with that response of aimock's own form."""
    return {"match": {"userMessage": told, **match}, "response": response}


_OPTIONS = ("latency", "chunkSize", "truncateAfterChunks", "disconnectAfterMs")


@dataclass(frozen=True)
class Mock:
    """A running aimock."""

    url: str

    def openai(self, **settings: Any) -> Provider:
        """It as an endpoint that speaks OpenAI's protocol."""
        return Provider(**{"base_url": f"{self.url}/v1", "api_key": KEY, "timeout_s": 10.0, **settings})

    def anthropic(self, **settings: Any) -> Provider:
        """It as an endpoint that speaks Anthropic's protocol."""
        return Provider(**{"kind": "anthropic", "base_url": self.url, "api_key": KEY, "timeout_s": 10.0, **settings})

    def requests(self, told: str) -> list[dict[str, Any]]:
        """What it was asked by who said that, as aimock keeps it: ``{path, headers, body}``."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.url}/__aimock/journal", timeout=READY_SECONDS) as reply:
            kept = json.load(reply)
        return [each for each in kept if told in json.dumps(each.get("body") or {})]


@contextmanager
def aimock(folder: Path, *fixtures: dict[str, Any]) -> Iterator[Mock]:
    """An aimock on a free port of the loopback, which answers as the fixtures say; the first that fits counts."""
    file = folder / "fixtures.json"
    file.write_text(json.dumps({"fixtures": fixtures}))
    command = [str(BIN / "llmock"), "-h", "127.0.0.1", "-p", "0", "-f", str(file), "--strict", "--journal-max", "5000"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        yield Mock(_address(process))
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"listening on (http://\S+)", line):
            return found[1]
    raise RuntimeError(f"aimock did not start:\n{said}")
