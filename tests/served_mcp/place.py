"""An MCP server that says where in its caller's trace a call is; it talks over its standard streams."""

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("place", version="1.0", log_level="CRITICAL")


@server.tool()
def place(context: Context) -> str:
    """The ``traceparent`` of the call."""
    return str((context.request_context.meta or {}).get("traceparent"))


server.run("stdio")
