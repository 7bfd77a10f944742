"""The HTTP door: the engine's verbs as JSON under ``/api/v1``, described by an OpenAPI document."""
