"""The documentation is held to the code: its workflows run, its Python runs, its tables and links are right.

``python -m tests.test_docs`` writes the tables and ``docs/schema.json`` anew; what people wrote in a table's last column stays.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import cogwork
from cogwork.cli.config import default_of, leaves, variable_of
from cogwork.settings import Settings
from graphs.analysis.check import CODES
from graphs.analysis.names import METADATA
from graphs.language.load import load
from graphs.language.schema import language_schema
from graphs.language.yaml import read_yaml
from nodes.expression import ExpressionError, compile_condition, compile_expression, limits
from nodes.expression.functions import ANY, FUNCTIONS, Function
from nodes.template import parse_template
from state.errors import FAULT_CLASSES, SpecError
from state.events import EVENT_KINDS
from state.values import Json

HOUSE = Path(__file__).parent.parent
DOCS = HOUSE / "docs"
NOT_HELD = frozenset({"benchmarks.md", "cli.md", "patterns.md", "studio.md"})
"""Pages that other tests hold to the code."""
NAMED = tuple(sorted(page.name for page in DOCS.glob("*.md") if page.name not in NOT_HELD))
PAGES = (HOUSE / "README.md", *(DOCS / name for name in NAMED), *sorted((DOCS / "decisions").glob("*.md")))
FOLDERS = ("benchmarks", "cogwork", "deploy", "docs", "examples", "graphs", "nodes", "prompts", "state", "tests")
SCHEMA = DOCS / "schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page; ``line`` is that of its first line of content."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"

    def note(self, word: str) -> Json:
        """What the comment ``# word: …`` in the block says, read as YAML."""
        found = re.search(rf"^# {word}: (.*)$", self.text, re.MULTILINE)
        return yaml.safe_load(found[1]) if found else None


def blocks(page: Path, language: str = "") -> Iterator[Block]:
    """The fenced blocks of a page, of one language or of all."""
    opened: tuple[int, str] | None = None
    held: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.startswith("```") and opened is None:
            opened, held = (number + 1, line.removeprefix("```").strip()), []
        elif line.startswith("```") and opened is not None:
            if language in ("", opened[1]):
                yield Block(page=page, line=opened[0], language=opened[1], text="\n".join(held) + "\n")
            opened = None
        else:
            held.append(line)
    assert opened is None, f"{page.name}: the block that begins on line {opened} never ends"


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    parts = re.split(r"(?<!\\)\|", line.strip().strip("|")) if not line.strip().endswith(r"\|") else []
    return [part.strip().replace(r"\|", "|") for part in parts]


def tables(page: Path, *heads: str) -> Iterator[list[str]]:
    """The rows of all tables of a page that have these heads."""
    inside = False
    for line in prose(page).splitlines():
        if not line.startswith("|"):
            inside = False
        elif cells(line) == list(heads):
            inside = True
        elif inside and not re.fullmatch(r"[|\-: ]+", line):
            yield cells(line)


def code(cell: str) -> str:
    """What a cell that is one code span holds."""
    fence = "``" if cell.startswith("``") else "`"
    assert cell.startswith(fence) and cell.endswith(fence), cell
    return cell.removeprefix(fence).removesuffix(fence)


def is_workflow(block: Block) -> bool:
    """Whether a block is a whole workflow, of the canonical form or of a dialect that says so."""
    return bool(re.search(r"^cogwork: v1$|^# dialect: ", block.text, re.MULTILINE))


