"""The library of workflows: versions that never change, labels, who uses what, and workflows that are code."""

from cogwork.library.entries import LabelMove, Used, User, VersionRecord, WorkflowRecord
from cogwork.library.library import Library

__all__ = ["LabelMove", "Library", "Used", "User", "VersionRecord", "WorkflowRecord"]
