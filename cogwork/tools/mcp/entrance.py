"""From what the settings say of a server to the streams that lead to it."""

from __future__ import annotations

from typing import Final

from cogwork.tools.mcp.child import Child
from cogwork.tools.mcp.config import McpServer, Sources
from cogwork.tools.mcp.http import http_streams
from cogwork.tools.mcp.redaction import Redaction
from cogwork.tools.mcp.session import Transport

LIST_BYTES: Final = 32 * 1024 * 1024
"""A single message may be as large as this, as lists are longer than results."""


def way_in(name: str, config: McpServer, sources: Sources, redaction: Redaction) -> Transport:
    """The way to the server, with what its settings only refer to filled in, and the redaction told of the secrets.

    Raises:
        Fault: ``unavailable``; the settings refer to what is not there.
    """
    fill, about = sources.filled, f"MCP server {name}"
    env = {k: fill(v.get_secret_value(), f"{about}, env.{k},") for k, v in config.env.items()}
    headers = {k: fill(v.get_secret_value(), f"{about}, headers.{k},") for k, v in config.headers.items()}
    plain = [*config.args, config.url or ""]
    filled = [fill(text, about) for text in plain]
    redaction.learn(env, headers, [new for old, new in zip(plain, filled, strict=True) if old != new])
    limit = max(config.max_result_bytes, LIST_BYTES)
    if config.command is None:
        times = {"connect": config.connect_timeout, "read": config.read_timeout + 1}
        return lambda life: http_streams(filled[-1], headers, limit=limit, **times)
    command = [fill(config.command, about), *filled[:-1]]
    everything = {**sources.inherited(), **env}
    return lambda life: Child(command=command, env=everything, cwd=config.cwd, limit=limit, life=life).streams()
