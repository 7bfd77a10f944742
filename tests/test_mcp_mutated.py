"""Requests with something wrong in each: the MCP server answers all of them, and never with a fault of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mcp_door import house
from tests.mutated import sent
from tests.test_engine import PLAIN

pytestmark = [pytest.mark.req("M1")]


async def test_five_hundred_mutated_requests_find_no_fault_of_ours(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.engine.create_workflow(source=PLAIN)
        async with home.served() as served:
            tally = await sent(served, 500, seed=7)
            assert tally.bad == []
            assert tally.statuses[400] > 100 and tally.statuses[200] > 20, (
                "some are refused, and some are sound all the same"
            )
