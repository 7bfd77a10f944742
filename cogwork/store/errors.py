"""What can go wrong with what is kept."""

from state.errors import CogworkError


class StoreError(CogworkError):
    """The checkpoint file cannot be used: what happened to which file, and what to do."""


class Torn(StoreError):
    """A piece of a checkpoint is missing, or not what its name says; whoever knows the thread and the file names them."""
