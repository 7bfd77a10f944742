"""Our MCP server over standard streams, in the state folder of the first argument."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cogwork.server.mcp.stdio import serve_stdio
from cogwork.settings import Settings

if __name__ == "__main__":
    asyncio.run(serve_stdio(Settings(_env_file=None, state_dir=Path(sys.argv[1]), workflows=[])))
