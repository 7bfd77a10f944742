"""Executions: what is recorded of each run, how its status may move, and how it is found, followed and told."""
