"""HTTP services as tools: each operation of an OpenAPI document, 3.0 or 3.1, is one."""
