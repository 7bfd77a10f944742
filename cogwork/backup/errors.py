"""What can go wrong with backups."""

from state.errors import CogworkError


class BackupError(CogworkError):
    """A backup cannot be made or restored: what happened, and what to do; nothing was changed."""


class Unsound(BackupError):
    """An archive is not what a backup is: it was altered, broke off, or was made by somebody else."""


class Occupied(BackupError):
    """Something is there already where a backup or its contents would go."""


class Missing(BackupError):
    """There is no archive of that name."""
