"""The MCP server over standard streams, for the one who started it."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cogwork.identity.roles import LOCAL, Principal, Verb
from cogwork.server.acting import Acting
from cogwork.server.mcp.door import Context, Rules
from cogwork.server.mcp.server import mcp_server
from cogwork.workflow_engine import WorkflowEngine
from state.values import Json

if TYPE_CHECKING:
    from cogwork.server.acting import AuditLog
    from cogwork.settings import Settings

log = logging.getLogger("cogwork.audit")


class Logged:
    """An audit log that is the process's log."""

    async def note(
        self,
        principal: Principal,
        verb: Verb,
        target: str,
        *,
        outcome: str,
        door: str,
        request_id: str,
        details: Mapping[str, Json],
    ) -> None:
        """Write one line."""
        log.info("%s did %s to %s over %s: %s (%s)", principal.name, verb, target[:200], door, outcome, request_id)


async def serve_stdio(
    settings: Settings | None = None, *, audit: AuditLog | None = None, rules: Rules | None = None
) -> None:
    """Serve until the client closes the streams. Nothing but the protocol is on standard output; logs go to standard error.

    What runs when the client goes is let rest, and can be resumed.
    """
    from mcp.server.stdio import stdio_server

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    kept = audit or Logged()
    async with WorkflowEngine(settings=settings) as engine:

        def acting(ctx: Context) -> Acting:
            return Acting(
                engine=engine,
                principal=LOCAL,
                audit=kept,
                door="mcp",
                request_id=f"req-{secrets.token_hex(6)}",
            )

        server = mcp_server(acting, rules=rules)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
