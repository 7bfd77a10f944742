"""What the library needs of the house that it stands in: workflows are loaded, checked and bound to services there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graphs.language.load import Workflow
from state.services import Services

if TYPE_CHECKING:
    from cogwork.records.bundles import Bundles
    from cogwork.settings import Settings


class House(Protocol):
    """The part of ``cogwork.app.App`` that the library uses."""

    @property
    def settings(self) -> Settings:
        """What is allowed."""

    @property
    def services(self) -> Services:
        """The tools, models and prompts that the settings allow."""

    @property
    def mcp(self) -> Any:
        """The MCP servers; None where there are none."""

    @property
    def cache(self) -> Any:
        """LangGraph's cache, for steps that say ``cache:``."""

    def load(self, source: Any) -> Workflow:
        """The workflow that a name, file, text, mapping or spec means.

        Raises:
            SpecError: with every problem.
        """

    def find(self, name: str) -> Path | None:
        """The file of the workflow of that name, or None."""

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        """What ``use: name`` means in a workflow; None where there is none."""

    def specs(self) -> Bundles:
        """The specs that runs began with."""
