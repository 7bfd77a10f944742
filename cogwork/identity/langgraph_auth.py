"""What ``langgraph.json`` names under ``auth.path``: tokens and roles where the setting ``langgraph_auth`` is on."""

from __future__ import annotations

from cogwork.app import app as _app
from cogwork.identity.served import auth_of

_served = _app()
auth = auth_of(_served, on=_served.settings.langgraph_auth)
