"""Sealing: what is kept is encrypted under the keys of the settings, bound to its place, and opened where it is read."""
