"""Our MCP server before the runner of the protocol's own people, in both of its releases, with tokens asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import NEXT, STABLE, extras, judged
from tests.mcp_door import house
from tests.peers import needs_node22

pytestmark = [pytest.mark.req("M1")]
RUNS = {"stable": (STABLE, 32), "2025-11-25": (NEXT, 33), "2026-07-28": (NEXT, 40)}
"""The release, and how many scenarios it has for that version of the protocol."""


@needs_node22(NEXT)
@pytest.mark.parametrize("which", RUNS)
async def test_every_scenario_of_the_conformance_runner_passes_without_a_warning(which: str, tmp_path: Path) -> None:
    package, scenarios = RUNS[which]
    options = () if which == "stable" else ("--spec-version", which)
    async with house(tmp_path) as home, home.served(extras=extras(), token=True) as served:
        found = await judged(served.url, package, tmp_path / "found", *options)
        assert served.porch.statuses[401] == 0 and not [s for s in served.porch.statuses if s >= 500]
    assert [f"{each.scenario}: {each.said}" for each in found.values() if not each.passed] == []
    assert len(found) == scenarios
