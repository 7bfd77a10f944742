"""Workflows over MCP: the verbs and every published workflow as tools, executions and workflows as resources."""
