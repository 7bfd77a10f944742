"""The exit codes of every command, and the errors that the command line raises itself."""

from __future__ import annotations

from typing import Final

from state.errors import CogworkError

DONE: Final = 0
FAILED: Final = 1
DIFFERENT: Final = 1
"""What ``diff`` exits with, as diff(1) does."""
USAGE: Final = 2
RESTS: Final = 3
MISSING: Final = 4
CANCELLED: Final = 5
DENIED: Final = 6
INTERRUPTED: Final = 130
EPILOG: Final = (
    "Exit codes: 0 done, 1 problems found, runs differ or run failed, 2 wrong usage, input or answer, "
    "3 the run rests (at a person, at a limit, at a call in doubt, or on request), 4 not found or not resumable, "
    "5 the run was cancelled, 6 not permitted or not known who asks, 130 interrupted."
)


class Refusal(CogworkError):
    """A command that cannot be carried out: what is wrong, what to do next, and the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = USAGE) -> None:
        self.hint, self.code = hint, code
        super().__init__(message)
