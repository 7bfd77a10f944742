"""The agents that people declare, a file each, in the folders of the settings; they go before registered ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cogwork.agents.files import SUFFIXES, declared
from cogwork.agents.records import RegisteredAgent, Status


def declared_agents(folders: Sequence[Path]) -> list[RegisteredAgent]:
    """All that the folders declare, sorted by id; of two with one id the first.

    Raises:
        EngineError: ``invalid_input``; a file declares no agent.
    """
    found: dict[str, RegisteredAgent] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.suffix in SUFFIXES:
                each = declared(path)
                found.setdefault(each.id, each)
    return sorted(found.values(), key=lambda each: each.id)


def fitting(
    agents: Iterable[RegisteredAgent], capabilities: Iterable[str], status: Status | None
) -> list[RegisteredAgent]:
    """Those that have all these capabilities and this status."""
    wanted = set(capabilities)
    return [
        each for each in agents if wanted <= set(each.agent.capabilities) and (status is None or each.status == status)
    ]


def named(agents: Iterable[RegisteredAgent], name: str) -> RegisteredAgent | None:
    """The agent of that id or name."""
    return next((each for each in agents if name in (each.id, each.name)), None)