WORKFLOWS = [block for page in PAGES for block in blocks(page, "yaml") if is_workflow(block)]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples, and no key of any model."""
    shutil.copytree(HOUSE / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


# -- workflows and programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", WORKFLOWS, ids=[block.place for block in WORKFLOWS])
def test_a_workflow_in_the_docs_has_the_problems_it_claims_and_returns_what_it_says(
    block: Block, workplace: Path
) -> None:
    claimed = str(block.note("problems") or "").split(", ")
    found = [problem.code for problem in cogwork.check(block.text)]
    assert sorted(found) == sorted(name for name in claimed if name), [str(p) for p in cogwork.check(block.text)]
    if (dialect := block.note("dialect")) is not None:
        assert load(block.text).dialect == dialect
    if found:
        return
    loaded = cogwork.load(block.text)
    assert [str(result) for result in cogwork.run_tests(loaded) if not result.passed] == []
    given = block.note("input") or {}
    if not set(loaded.spec.input.get("required", ())) <= set(given):
        assert block.note("output") is None, "an example with an output says its input"
        return
    graph = cogwork.compile(loaded, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": block.place}}
    state = graph.invoke(given, thread)
    if (answer := block.note("answer")) is not None:
        assert [each.value["at"] for each in state["__interrupt__"]] == list(answer)
        state = graph.invoke(Command(resume=answer), thread)
    if re.search("^# output: ", block.text, re.MULTILINE):
        assert state["output"] == block.note("output")


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "python"))], ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, workplace: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_json_and_other_yaml_in_the_docs_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml" and not is_workflow(block):
            read_yaml(block.text)


def test_the_settings_files_in_the_docs_are_accepted(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [block for page in PAGES for block in blocks(page, "toml")]
    assert found
    for block in found:
        for name in re.findall(r"(?<!\$)\$\{([A-Za-z_]\w*)\}", block.text):
            monkeypatch.setenv(name, "given")
        (workplace / "cogwork.toml").write_text(block.text)
        assert Settings().model_fields_set == set(tomllib.loads(block.text)), block.place


# -- expressions ---------------------------------------------------------------------------------------------------


def data() -> dict[str, Json]:
    """The data that the page of expressions evaluates its tables with."""
    return dict(json.loads(next(blocks(DOCS / "expressions.md", "json")).text))


READERS: dict[str, Callable[[str], Json]] = {
    "expression": lambda text: compile_expression(text).evaluate(data()),
    "condition": lambda text: compile_condition(text).evaluate(data()),
    "template": lambda text: parse_template(text).render(data()),
}


def shown(text: str, kind: str) -> str:
    """The value of an expression, or its error, as the page shows it."""
    try:
        return json.dumps(READERS[kind](text), ensure_ascii=False)
    except ExpressionError as error:
        return f"{error.kind}: {error}"


@pytest.mark.parametrize("kind", READERS)
def test_every_value_in_a_table_of_expressions_is_what_the_expression_yields(kind: str) -> None:
    rows = list(tables(DOCS / "expressions.md", kind, "value"))
    assert rows
    assert [(text, json.loads(code(value))) for text, value in rows] == [
        (text, json.loads(shown(code(text), kind))) for text, _ in rows
    ]


def test_every_error_in_the_table_of_errors_is_what_the_expression_raises() -> None:
    rows = list(tables(DOCS / "expressions.md", "expression", "error"))
    assert rows
    assert [(text, code(error)) for text, error in rows] == [
        (text, shown(code(text), "expression")) for text, _ in rows
    ]


# -- tables --------------------------------------------------------------------------------------------------------

EXAMPLES: Mapping[str, str] = {
    "size": "size(search.hits)",
    "count": "count(search.hits, 'score', 5)",
    "lower": "input.name | lower",
    "upper": "upper(input.name)",
    "trim": "trim('  a b ')",
    "join": "join(input.tags, ', ')",
    "split": "split('a,b', ',')",
    "replace": "replace('a-b', '-', '+')",
    "starts_with": "starts_with(input.name, 'A')",
    "ends_with": "ends_with(input.name, 'a')",
    "contains": "contains(input.tags, 'b')",
    "keys": "keys(search.hits[0])",
    "values": "values({'a': 1, 'b': 2})",
    "round": "round(2.45, 1)",
    "floor": "floor(2.9)",
    "ceil": "ceil(2.1)",
    "abs": "abs(-3)",
    "min": "min(4, 2, 3)",
    "max": "max([4, 2, 3])",
    "sum": "search.hits | map: 'score' | sum",
    "sort": "sort(input.tags)",
    "sort_by": "sort_by(search.hits, 'by.name')[0].title",
    "unique": "unique(input.tags)",
    "reverse": "reverse('abc')",
    "first": "first(input.tags)",
    "last": "last(input.tags)",
    "slice": "slice(input.tags, -2)",
    "range": "range(1, 4)",
    "flatten": "flatten([[1], [2, 3]])",
    "map": "map(search.hits, 'by.name')",
    "pluck": "pluck(search.hits, 'title')",
    "where": "where(search.hits, 'score', 5)[0].title",
    "group_by": "keys(group_by(search.hits, 'title'))",
    "json": "json({'a': [1, null]})",
    "parse_json": "parse_json('[1, 2]')",
    "string": "string(1.5)",
    "int": "int('42')",
    "number": "number('1.5')",
    "bool": "bool('True')",
    "date": "date('2026-11-21T10:00:00Z')",
    "type": "type(search.hits)",
    "default": "default(search.note, 'none')",
    "has": "has(search.note)",
    "coalesce": "coalesce(search.missing, search.total)",
}
MEANINGS: Mapping[str, str] = {
    "type": "`null`, `boolean`, `number`, `string`, `list` or `object`.",
    "default": "The first value, or the second where the first is missing or null.",
    "has": "Whether the value is there and not null.",
    "coalesce": "The first value that is there and not null, else null.",
    "pluck": "The same as `map`.",
}


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments(function: Function) -> str:
    """What a function takes, such as ``list, string?``."""
    kinds = ["any" if takes == ANY else " or ".join(sorted(takes)) for takes in function.takes]
    marked = [kind if index < function.least else f"{kind}?" for index, kind in enumerate(kinds)]
    return ", ".join(marked) + ("…" if function.most is None else "")


def functions_table() -> str:
    rows = []
    for name, function in FUNCTIONS.items():
        meaning = MEANINGS.get(name) or (inspect.getdoc(function.call) or "").partition("\n")[0]
        example = EXAMPLES[name]
        value = json.dumps(READERS["expression"](example), ensure_ascii=False)
        rows.append([f"`{name}`", arguments(function), meaning, f"`{example}`", f"`{value}`"])
    return table(["function", "takes", "gives", "for example", "yields"], rows)


def limits_table() -> str:
    rows = {
        "characters of an expression": limits.SOURCE,
        "levels of nesting in an expression": limits.DEPTH,
        "elements that one evaluation may look at": limits.ELEMENTS,
        "characters of text that one evaluation may process": limits.TEXT,
        "characters of a result": limits.RESULT,
        "levels of nesting in data": limits.DATA_DEPTH,
        "bits of a whole number": limits.INTEGER_MAX.bit_length() + 1,
    }
    return table(["bound", "value"], [[name, f"{value:,}"] for name, value in rows.items()])


def codes_table() -> str:
    """Code and meaning out of the code, and how to mend it as the page says."""
    mends = {row[0]: row[2] for row in tables(DOCS / "language.md", "code", "meaning", "mend")}
    return table(
        ["code", "meaning", "mend"], [[f"`{name}`", told, mends.get(f"`{name}`", "")] for name, told in CODES.items()]
    )


def settings_table() -> str:
    """Every setting, those of tables one by one."""
    rows = []
    for name, info in leaves(Settings):
        text = default_of(info)
        default = text if text in ("none", "forever") else f"`{text}`"
        rows.append([f"`{name}`", f"`{variable_of(name, info)}`", default, info.description or ""])
    return table(["setting", "environment variable", "default", "meaning"], rows)


GENERATED: Mapping[str, tuple[str, Callable[[], str]]] = {
    "functions": ("expressions.md", functions_table),
    "limits": ("expressions.md", limits_table),
    "codes": ("language.md", codes_table),
    "settings": ("operations.md", settings_table),
}


def with_table(text: str, name: str, rows: str) -> str:
    """The page's text with its table of that name replaced."""
    pattern = rf"(<!-- table: {name} -->\n).*?(<!-- /table -->)"
    found, count = re.subn(pattern, lambda m: f"{m[1]}{rows}\n{m[2]}", text, count=1, flags=re.DOTALL)
    assert count == 1, f"there is no table {name}"
    return found


