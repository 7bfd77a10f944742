"""A short soak: traffic of every kind leaves nothing behind; ``python -m tests.soak`` goes on for an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import growth, soak

SECONDS, RUNS = 15.0, 15
"""Of the slice, and how many runs lie between two samples."""


@pytest.mark.req("R3", "X14")
def test_traffic_leaves_no_memory_handle_thread_or_row_behind(tmp_path: Path) -> None:
    traffic, grown = soak(SECONDS, 1, tmp_path, RUNS)
    assert not traffic.wrong
    assert not [str(each) for each in grown if each.grows]
    assert traffic.samples[-1]["rows"] == 0, "threads were deleted, and their rows stayed"
    assert traffic.ended["completed"] and traffic.ended["failed"]
    assert traffic.done["answer"] and traffic.done["caller gone"]


def _samples(**each: float) -> list[dict[str, float]]:
    still = {"rss": 9e7, "files": 12.0, "threads": 3.0, "rows": 0.0, "bytes": 6e5}
    return [{**still, **{k: still[k] + v * n for k, v in each.items()}, "runs": n * 50.0} for n in range(20)]


@pytest.mark.parametrize(
    ("leak", "grows"),
    [
        ({}, []),
        ({"rss": 50 * 10_000.0}, ["rss"]),
        ({"rss": 50 * 100.0}, []),
        ({"files": 1.0}, ["files"]),
        ({"threads": 1.0}, ["threads"]),
        ({"rows": 50.0, "bytes": 50 * 4096.0}, ["rows", "bytes"]),
    ],
    ids=["nothing", "memory", "an allocator's noise", "a handle", "a thread", "rows"],
)
def test_what_is_left_behind_by_every_run_or_round_counts_as_growth(leak: dict[str, float], grows: list[str]) -> None:
    assert [each.name for each in growth(_samples(**leak)) if each.grows] == grows
