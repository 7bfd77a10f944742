"""Schedules and triggers: what starts workflows by itself."""
