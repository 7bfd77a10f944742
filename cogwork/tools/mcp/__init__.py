"""MCP servers as tools: sessions that outlive their callers, every fault of a server typed and in bounded time."""
