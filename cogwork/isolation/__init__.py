"""Isolated executions: a run in a process of its own, with limits, that reaches nothing but what its worker does for it."""

from cogwork.isolation.job import Job
from cogwork.isolation.limits import Containment, Isolation
from cogwork.isolation.running import isolated_events
from cogwork.isolation.zygote import Zygote

__all__ = ["Containment", "Isolation", "Job", "Zygote", "isolated_events"]
