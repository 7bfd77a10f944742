"""Search over tools: which of many fit what somebody wants to do."""

from cogwork.tools.index.finder import Finder
from cogwork.tools.index.tool_index import Hit, ToolIndex

__all__ = ["Finder", "Hit", "ToolIndex"]
