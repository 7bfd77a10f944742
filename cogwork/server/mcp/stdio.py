"""The MCP server over standard streams, for the one who started it."""

from __future__ import annotations

import logging
import secrets
import sys
from typing import TYPE_CHECKING

from cogwork.identity.audit import Audit
from cogwork.identity.roles import LOCAL
from cogwork.server.acting import Acting
from cogwork.server.mcp.door import Context, Rules
from cogwork.server.mcp.server import mcp_server
from cogwork.workflow_engine import WorkflowEngine

if TYPE_CHECKING:
    from cogwork.settings import Settings


async def serve_stdio(settings: Settings | None = None, *, rules: Rules | None = None) -> None:
    """Serve until the client closes the streams. Nothing but the protocol is on standard output; logs go to standard error.

    What runs when the client goes is let rest, and can be resumed.
    """
    from mcp.server.stdio import stdio_server

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    async with WorkflowEngine(settings=settings) as engine:
        audit = Audit(engine.parts.records, hide=engine.app.secrets.redact)

        def acting(ctx: Context) -> Acting:
            return Acting(
                engine=engine,
                principal=LOCAL,
                audit=audit,
                door="mcp",
                request_id=f"req-{secrets.token_hex(6)}",
            )

        server = mcp_server(acting, rules=rules)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
