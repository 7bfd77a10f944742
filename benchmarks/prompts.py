"""Prompts: what reading, filling in, counting and shortening take, and how far estimated tokens are off."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Cell, Table, median
from benchmarks.settings import ROOT, Settings
from prompts.library import PromptLibrary
from prompts.partials import parse_prompt
from prompts.template import PromptTemplate
from prompts.tokens import counter, estimated

TIMES = 7
ENCODED = ("openai:gpt-4o", "openai:gpt-4")
"""Models of either encoding in use."""
CUT = """---
variables: {notes: {type: string, priority: 1}}
---
# User
{{ notes }}
"""
LARGE, BUDGET = 200_000, 8_000


async def prompts(settings: Settings) -> list[Table]:
    """Milliseconds, and the deviation of the estimate from the tokenizers whose data is on this machine."""
    settings.tell("prompts")
    return [_times(), _deviations()]


def _times() -> Table:
    text = (_text(ROOT / "docs", "*.md") * 10)[:LARGE]
    library, cut = PromptLibrary(), parse_prompt(CUT, name="cut")
    plan = library.find("planning/plan")
    assert plan is not None
    rows: list[tuple[Cell, ...]] = [
        ("read the shipped prompts", _milliseconds(PromptLibrary)),
        ("fill in planning/plan", _milliseconds(lambda: plan.render({"goal": "Move the shop."}))),
        (f"estimate {LARGE:,} characters", _milliseconds(lambda: estimated(text))),
        (f"shorten {LARGE:,} characters to {BUDGET:,} tokens, estimated", _milliseconds(lambda: _cut(cut, text, ""))),
    ]
    for model in ENCODED:
        if counter(model).exact:
            what = f"shorten {LARGE:,} characters to {BUDGET:,} tokens, counted for {model}"
            rows.append((what, _milliseconds(lambda name=model: _cut(cut, text, name))))  # type: ignore[misc]
    return Table(name="prompts", title="prompts (medians)", columns=("what", "ms"), rows=rows)


def _cut(cut: PromptTemplate, text: str, model: str) -> None:
    cut.render({"notes": text}, tokens=BUDGET, model=model)


def _deviations() -> Table:
    table = Table(
        name="tokens", title="estimated tokens against counted ones", columns=("text", "model", "deviation %")
    )
    known = [model for model in ENCODED if counter(model).exact]
    for name, folder, pattern in (
        ("English", "docs", "*.md"),
        ("Python", "graphs", "*.py"),
        ("JSON", "docs", "*.json"),
    ):
        text = _text(ROOT / folder, pattern)
        for model in known:
            table.rows.append((name, model, 100 * (estimated(text) / counter(model).count(text) - 1)))
    if not known:
        table.notes.append("left out: no tokenizer's data is on this machine (TIKTOKEN_CACHE_DIR)")
    return table


def _text(folder: Path, pattern: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob(pattern)))


def _milliseconds(do: Callable[[], object]) -> float:
    do()
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        do()
        taken.append(time.perf_counter() - begun)
    return 1000 * median(taken)
