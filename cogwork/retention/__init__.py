"""What has ended is kept for a time, and then taken away: what that means is decided in ``plan`` and done by ``sweep``."""

from cogwork.retention.planning import Plan, plan
from cogwork.retention.report import Report
from cogwork.retention.sweeping import due, sweep

__all__ = ["Plan", "Report", "due", "plan", "sweep"]