def written_schema() -> str:
    """The language's JSON Schema as it stands in the docs."""
    return json.dumps(language_schema(), ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize("name", GENERATED)
def test_a_table_made_from_the_code_is_up_to_date(name: str) -> None:
    page, make = GENERATED[name]
    text = (DOCS / page).read_text()
    assert with_table(text, name, make()) == text, "run: python -m tests.test_docs"


def test_every_problem_code_says_how_to_mend_it() -> None:
    assert [name for name, _, mend in tables(DOCS / "language.md", "code", "meaning", "mend") if not mend] == []


def test_the_published_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text() == written_schema(), "run: python -m tests.test_docs"


def test_every_class_of_failure_event_and_field_of_a_record_is_documented() -> None:
    language, python = (DOCS / "language.md").read_text(), (DOCS / "python.md").read_text()
    assert [name for name in (*FAULT_CLASSES, *METADATA) if f"`{name}`" not in language] == []
    assert [kind for kind in EVENT_KINDS if f"`{kind}`" not in python] == []


def test_every_field_of_the_language_is_on_its_page() -> None:
    text, missing = (DOCS / "language.md").read_text(), []
    schema = language_schema()
    for name, part in {"workflow": schema, **schema["$defs"]}.items():
        missing += [
            f"{name}.{field}" for field in part.get("properties", {}) if not re.search(rf"`[^`\n]*\b{field}\b", text)
        ]
    assert [field for field in missing if not field.endswith(".args")] == []


# -- links, paths and first lines ----------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_named_in_the_docs_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", prose(page))
    assert [path for path in named if not (HOUSE / path).exists()] == []


def test_every_page_and_section_that_the_code_refers_to_exists() -> None:
    named = {
        found
        for folder in FOLDERS[1:]
        for file in (HOUSE / folder).rglob("*.py")
        for found in re.findall(r"see docs/([\w-]+\.md)(?:, ([A-Z]\w+))?", file.read_text())
        if file != Path(__file__)
    }
    assert named
    assert [(page, head) for page, head in named if head and head.lower() not in anchors(DOCS / page)] == []
    assert [page for page, _ in named if not (DOCS / page).exists()] == []


def test_every_run_time_dependency_has_its_reason() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[\[<>=~ ]", entry)[0] for entry in project["dependencies"]}
    rows = tables(DOCS / "decisions" / "0001-dependencies.md", "library", "for", "imported in")
    assert {name for row in rows for name in row[0].split(", ")} == wanted


def test_examples_and_catalog_begin_with_the_schema_and_fit_it() -> None:
    validator = Draft202012Validator(language_schema())
    files = [*(HOUSE / "examples").glob("*.yaml"), *(HOUSE / "graphs" / "catalog").glob("*.yaml")]
    assert files
    for file in files:
        found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())
        assert found and (file.parent / found[1]).resolve() == SCHEMA, file
        assert list(validator.iter_errors(read_yaml(file.read_text()).value)) == [], file


def test_a_workflow_that_cannot_be_loaded_is_told_as_such() -> None:
    with pytest.raises(SpecError):
        load("cogwork: v1\nname: empty\n")


def write() -> None:
    """Write the generated tables and the schema."""
    for name, (page, make) in GENERATED.items():
        path = DOCS / page
        path.write_text(with_table(path.read_text(), name, make()))
    SCHEMA.write_text(written_schema())


if __name__ == "__main__":
    write()
