"""Errors and problems in the words of the command line, with their exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cogwork.cli import exits, render
from cogwork.errors import EngineError
from cogwork.tools.loading import LoadingError
from state.errors import AnswerRefused, InputRefused, NotResumable, SpecError
from state.problems import Problem

_NOT_FOUND = {"unknown_workflow", "file_missing"}


def complained(error: BaseException) -> int:
    """Say what went wrong; the exit code."""
    match error:
        case KeyboardInterrupt():
            return exits.INTERRUPTED
        case BrokenPipeError():
            return exits.FAILED
        case SpecError():
            show_problems(error.problems)
            return code_of(error.problems)
        case exits.Refusal():
            render.complain(str(error), error.hint)
            return error.code
        case AnswerRefused() | InputRefused():
            render.complain(str(error))
            return exits.USAGE
        case LoadingError():
            render.complain(str(error), error.hint)
            return exits.USAGE
        case NotResumable():
            render.complain(str(error))
            return exits.MISSING
        case EngineError():
            render.complain(str(error))
            return _engine_code(error.code)
        case _:
            render.complain(str(error))
            return exits.FAILED


def _engine_code(code: str) -> int:
    if code.endswith("_not_found"):
        return exits.MISSING
    if code in ("permission_denied", "unauthenticated"):
        return exits.DENIED
    return exits.USAGE if code.startswith("invalid_") else exits.FAILED


def code_of(problems: Iterable[Problem]) -> int:
    """0 without errors, 4 where a file or workflow is not there, else 1."""
    errors = {problem.code for problem in problems if problem.severity == "error"}
    if not errors:
        return exits.DONE
    return exits.MISSING if errors <= _NOT_FOUND else exits.FAILED


def show_problems(problems: Sequence[Problem], tell: Callable[..., None] = render.note) -> None:
    """Each problem as a compiler shows it: place, code, sentence, the source line with a caret, and a hint."""
    for problem in problems:
        style = "bold red" if problem.severity == "error" else "bold yellow"
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        where = "" if problem.line or not problem.pointer else f" (at {problem.pointer})"
        tell(
            (f"{place}: " if place else "", "bold"),
            (f"{problem.severity} {problem.code}: ", style),
            problem.message,
            where,
        )
        if (line := _source_line(problem)) is not None:
            tell((f"{problem.line:5} │ ", "dim"), line)
            tell(("      │ ", "dim"), _indent(line, problem.column), ("^", style))
        if problem.hint:
            tell(("      = ", "dim"), ("hint: ", "bold"), problem.hint)


def _indent(line: str, column: int) -> str:
    return "".join("\t" if char == "\t" else " " for char in line[: column - 1])


def _source_line(problem: Problem) -> str | None:
    """The line of the file that the problem stands on, where it can be read."""
    if not (problem.line and problem.file):
        return None
    try:
        lines = Path(problem.file).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return lines[problem.line - 1][:160] if problem.line <= len(lines) else None
