"""Backups: all that is kept as of one instant in one archive, and back again."""
