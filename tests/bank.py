"""A command line with tools that write down what they do, and wait for a file where a test wants to look meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cogwork.cli import main
from cogwork.tools.function import tool
from state.errors import Fault

LEDGER = Path("ledger.txt")


def _note(line: str) -> None:
    with LEDGER.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _until(gate: str) -> None:
    while gate and not Path(gate).exists():
        time.sleep(0.01)


@tool(name="bank.pay", effect="write")
def pay(to: str, gate: str = "", die: str = "") -> dict[str, str]:
    """Pay, once the file ``gate`` is there; ``die`` names a file in whose absence the process ends in the middle."""
    _note(f"pay {to}")
    if die and not Path(die).exists():
        Path(die).touch()
        os._exit(9)
    _until(gate)
    _note(f"paid {to}")
    return {"id": f"p-{to}"}


@tool(name="bank.refund", effect="write", idempotent=True)
def refund(id: str) -> str:
    """Give the money back; nobody gets back what `p-tax` paid."""
    if id == "p-tax":
        raise Fault("refused", "taxes are not paid back", origin="tool")
    _note(f"refunded {id}")
    return id


@tool(name="bank.note", effect="write", idempotent=True)
def note(text: str) -> str:
    """Write a line down."""
    _note(text)
    return text


@tool(name="bank.look", effect="read")
def look(gate: str = "", name: str = "") -> str:
    """Look, once the file ``gate`` is there."""
    _note(f"look {name}")
    _until(gate)
    return name


@tool(name="bank.fail", effect="read")
def fail(text: str = "out of order") -> str:
    """Fail."""
    raise Fault("tool_error", text, origin="tool")


if __name__ == "__main__":
    main([pay, refund, note, look, fail])
