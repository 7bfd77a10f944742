"""Figures of executions, steps, agents, tools and models over a time range, computed from the rows of the records."""

from cogwork.metrics.comparing import Comparison
from cogwork.metrics.health import Part, system_health
from cogwork.metrics.metrics import Metrics, Report
from cogwork.metrics.ranges import TimeRange

__all__ = ["Comparison", "Metrics", "Part", "Report", "TimeRange", "system_health"]
