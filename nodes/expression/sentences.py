"""Sentences that the check before a run and the run itself share."""

from collections.abc import Iterable

from .data import with_article


def unfit(function: str, index: int, accepted: Iterable[str], found: str) -> str:
    """An argument has a kind that the function does not take; `found` comes with its article."""
    wanted = " or ".join(with_article(one) for one in sorted(accepted))
    which = "" if index == 0 else f" as argument {index + 1}"
    return f"`{function}` takes {wanted}{which}, not {found}"
