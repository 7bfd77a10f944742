"""The doors for programs, agents and people: HTTP, MCP and the web page, as one ASGI application."""
