"""How functions become tools, and how tools are called without trusting them."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import threading
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from cogwork.tools.toolbox import FunctionTool, Toolbox, checked_call, tool
from state.errors import Fault
from state.schemas import schema_fault
from state.services import CallContext, Tools

CONTEXT = CallContext(run="r1", step="fetch", idempotency_key="r1/fetch/0")


class Row(BaseModel):
    """A row."""

    id: int
    tags: list[str] = []


class Rows(TypedDict):
    """Rows, and how many there are."""

    rows: list[Row]
    count: int


@tool(name="rows.pick", effect="read")
def pick(
    ids: Annotated[list[int], "The ids to pick."],
    limit: Annotated[int, Field(ge=1, description="At most so many.")] = 10,
    day: dt.date | None = None,
) -> Rows:
    """Pick rows by id.

    Args:
        day: The day that
            they are from.
    """
    return Rows(rows=[Row(id=i) for i in ids[:limit]], count=len(ids))


def raising(error: Exception) -> FunctionTool:
    """A tool that only raises."""

    def fail() -> None:
        raise error

    return FunctionTool.from_function(fail, name="fail")


def returning(value: Any) -> FunctionTool:
    """A tool that returns the value, of which its signature says nothing."""

    def give():  # type: ignore[no-untyped-def]
        return value

    return FunctionTool.from_function(give, name="give")


async def fault_of(call: Any) -> Fault:
    """The fault that a call raises."""
    with pytest.raises(Fault) as raised:
        await call
    assert raised.value.origin == "tool"
    return raised.value


def test_a_signature_becomes_a_schema_with_the_words_of_annotations_and_docstring() -> None:
    schema = pick.args_schema

    assert schema["type"] == "object"
    assert schema["required"] == ["ids"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limit"] == {
        "type": "integer",
        "minimum": 1,
        "default": 10,
        "description": "At most so many.",
    }
    assert schema["properties"]["day"]["description"] == "The day that they are from."
    assert pick.description == "Pick rows by id."
    assert schema_fault(schema) is None


def test_typed_results_become_a_full_output_schema() -> None:
    assert set(pick.output_schema["properties"]) == {"rows", "count"}
    assert pick.output_schema["$defs"]["Row"]["properties"]["id"] == {"type": "integer"}
    assert schema_fault(pick.output_schema) is None


def test_an_undeclared_effect_is_a_write_that_must_not_be_repeated() -> None:
    undeclared = returning(1)

    assert (undeclared.effect, undeclared.idempotent) == ("write", False)
    assert (pick.effect, pick.idempotent) == ("read", True)


def test_a_function_whose_arguments_have_no_names_cannot_be_a_tool() -> None:
    def loose(*args: int) -> None: ...

    with pytest.raises(TypeError, match="args cannot be given by name"):
        FunctionTool.from_function(loose)


async def test_a_call_gives_plain_json() -> None:
    result = await checked_call(pick, {"ids": [1, 2, 3], "limit": 2, "day": "2026-11-01"}, CONTEXT)

    assert result == {"rows": [{"id": 1, "tags": []}, {"id": 2, "tags": []}], "count": 3}


async def test_wrong_arguments_are_named_before_anything_is_called() -> None:
    fault = await fault_of(checked_call(pick, {"id": [1], "limit": 0}, CONTEXT))

    assert fault.fault_class == "invalid_input"
    assert sorted(fault.details["faults"]) == [
        "/id: is not known here; did you mean 'ids'?",
        "/ids: is missing, expected array",
        "/limit: 0 is below the minimum 1",
    ]


async def test_an_argument_that_only_its_annotation_can_refuse_is_named_too() -> None:
    fault = await fault_of(checked_call(pick, {"ids": [], "day": "0000-00-00"}, CONTEXT))

    assert fault.fault_class == "invalid_input"
    assert "/day" in fault.message


async def test_the_context_reaches_the_parameter_that_asks_for_it_and_is_no_argument() -> None:
    async def key(context: CallContext, prefix: str = "") -> str:
        return prefix + context.idempotency_key

    made = FunctionTool.from_function(key)

    assert list(made.args_schema["properties"]) == ["prefix"]
    assert await checked_call(made, {"prefix": "k:"}, CONTEXT) == "k:r1/fetch/0"


async def test_a_function_that_is_not_async_does_not_block_the_loop() -> None:
    main = threading.get_ident()

    def where() -> bool:
        return threading.get_ident() == main

    assert await checked_call(FunctionTool.from_function(where), {}, CONTEXT) is False


async def test_what_a_plain_function_promises_is_awaited() -> None:
    async def later() -> int:
        return 7

    made = FunctionTool.from_function(lambda: later(), name="later")

    assert await checked_call(made, {}, CONTEXT) == 7


async def test_a_partial_offers_only_its_free_parameters() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    made = FunctionTool.from_function(partial(add, 40))

    assert list(made.args_schema["properties"]) == ["b"]
    assert await checked_call(made, {"b": 2}, CONTEXT) == 42


@pytest.mark.parametrize(
    ("error", "fault_class"),
    [
        (TimeoutError("slow"), "timeout"),
        (ConnectionResetError("gone"), "connection"),
        (PermissionError("no"), "permission_denied"),
        (KeyError("x"), "tool_error"),
    ],
)
async def test_an_exception_becomes_a_fault_of_its_class(error: Exception, fault_class: str) -> None:
    fault = await fault_of(checked_call(raising(error), {}, CONTEXT))

    assert fault.fault_class == fault_class
    assert fault.message == f"{type(error).__name__}: {error}"
    assert type(fault.__cause__) is type(error)


async def test_the_words_of_an_exception_are_cut() -> None:
    assert len((await fault_of(checked_call(raising(ValueError("x" * 10_000)), {}, CONTEXT))).message) <= 2_000


async def test_a_fault_of_the_tool_passes_as_it_is() -> None:
    mine = Fault("rate_limited", "later", origin="tool", retry_after=3)

    assert await fault_of(checked_call(raising(mine), {}, CONTEXT)) is mine


async def test_cancelling_passes_through() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    call = asyncio.create_task(checked_call(FunctionTool.from_function(wait), {}, CONTEXT))
    await asyncio.sleep(0)
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call


async def test_what_is_not_a_number_becomes_null() -> None:
    assert await checked_call(returning({"mean": math.nan, "n": 3}), {}, CONTEXT) == {"mean": None, "n": 3}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * 50_000_000, "larger than the limit"),
        (object(), "no JSON form"),
        ({"a": {1: [object()]}}, "/a/1"),
    ],
    ids=["50 MB", "object", "deep object"],
)
async def test_a_result_that_is_no_json_or_too_large_is_refused(value: Any, said: str) -> None:
    fault = await fault_of(checked_call(returning(value), {}, CONTEXT))

    assert fault.fault_class == "invalid_output"
    assert said in fault.message


async def test_a_result_within_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert (await fault_of(checked_call(returning(loop), {}, CONTEXT))).fault_class == "invalid_output"


async def test_a_result_that_does_not_fit_its_own_schema_is_refused() -> None:
    def wrong() -> Rows:
        return {"rows": "none"}  # type: ignore[typeddict-item]

    fault = await fault_of(checked_call(FunctionTool.from_function(wrong), {}, CONTEXT))

    assert fault.fault_class == "invalid_output"
    assert "/count: is missing, expected integer" in fault.details["faults"]


def test_a_toolbox_finds_its_tools_by_name() -> None:
    box: Tools = Toolbox([pick, returning(1)])

    assert list(box.names()) == ["give", "rows.pick"]
    assert box.find("rows.pick") is pick
    assert box.find("rows.drop") is None


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two tools named rows\.pick"):
        Toolbox([pick, pick])


@pytest.mark.parametrize(("allowed", "names"), [(["rows.*"], ["rows.pick"]), ([], []), (["give"], ["give"])])
def test_a_toolbox_holds_only_what_is_allowed(allowed: list[str], names: list[str]) -> None:
    assert Toolbox([pick, returning(1)], allowed=allowed).names() == names


def test_a_parameter_may_bear_any_name() -> None:
    def odd(schema: int, model_config: int, copy: int) -> int:
        return schema + model_config + copy

    made = FunctionTool.from_function(odd)

    assert asyncio.run(made.call({"schema": 1, "model_config": 2, "copy": 3}, CONTEXT)) == 6
