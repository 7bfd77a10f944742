"""Whether a graph may go on with a run: a run belongs to the version of the workflow that it began with."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig

from graphs.language.spec import WorkflowSpec
from graphs.runtime.frames import Record
from state.errors import NotResumable

ALLOW_VERSION_CHANGE = "allow_version_change"
"""The ``configurable`` key with which a caller lets another version of the workflow go on with a run."""


def same_version(spec: WorkflowSpec, digest: str, about: Record, config: RunnableConfig) -> Record:
    """What changes in the run's record because another version of its workflow goes on with it; usually nothing.

    Raises:
        NotResumable: it is another version, and the caller does not allow that.
    """
    if about.get("digest") in (None, digest):
        return {}
    if not config.get("configurable", {}).get(ALLOW_VERSION_CHANGE):
        began = f"version {about.get('version')} of {about.get('workflow')} ({about['digest'][:12]})"
        raise NotResumable(
            f"Run {about.get('id')} began with {began}, and this is version {spec.version} of {spec.name} "
            f"({digest[:12]}): go on with the one that it began with, or set {ALLOW_VERSION_CHANGE} in configurable"
        )
    return {"workflow": spec.name, "version": spec.version, "digest": digest}
