"""Where an execution is to run: here or on another instance, by its target, its labels, its workflow's and the policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cogwork.errors import EngineError
from cogwork.executions.options import Options
from cogwork.remote.instances import Instances
from cogwork.remote.sections import HERE, Policy

LOCAL_ONLY: Final = ("session_id", "conversation_id", "queue")
"""Options that mean something of this instance."""
FORWARDED: Final = (
    *("timeout", "deadline", "retry", "priority", "tenant", "tags", "metadata", "overrides", "user_id"),
    *("trace", "debug", "streaming", "isolation"),
)
"""Options that the other instance is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where executions may run: the labels of this instance, the others, and what the settings say."""

    labels: frozenset[str]
    instances: Instances
    policy: Policy

    def asked(self, options: Options) -> bool:
        """Whether the caller says where it is to run, rather than the settings."""
        return bool(options.target or options.labels or options.policy) or options.mode == "remote"

    def elsewhere(self, options: Options, workflow: str, required: Collection[str], why_not: str = "") -> bool:
        """Whether another instance runs it; ``why_not`` says why none can, where that is so.

        Raises:
            EngineError: ``permission_denied``; no instance that may be meant has the labels. ``invalid_input``; there is no such
                instance, or it cannot go elsewhere although the caller asks for that.
        """
        wanted = {*required, *options.labels}
        if not self._leaves(options, wanted) or (why_not and not self.asked(options)):
            missing = (wanted if self.asked(options) else {*required}) - self.labels
            if missing:
                raise self._missing(workflow, "this instance", missing, wanted)
            return False
        if why_not:
            raise EngineError(
                "invalid_input", f"{workflow} cannot run on another instance: {why_not}", workflow=workflow
            )
        self._has_some(options, workflow, wanted)
        return True

    def _leaves(self, options: Options, wanted: Collection[str]) -> bool:
        if options.target is not None:
            return options.target != HERE
        match self.chosen(options):
            case "local":
                return options.mode == "remote"
            case "label":
                return not set(wanted) <= self.labels or options.mode == "remote"
            case _:
                return True

    def chosen(self, options: Options) -> Policy:
        """The policy that goes for the execution."""
        return options.policy or ("label" if options.labels else self.policy)

    def _has_some(self, options: Options, workflow: str, wanted: Collection[str]) -> None:
        if options.target is not None:
            found = self.instances.named(options.target)
            if missing := set(wanted) - set(found.section.labels):
                raise self._missing(workflow, f"the instance {found.name}", missing, wanted)
        elif not self.instances:
            raise EngineError("invalid_input", "The settings name no other instance: see docs/remote.md, `instances`")
        elif not self.instances.having(wanted):
            raise self._missing(workflow, "every other instance", wanted, wanted)

    def _missing(self, workflow: str, who: str, missing: Collection[str], wanted: Collection[str]) -> EngineError:
        having = self.instances.having(wanted)
        hint = f"; {', '.join(having)} has them: start it there with the target" if having else ""
        listed = ", ".join(sorted(missing))
        return EngineError(
            "permission_denied",
            f"{workflow} may only run where the labels are {', '.join(sorted(wanted))}, and {who} lacks {listed}{hint}",
            workflow=workflow,
            labels=sorted(wanted),
            missing=sorted(missing),
            instances=[*having],
        )


def forwarded(options: Mapping[str, Any], *, isolated: bool) -> dict[str, Any]:
    """What another instance is told of an execution's options: it is to run it itself, whatever its own policy."""
    told = {name: options[name] for name in FORWARDED if name in options}
    return {**told, "target": HERE, "mode": "isolated" if isolated else "async"}


def hindrance(source: Any, options: Options, context: Mapping[str, Any]) -> str:
    """Why an execution cannot go to another instance; empty where it can."""
    if not isinstance(source, str) or "\n" in source or "/" in source or source.endswith((".yaml", ".yml", ".json")):
        return "it is given as a spec or file, and others know workflows by their names: publish it there"
    if here := [name for name in LOCAL_ONLY if getattr(options, name) is not None]:
        return f"{', '.join(here)} is of this instance"
    return "its context is of this instance" if context else ""
