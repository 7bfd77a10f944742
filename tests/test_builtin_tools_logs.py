"""Reading logs and stack traces."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogwork.tools.builtin import builtin_tools
from cogwork.tools.log_lines import read_line
from cogwork.tools.logs import signature, summary
from cogwork.tools.toolbox import Toolbox, checked_call
from cogwork.tools.traces import traces
from state.errors import Fault
from state.services import CallContext

CONTEXT = CallContext(run="r", step="s", idempotency_key="k")
DATA = Path(__file__).parent.parent / "examples" / "data"


async def call(name: str, root: Path = DATA, **args: Any) -> Any:
    """The result of a built-in tool that may read below ``root``."""
    tool = Toolbox(builtin_tools(roots=[root], write_roots=[], allow_python=False)).find(name)
    assert tool is not None
    return await checked_call(tool, args, CONTEXT)


async def test_a_log_is_counted_and_its_errors_are_grouped_by_what_they_share() -> None:
    log = await call("logs.parse", path="shop.log")

    assert log["by_level"] == {"critical": 0, "error": 3, "warning": 2, "info": 7, "debug": 0}
    assert (log["entries"], log["lines"], log["unparsed"], log["severity"]) == (12, 28, 0, "medium")
    worst = log["groups"][0]
    assert worst["signature"] == "order <n> of <text> failed: ZeroDivisionError"
    assert (worst["count"], worst["level"], worst["logger"], worst["first_line"]) == (2, "error", "shop.orders", 5)
    assert (worst["first"], worst["last"]) == ("2026-11-20T08:02:44.902000+00:00", "2026-11-20T08:09:03.218000+00:00")
    assert worst["exception"] == {"type": "ZeroDivisionError", "message": "division by zero"}
    assert [(f["file"], f["line"], f["function"]) for f in worst["frames"]] == [
        ("shop/orders.py", 31, "place"),
        ("shop/prices.py", 12, "price"),
    ]
    assert log["groups"][1]["signature"] == "could not reach mail server <ip>"
    assert log["groups"][2]["signature"] == "stock of <text> is low: <n> left"


async def test_older_entries_are_left_out() -> None:
    log = await call("logs.parse", path="shop.log", since="2026-11-20T08:09:00", levels=["error"])

    assert log["by_level"]["error"] == 2
    assert log["first"] == "2026-11-20T08:09:03.218000+00:00"
    assert [group["count"] for group in log["groups"]] == [1, 1]


async def test_an_empty_log_has_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()

    log = await call("logs.parse", tmp_path, path="empty.log")

    assert (log["severity"], log["entries"], log["groups"], log["first"]) == ("none", 0, [], None)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "either the path of a log or its text"),
        ({"path": "shop.log", "text": "x"}, "either the path"),
        ({"text": "x", "since": "yesterday"}, "no date or time"),
        ({"path": "none.log"}, "does not exist"),
        ({"text": "x", "levels": ["loud"]}, "/levels/0"),
    ],
)
async def test_what_cannot_be_asked_is_refused(args: dict[str, Any], said: str) -> None:
    with pytest.raises(Fault) as raised:
        await call("logs.parse", **args)
    assert raised.value.fault_class == "invalid_input"
    assert said in raised.value.message


async def test_a_binary_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(b"\x7fELF\0\0")

    with pytest.raises(Fault, match="binary"):
        await call("logs.parse", tmp_path, path="core")


@pytest.mark.parametrize(
    ("line", "level", "logger", "message", "hour"),
    [
        ("2026-11-21 10:00:00,123 - app.db - ERROR - lost 5 rows", "error", "app.db", "lost 5 rows", 10),
        ("2026-11-21T10:00:00Z WARN app.db: lost", "warning", "app.db", "lost", 10),
        ("2026-11-21T10:00:00+02:00 DEBUG app.db: lost", "debug", "app.db", "lost", 8),
        ("2026-11-21 10:00:00.1 | ERROR    | mod:func:12 - msg", "error", "mod:func:12", "msg", 10),
        ("[2026-11-21 10:00:00] production.ERROR: boom", "error", "production", "boom", 10),
        ("ERROR:root:message here", "error", "root", "message here", None),
        ("CRITICAL: careful", "critical", "", "careful", None),
        ("2026/11/21 10:00:00 [crit] 123#0: *1 failed", "critical", "", "123#0: *1 failed", 10),
        ("[Sat Nov 21 10:00:00.123 2026] [core:error] [pid 1] [client 1.2.3.4:5] msg", "error", "core", "msg", 10),
        ("Nov 21 10:00:00 host prog[12]: error: bad", "error", "prog", "error: bad", 10),
        ("<34>1 2026-11-21T10:00:00Z host app 1 ID - hello", "critical", "app", "hello", 10),
        ('1.2.3.4 - - [21/Nov/2026:10:00:00 +0100] "GET /x HTTP/1.1" 503 12', "error", "access", "GET /x 503", 9),
        ('{"timestamp": "2026-11-21T10:00:00Z", "level": "error", "message": "x"}', "error", "", "x", 10),
        ('{"level": 50, "time": 1795255200000, "msg": "pino"}', "critical", "", "pino", 10),
        ('ts=2026-11-21T10:00:00Z level=error msg="a \\"b\\" c" n=1', "error", "", 'a "b" c', 10),
    ],
)
def test_the_usual_formats_are_read(line: str, level: str, logger: str, message: str, hour: int | None) -> None:
    found = read_line(line, 2026)

    assert found is not None
    assert (found.level, found.logger, found.message) == (level, logger, message)
    assert (found.time.hour if found.time else None) == hour


async def test_a_stack_trace_after_a_harmless_line_is_an_error_of_its_own() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: bad id 7\n'
    text = f"INFO: fine\n{trace}INFO: fine\n"

    log = await call("logs.parse", text=text)

    assert (log["errors"], log["entries"]) == (1, 3)
    assert log["groups"][0]["signature"] == "ValueError: bad id <n>"


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("INFO: fine", "none"),
        ("WARNING: hm", "low"),
        ("ERROR: bad\n" * 9, "medium"),
        ("ERROR: bad\n" * 10, "high"),
        ("INFO: fine\n" * 19 + "ERROR: bad", "high"),
        ("INFO: fine\n" * 20 + "ERROR: bad", "medium"),
        ("CRITICAL: down", "critical"),
    ],
)
async def test_severity_follows_its_rule(text: str, severity: str) -> None:
    assert (await call("logs.parse", text=text))["severity"] == severity


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("user 'bob' id 42 took 1.5s", "user <text> id <n> took <n>s"),
        ("job 550e8400-e29b-41d4-a716-446655440000 lost", "job <uuid> lost"),
        ("can't open /var/lib/x.db at 0xdeadbeef", "can't open <path> at <hex>"),
        ("GET https://example.org/a?b=1 failed", "GET <url> failed"),
        ("commit 3f2a9bc1 by 10.0.0.1:80", "commit <hex> by <ip>"),
    ],
)
def test_what_varies_is_masked(message: str, masked: str) -> None:
    assert signature(message) == masked


async def test_lines_in_no_format_are_counted() -> None:
    log = await call("logs.parse", text="hello\nworld\nINFO: x\nmore of x\n  indented\n")

    assert (log["entries"], log["unparsed"]) == (1, 3)


@pytest.mark.timeout(900)
async def test_a_log_of_20_mb_is_read_within_seconds(tmp_path: Path) -> None:
    entry = "2026-11-20 08:00:01,340 ERROR shop.server: GET /products/17 failed after 12 ms for 'ada'\n"
    (tmp_path / "big.log").write_text(entry * (20_000_000 // len(entry)))
    begun = time.process_time()

    log = await call("logs.parse", tmp_path, path="big.log")

    assert log["groups"][0]["count"] == log["entries"] == 20_000_000 // len(entry)
    assert time.process_time() - begun < 60


@pytest.mark.parametrize(
    "line", ["a" * 10_000_000, '"' * 200_000, "k=v " * 100_000, "[" * 200_000, "2026-11-20 " * 50_000]
)
async def test_a_line_made_to_be_slow_is_not(line: str) -> None:
    begun = time.process_time()

    await call("logs.parse", text=f"ERROR: {line}\n{line}")
    await call("traceback.parse", text=f"Error: {line}\n    at {line}")

    assert time.process_time() - begun < 30


async def test_a_chain_of_errors_leads_to_its_origin() -> None:
    def inner() -> None:
        raise ValueError("bad")

    try:
        try:
            inner()
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        text = traceback.format_exc()

    found = await call("traceback.parse", text=text)

    assert [(e["type"], e["message"], e["link"]) for e in found["errors"]] == [
        ("ValueError", "bad", None),
        ("RuntimeError", "outer", "cause"),
    ]
    assert found["root"]["type"] == "ValueError"
    assert (found["origin"]["function"], found["origin"]["code"]) == ("inner", 'raise ValueError("bad")')


async def test_the_origin_is_in_ones_own_code() -> None:
    try:
        __import__("json").loads("{")
    except ValueError:
        text = traceback.format_exc()

    assert (await call("traceback.parse", text=text))["origin"]["file"] == __file__


async def test_a_syntax_error_names_its_line() -> None:
    text = '  File "x.py", line 3\n    def (:\n        ^\nSyntaxError: invalid syntax\n'

    found = await call("traceback.parse", text=text)

    assert found["errors"][0]["type"] == "SyntaxError"
    assert found["origin"] == {"file": "x.py", "line": 3, "function": "", "code": "def (:"}


async def test_a_group_of_errors_is_seen() -> None:
    def part() -> None:
        raise KeyError("b")

    try:
        try:
            part()
        except KeyError as error:
            raise ExceptionGroup("several", [error, ValueError("a")]) from None
    except ExceptionGroup:
        text = traceback.format_exc()

    found = await call("traceback.parse", text=text)

    assert [e["type"] for e in found["errors"]] == ["ExceptionGroup", "KeyError"]
    assert found["errors"][1]["frames"][-1]["function"] == "part"


async def test_javascript_and_java_are_read_deepest_call_last() -> None:
    script = "TypeError: x is not a function\n    at foo (/srv/app.js:10:5)\n    at node:internal/main:1:2\n"
    java = (
        'Exception in thread "main" java.lang.RuntimeException: bad\n\tat a.B.main(B.java:2)\n'
        "Caused by: java.io.IOException: no\n\tat a.D.<init>(D.java:3)\n\t... 2 more\n"
    )

    one, two = await call("traceback.parse", text=script), await call("traceback.parse", text=java)

    assert one["errors"][0]["language"] == "javascript"
    assert one["origin"] == {"file": "/srv/app.js", "line": 10, "function": "foo", "code": ""}
    assert [(e["type"], e["link"]) for e in two["errors"]] == [
        ("java.lang.RuntimeException", None),
        ("java.io.IOException", "caused_by"),
    ]
    assert two["origin"]["function"] == "a.D.<init>"


@pytest.mark.parametrize(
    "text", ["", "nothing here", "Traceback (most recent call last):", 'File "x", line 1', "\0" * 100]
)
async def test_a_text_without_errors_has_none(text: str) -> None:
    assert (await call("traceback.parse", text=text))["errors"] == []


PIECES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        '  File "a.py", line 3, in f',
        "    g()",
        "ValueError: x",
        "INFO: y",
        "ERROR: z",
        "2026-11-20 08:00:00,012 ERROR a: b",
        "9999-99-99 99:99:99 ERROR a",
        "Caused by: a.B: c",
        "    at f (a.js:1:2)",
        "  | Traceback (most recent call last):",
        "    +---------------- 2 ----------------",
        "<999>1 x x x x x - y",
        "",
        '{"level": 1e400, "time": 99999999999999}',
        '{"msg": ["x"], "level": {}}',
        "Feb 30 10:00:00 h p: m",
        "level=x msg=",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=60)), max_size=30))
def test_no_text_stops_the_reading_and_every_error_is_in_a_group(lines: list[str]) -> None:
    log = summary(lines, since=None, grouped=frozenset(("error", "critical")), year=2026)

    assert sum(group["count"] for group in log["groups"]) == log["errors"]
    assert sum(log["by_level"].values()) == log["entries"]
    assert log["entries"] + log["unparsed"] <= log["lines"]
    assert traces("\n".join(lines))["count"] >= 0


async def test_a_trace_within_a_json_line_is_read() -> None:
    trace = 'Traceback (most recent call last):\\n  File \\"a.py\\", line 1, in f\\n    g()\\nValueError: bad'
    line = f'{{"level": "error", "msg": "failed", "exc_info": "{trace}"}}'

    log = await call("logs.parse", text=line)

    assert log["groups"][0]["signature"] == "failed: ValueError"
    assert log["groups"][0]["frames"] == [{"file": "a.py", "line": 1, "function": "f", "code": "g()"}]
