"""Responses: what is told of an execution, in six forms, within bounds, and by the header ``Accept``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError
from cogwork.responses import (
    FORMS,
    USUAL,
    WHOLE,
    Bounds,
    chosen,
    form_named,
    formatted,
    refusal_of,
    rendered,
    response_of,
)
from cogwork.responses.artifacts import media_type
from cogwork.responses.prose import fenced_block, markdown_in, parser
from cogwork.responses.xml import UnreadableXml, from_xml, to_xml
from cogwork.responses.yaml import to_yaml
from cogwork.tools.roots import Roots
from state.errors import Fault, InputRefused
from state.values import normalise
from tests.told import QUESTION, REPORT, each_status, fault, result

pytestmark = pytest.mark.req("X11")

GOLDEN = Path(__file__).parent / "golden" / "responses"
ENDINGS = {"text": "txt", "markdown": "md", "html": "html", "json": "json", "xml": "xml", "yaml": "yaml"}
WRITTEN = [(status, form) for status in each_status() for form in ("text", "markdown", "html")]
WRITTEN += [(status, form) for status in ("completed", "paused", "failed") for form in ("json", "xml", "yaml")]

texts = st.text(st.characters(exclude_categories=()), max_size=40)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)
"""Any plain JSON, lone surrogates and NUL included, which normalised values do not even have."""


# -- golden renders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "form"), WRITTEN)
def test_a_response_is_written_as_in_its_golden_file(status: str, form: Any) -> None:
    written = rendered(response_of(each_status()[status]), form)
    file = GOLDEN / f"{status}.{ENDINGS[form]}"
    assert written == file.read_text(encoding="utf-8"), f"python -m tests.test_responses writes {file.name} anew"


@pytest.mark.parametrize("status", list(each_status()))
def test_json_xml_and_yaml_hold_the_same_whatever_the_status(status: str) -> None:
    made = response_of(each_status()[status])
    told = made.to_dict()
    assert json.loads(rendered(made, "json")) == told
    assert yaml.safe_load(rendered(made, "yaml")) == told
    assert from_xml(rendered(made, "xml")) == told


# -- laws --------------------------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Whether two values are alike, types and order of fields included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@given(plain)
@settings(max_examples=200, deadline=None)
def test_any_plain_json_comes_back_from_xml_as_it_was(value: Any) -> None:
    assert same(from_xml(to_xml(value)), value)


@given(plain.map(normalise))
@settings(max_examples=200, deadline=None)
def test_any_plain_json_comes_back_from_yaml_as_it_was(value: Any) -> None:
    assert same(yaml.safe_load(to_yaml(value)), value)


@given(
    st.sampled_from(
        ["yes", "1e5", "0x1F", "~", "12:30:45", "2026-11-28", "=", "<<", "- a", "a: b", "# a", "y", "1_000", "0o7"]
    )
)
def test_a_text_that_looks_like_something_else_is_quoted_in_yaml(text: str) -> None:
    assert to_yaml({"a": text}) == f'a: "{text}"\n'


def test_lines_are_a_block_in_yaml_unless_a_reader_could_see_other_lines() -> None:
    assert to_yaml({"a": "one\ntwo\n"}) == "a: |\n  one\n  two\n"
    for text in ("one\u2028two\n", "one\x85two\n", "one\ttwo\n", "one \ntwo\n", " one\n"):
        assert to_yaml({"a": text}).startswith('a: "'), text


@given(plain)
@settings(max_examples=60, deadline=None)
def test_any_output_can_be_told_in_every_form_and_its_json_comes_back(value: Any) -> None:
    made = response_of(result(value))
    for form in FORMS:
        rendered(made, form).encode("utf-8")
    assert json.loads(rendered(made, "json")) == made.to_dict()


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_plain_text_is_shown_by_markdown_as_it_stands(text: str) -> None:
    made = response_of(result({"text": text, "n": 1}), text_as="text")
    source = rendered(response_of(result(text), text_as="text"), "markdown")
    tokens = parser().parse(source)
    kinds = {token.type for token in tokens} | {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "fence", "softbreak"}, (text, source)
    assert made.parts[-1].kind == "data"


@pytest.mark.parametrize("text", ["<b>bold</b>", "see [note]", "&lt;", "a  b", " a", "a\nb", "1. one", "`a`"])
def test_a_plain_text_that_markdown_would_change_is_fenced(text: str) -> None:
    assert rendered(response_of(result(text), text_as="text"), "markdown") == f"```text\n{text}\n```\n"
    assert rendered(response_of(result("One, two.\n\nThree!"), text_as="text"), "markdown") == "One, two.\n\nThree!\n"


@given(plain.map(normalise), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_sizes_are_bytes_and_what_is_shortened_says_so_and_stays_within_its_bounds(value: Any, total: int) -> None:
    made = response_of(result(value), bounds=Bounds(total=total))
    for part in made.parts:
        text = (
            part.content
            if isinstance(part.content, str)
            else json.dumps(part.content, ensure_ascii=False, separators=(",", ":"))
        )
        shown = len(text.encode())
        if part.shortened is None:
            assert part.size == shown
        else:
            assert part.shortened.size == part.size and part.shortened.shown == shown
            assert isinstance(part.content, str) or shown <= total * 3 + 2000
            assert not isinstance(part.content, str) or part.kind == "data" or shown <= total


# -- parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "kinds"),
    [
        (None, []),
        ("hello", [("text", "")]),
        (REPORT, [("markdown", "")]),
        ("```python\nx = 1\n```", [("code", "python")]),
        ("~~~\nx = 1\n~~~\n", [("code", "")]),
        ("```a\n1\n```\nand\n```b\n2\n```", [("markdown", "")]),
        ({"n": 1}, [("data", "")]),
        ([1, 2], [("data", "")]),
        (0, [("data", "")]),
        ({}, [("data", "")]),
        ({"code": "x = 1", "language": "python"}, [("code", "python")]),
        ({"summary": "one\ntwo", "n": 1}, [("text", ""), ("data", "")]),
        (
            {"code": "x\ny", "language": "py", "notes": "- a\n- b", "n": 1},
            [("code", "py"), ("markdown", ""), ("data", "")],
        ),
    ],
)
def test_an_output_becomes_text_markdown_code_and_data(output: Any, kinds: list[tuple[str, str]]) -> None:
    assert [(part.kind, part.language) for part in response_of(result(output)).parts] == kinds


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("# A heading", "heading"),
        ("* one\n* two", "list"),
        ("see [this](https://example.org)", "link"),
        ("call `f`", "code"),
        ("this is **bold**.", "bold text"),
        ("> said", "quotation"),
        ("a\n\n```\nb\n```", "fenced block"),
        ("| a |\n|---|\n| 1 |", "table"),
        ("1. only one", ""),
        ("2 * 3 * 4 and 2**3**4", ""),
        ("use __init__ and *args", ""),
        ("Title\n=====\n\nDone\n----", ""),
        ("    indented", ""),
        ("#!/bin/sh\n# a program", ""),
        ("#5 and #hash", ""),
        ("a\nb\nc", ""),
        ("<b>bold</b>", ""),
    ],
)
def test_a_text_counts_as_markdown_for_what_commonmark_finds_in_it_and_says_so(text: str, because: str) -> None:
    assert markdown_in(text) == because
    part = response_of(result(text)).parts[0]
    assert (part.kind, part.because) == ("markdown" if because else "text", because)
    assert response_of(result(text), text_as="markdown").parts[0].kind == "markdown"
    assert response_of(result(text), text_as="text").parts[0].kind == "text"


@pytest.mark.parametrize("text", ["[" * 60_000, "a**b" * 15_000, "![[" * 20_000, "*_`" * 20_000, "a " * 200_000])
def test_a_text_made_to_keep_a_parser_busy_is_shown_as_it_stands(text: str) -> None:
    written = rendered(response_of(result(text), text_as="markdown", bounds=WHOLE), "html")
    assert f"<pre><code>{text}</code></pre>" in written and "<p>" not in written


@pytest.mark.parametrize("text", ["> " * 30_000, "- " * 30_000, "`" * 60_000, "a\n\n" * 8_000, "\\" * 4_000])
def test_a_text_of_many_blocks_is_converted_for_they_cost_little(text: str) -> None:
    assert len(rendered(response_of(result(text), text_as="markdown"), "html")) < 6 * len(text) + 3000


def test_a_fence_that_is_left_open_does_not_swallow_what_follows() -> None:
    made = response_of(result("## Plan\n\n```python\nx = 1", steps={"a": {"path": "a.md", "bytes": 3}}))
    tokens = parser().parse(rendered(made, "markdown"))
    assert [token.content for token in tokens if token.type == "inline"][:2] == ["Plan", "Artifacts"]
    assert fenced_block("```\na\n```\nb\n```") is None


def test_a_large_result_is_shortened_with_a_mark_that_says_where_the_whole_is() -> None:
    large = {"rows": [{"n": n, "text": "ö" * 50} for n in range(9000)]}
    made = response_of(result(large))
    assert made.parts[0].shortened is not None and made.parts[0].size == len(
        json.dumps(large, ensure_ascii=False, separators=(",", ":")).encode()
    )
    assert made.parts[0].content["rows"][-1].endswith("more")
    for form in FORMS:
        written = rendered(made, form)
        assert len(written.encode()) < 3 * USUAL.total
        assert "cogwork result report-0f1e2d --json, or GET /api/v1/executions/report-0f1e2d/result" in written
    assert response_of(result(large), bounds=WHOLE).parts[0].content == large
    text = response_of(result("wörter " * 100_000))
    assert text.parts[0].shortened is not None and text.parts[0].shortened.shown <= USUAL.total
    assert "[shortened: 262,144 of 800,000 bytes" in rendered(text, "text") or "[shortened: 262,143" in rendered(
        text, "text"
    )


HUGE: dict[str, Any] = {
    "texts": {"output": {f"field {n}": "word " * 40 for n in range(20_000)}},
    "names": {"output": {"n" * 400_000 + str(n): 1 for n in range(3)}},
    "nesting": {"output": json.loads("[" * 60 + '"' + "x" * 900_000 + '"' + "]" * 60)},
    "questions": {
        "status": "paused",
        "reason": "human",
        "questions": tuple({**QUESTION, "at": f"q{n}", "show": {"it": "y" * 50_000}} for n in range(500)),
    },
    "forms": {
        "status": "paused",
        "reason": "human",
        "questions": ({**QUESTION, "form": {"properties": {f"f{n}": {"type": "string"} for n in range(50_000)}}},),
    },
    "error": {
        "status": "failed",
        "error": fault("tool_error", "e" * 900_000, details=["d" * 900] * 900, node="s" * 9000),
    },
    "artifacts": {"steps": {f"s{n}": {"path": "p" * 9000 + str(n), "bytes": 1} for n in range(500)}},
    "pictures": {"output": [{"type": "image", "mime": "image/png", "data": "iVBORw==" * 1000} for _ in range(500)]},
}


@pytest.mark.parametrize("shape", list(HUGE))
def test_a_response_stays_small_whatever_is_large_in_the_result(shape: str) -> None:
    made = response_of(result(**HUGE[shape]))
    for form in FORMS:
        assert len(rendered(made, form).encode()) < 12 * USUAL.total, form
    assert len(json.dumps(made.to_dict())) < (10 if shape != "error" else 0.5) * USUAL.total


# -- artifacts ---------------------------------------------------------------------------------------------------------


def test_a_file_that_a_step_wrote_is_told_with_its_type_size_and_digest(tmp_path: Path) -> None:
    data = "# Größe\n".encode()
    (tmp_path / "a.md").write_bytes(data)
    steps = {"write": {"path": "a.md", "bytes": 1, "created": True}}
    (told,) = response_of(result(steps=steps), roots=Roots([tmp_path])).artifacts
    assert (told.id, told.name, told.type, told.mime_type) == ("artifact-1", "a.md", "document", "text/markdown")
    assert (told.size, told.content, told.where, told.step) == (10, "# Größe\n", {"file": "a.md"}, "write")
    assert told.size == len(data) and told.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    (unread,) = response_of(result(steps=steps)).artifacts
    assert (unread.size, unread.digest, unread.content) == (1, "", None), "without roots no file is read"


def test_a_large_or_binary_file_is_a_reference_or_base64(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_bytes(b"x" * 20_000)
    (tmp_path / "one.png").write_bytes(b"\x89PNG")
    steps = {"a": {"path": "big.txt", "bytes": 1}, "b": {"path": "one.png", "bytes": 4}}
    big, one = response_of(result(steps=steps), roots=Roots([tmp_path])).artifacts
    assert (big.size, big.content) == (
        20_000,
        None,
    ) and big.digest == f"sha256:{hashlib.sha256(b'x' * 20_000).hexdigest()}"
    assert (one.type, one.mime_type, one.content, one.encoding) == ("image", "image/png", "iVBORw==", "base64")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link", "folder/link/x", "nothing", ".", "a\0b", "pipe"])
def test_what_is_not_a_file_under_the_allowed_folders_is_never_read(path: str, tmp_path: Path) -> None:
    import os

    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("canary")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder" / "link").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    (told,) = response_of(result(steps={"a": {"path": path, "bytes": 6}}), roots=Roots([root])).artifacts
    assert "refused" in told.where and told.content is None and told.digest == ""
    assert "canary" not in rendered(
        response_of(result(steps={"a": {"path": path, "bytes": 6}}), roots=Roots([root])), "json"
    )


def test_a_block_of_content_in_a_result_is_an_artifact_with_a_pointer_to_its_value() -> None:
    picture = {"type": "image", "mime": "image/png", "data": "iVBORw=="}
    link = {"type": "resource_link", "uri": "https://example.org/a.csv", "name": "a.csv", "mime": "text/csv"}
    made = response_of(
        result({"all": [picture, link]}, steps={"draw/it": picture, "odd": {"type": "image", "data": "%%"}})
    )
    first, second, third = made.artifacts[:3]
    assert (first.size, first.where) == (4, {"value": "/output/primary_result/all/0"})
    assert (second.type, second.size, second.where) == ("data", None, {"uri": "https://example.org/a.csv"})
    assert third.where == {"value": "/output/intermediate_results/draw~1it"} and third.step == "draw/it"
    assert len(response_of(result([picture] * 300)).artifacts) == USUAL.artifacts


def test_media_types_do_not_depend_on_the_machine() -> None:
    names = ["a.md", "a.json", "a.csv", "a.py", "a.svg", "a.html", "a.yaml", "a.unheard-of", "none"]
    assert [media_type(name) for name in names] == [
        *(
            "text/markdown",
            "application/json",
            "text/csv",
            "text/plain",
            "image/svg+xml",
            "text/html",
            "application/yaml",
        ),
        *("application/octet-stream",) * 2,
    ]


# -- actions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        ("completed", []),
        ("failed", ["why", "fork", "again"]),
        ("timeout", ["why", "fork", "again"]),
        ("paused", ["answer", "why", "cancel"]),
        ("resting", ["resume", "why", "cancel"]),
        ("cancelled", ["why", "again"]),
        ("running", ["follow", "cancel"]),
    ],
)
def test_each_status_has_its_actions_as_commands_and_as_calls(status: str, verbs: list[str]) -> None:
    made = response_of(each_status()[status])
    assert made.status == {"resting": "paused"}.get(status, status)
    assert [action.verb for action in made.actions] == verbs
    for action in made.actions:
        assert action.command.startswith("cogwork ") and action.path.startswith("/api/v1/executions")
        assert action.to_dict()["parameters"]["http"]["method"] in ("GET", "POST")


def test_a_question_is_answered_with_its_form_and_a_failure_retried_from_its_step() -> None:
    (answer, *_), (_, fork, _) = (
        response_of(each_status()["paused"]).actions,
        response_of(each_status()["failed"]).actions,
    )
    assert answer.form == {"approve": QUESTION["form"]} and answer.body == {"answers": {"approve": {}}}
    assert answer.command == "cogwork resume report-0f1e2d -a go=yes"
    assert (fork.command, fork.body) == ("cogwork fork report-0f1e2d --at fetch", {"at": "fetch"})
    assert [action.verb for action in response_of(result("x", steps={"a": {"path": "b", "bytes": 1}})).actions] == [
        "save"
    ]
    odd = response_of(result(status="failed", id="a b/c;d", error=fault("internal", "x", node="$(x)"))).actions[1]
    assert odd.command == "cogwork fork 'a b/c;d' --at '$(x)'" and odd.path == "/api/v1/executions/a%20b%2Fc%3Bd/fork"


# -- errors ------------------------------------------------------------------------------------------------------------


def test_an_error_has_the_documents_form() -> None:
    refused = EngineError("workflow_not_found", "There is no workflow 'x'", suggestions=["y"])
    assert json.loads(rendered(refusal_of(refused), "json")) == refused.to_dict()
    assert from_xml(rendered(refusal_of(refused, request_id="req-1"), "xml"))["error"]["request_id"] == "req-1"
    assert "workflow_not_found" in rendered(refusal_of(refused), "text") and "There is no" in rendered(
        refusal_of(refused), "html"
    )
    failed = json.loads(rendered(response_of(each_status()["timeout"], request_id="req-2"), "json"))["error"]
    assert set(failed) == {"code", "message", "details", "request_id"} and failed["request_id"] == "req-2"
    assert failed["code"] == "execution_timeout" and failed["details"]["node"] == "fetch"


def test_an_error_that_nobody_foresaw_tells_nothing_of_its_inside() -> None:
    told = rendered(refusal_of(RuntimeError("password=hunter2")), "json")
    assert json.loads(told)["error"]["code"] == "internal" and "hunter2" not in told
    assert refusal_of(Fault("rate_limited", "slow down", retry_after=3.0)).error["details"]["retry_after"] == 3.0  # type: ignore[index]
    assert refusal_of(InputRefused([], [])).error["code"] == "invalid_input"  # type: ignore[index]


# -- what is wanted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("application/json;q=0.5, text/markdown", "markdown"),
        ("text/*", "text"),
        ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "html"),
        ("text/plain;q=0, text/*", "markdown"),
        ("TEXT/HTML", "html"),
        ("application/x-yaml", "yaml"),
        ("text/xml; charset=utf-8", "xml"),
        ("text/xml; charset=latin-1, text/plain;q=0.1", "text"),
        ("image/png, */*;q=0.1", "json"),
        ("application/json;q=2, text/html;q=x, text/plain", "text"),
        ("nonsense", "json"),
        ('text/html;a="x,y;q=0";q=0.2, text/plain;q=0.1', "html"),
    ],
)
def test_the_form_is_the_one_that_the_header_wants_most(accept: str | None, form: str) -> None:
    assert chosen(accept) == form


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text/html;charset=latin-1", "*/*;q=0"])
def test_a_header_that_takes_none_of_the_forms_is_refused_with_those_that_there_are(accept: str) -> None:
    with pytest.raises(EngineError, match="text/markdown") as refused:
        chosen(accept)
    assert refused.value.code == "not_acceptable"


@given(st.text(max_size=200) | st.text('*/;,q=.01"\\texhml', max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_header_gives_a_form_or_is_not_acceptable(accept: str) -> None:
    try:
        assert chosen(accept) in FORMS
    except EngineError as refused:
        assert refused.code == "not_acceptable"


def test_a_form_is_named_or_refused_and_the_documents_form_has_content_and_what_is_beside_it() -> None:
    assert form_named("yaml") == "yaml"
    with pytest.raises(EngineError, match="text, markdown") as refused:
        form_named("pdf")
    assert refused.value.code == "not_acceptable"
    told = formatted(response_of(each_status()["paused"]), "markdown")
    assert set(told) == {"content", "format", "mime_type", "metadata", "artifacts", "actions"}
    assert told["content"].startswith("# report: paused") and told["actions"][0]["action"] == "continue_conversation"


# -- XML from outside --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a>",
        "<a/>",
        '<a type="integer">x</a>',
        '<a type="number">nan</a>',
        '<a type="boolean">yes</a>',
        '<a type="object"><entry type="null"/></a>',
        '<a type="string" encoding="rot13">a</a>',
        '<!DOCTYPE a [<!ENTITY x "y">]><a type="string">&x;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a type="null"/>',
        '<a type="array">' * 100 + "</a>" * 100,
        '<a type="string">&nothing;</a>',
    ],
)
def test_xml_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(UnreadableXml):
        from_xml(text)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, how in WRITTEN:
        written = rendered(response_of(each_status()[name]), how)  # type: ignore[arg-type]
        (GOLDEN / f"{name}.{ENDINGS[how]}").write_text(written, encoding="utf-8")
