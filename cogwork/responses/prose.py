"""Which text counts as Markdown, and how text, code and names are put into Markdown so that they are shown as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LOOKED_AT: Final = 16 * 1024
"""How many characters are looked at to find Markdown in a text."""
CONVERTED: Final = 256 * 1024
"""A longer text is not converted from Markdown but shown as it stands."""
_WORK: Final = 20_000_000
"""The sum, over the paragraphs, of the squares of their marks: above it parsing would take more than about 0.1 s."""
_MARKS: Final = re.compile(r"[*_~\[!`&<]")
_FENCE: Final = re.compile(r"(`{3,}|~{3,})[ \t]*([\w+#.-]{0,40})[^\n`]{0,200}")
_BOLD: Final = re.compile(r"(?<![\w*\\])\*\*(?=[^\s*])[^*\n]{0,500}(?<=\S)\*\*(?![\w*])")
_TELLING: Final = re.compile(r"  |[<&\[\]]|\A\Z")
"""What is not left alone, whatever a parser says of it: HTML has a meaning elsewhere, and brackets may name a link."""
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    """The text as people are shown it: what steers terminals or turns the direction of writing is U+FFFD."""
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


@lru_cache(maxsize=1)
def parser() -> MarkdownIt:
    """CommonMark with tables and strikethrough; HTML in a text is text."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable(["table", "strikethrough"])


@lru_cache(maxsize=1)
def _blocks() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable(["table"]).disable(["inline"])


def convertible(text: str) -> bool:
    """Whether a parser of Markdown is through with the text in good time; its work grows with the square of a paragraph's marks."""
    if len(text) > CONVERTED:
        return False
    marks = (len(_MARKS.findall(token.content)) for token in _blocks().parse(text) if token.type == "inline")
    return sum(count * count for count in marks) <= _WORK


def markdown_in(text: str) -> str:
    """Why the text counts as Markdown: what CommonMark finds in its first 16 Ki characters; empty where it is plain text.

    These count: a heading with ``#``, a fenced block, a table, a quotation, a list of two items or more, a link or picture
    with its address, code between backticks, and bold text between ``**``. Line ends, indentation, underlined headings,
    single stars and underscores do not: logs, poems and programs have them too. A text that begins with ``#!`` is a program.
    """
    start = text[:LOOKED_AT]
    if text.startswith("#!") or not convertible(start):
        return ""
    found = dict.fromkeys(_constructs(parser().parse(start)))
    return ", ".join(found)


def _constructs(tokens: list[Token]) -> Iterator[str]:
    items = 0
    for token in tokens:
        match token.type:
            case "heading_open" if token.markup.startswith("#"):
                yield "heading"
            case "fence" | "blockquote_open" | "table_open":
                yield {"fence": "fenced block", "blockquote_open": "quotation", "table_open": "table"}[token.type]
            case "list_item_open":
                items += 1
            case "inline":
                yield from _inline(token)
    if items > 1:
        yield "list"


def _inline(token: Token) -> Iterator[str]:
    for child in token.children or ():
        if child.type in ("link_open", "image", "code_inline"):
            yield {"link_open": "link", "image": "picture", "code_inline": "code"}[child.type]
        elif child.type == "strong_open" and _BOLD.search(token.content):
            yield "bold text"


def fenced_block(text: str) -> tuple[str, str] | None:
    """The language and the code of a text that is one fenced block and nothing else."""
    lines = text.strip().split("\n")
    opened = _FENCE.fullmatch(lines[0].rstrip()) if len(lines) > 1 else None
    if opened is None:
        return None
    closing = [at for at, line in enumerate(lines) if at and _closes(line.strip(), opened[1])]
    return (opened[2], "\n".join(lines[1:-1]) + "\n") if closing == [len(lines) - 1] else None


def _closes(line: str, fence: str) -> bool:
    return len(line) >= len(fence) and not line.strip(fence[0])


def literal(text: str) -> str:
    """Markdown that shows the text as it is: the text itself where Markdown leaves it alone, else a fenced block."""
    text = shown(text)
    return text.strip("\n") if _left_alone(text) else fenced(text, "text" if text.strip() else "")


def _left_alone(text: str) -> bool:
    """Whether the text is paragraphs of one line each, without anything that Markdown would change."""
    if len(text) > LOOKED_AT or text != text.strip() or _TELLING.search(text) or not convertible(text):
        return False
    tokens = parser().parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    return (
        {token.type for token in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
        and all(child.type == "text" for child in inline)
        and "\n\n".join(child.content for child in inline) == text
    )


def fenced(text: str, language: str = "") -> str:
    """A fenced block that holds the text, with a fence longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    word = language if re.fullmatch(r"[\w+#.-]{1,40}", language) else ""
    return f"{fence}{word}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def coded(text: str) -> str:
    """The text in one line as code within a sentence."""
    line = in_line(text) or " "
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def in_line(text: str) -> str:
    """The text in one line."""
    return " ".join(shown(text).split())


def literal_line(text: str) -> str:
    """Markdown that shows the text as it is within a line: the text itself where Markdown leaves it alone, else as code."""
    line = in_line(text)
    return line if line and literal(line) == line else coded(line)


def closed(text: str) -> str:
    """The Markdown, with a fence that was left open closed, so that what follows it is no part of it; beyond ``CONVERTED`` as it
    is."""
    text = text.rstrip("\n")
    tokens = _blocks().parse(text) if len(text) <= CONVERTED else []
    if not tokens or tokens[-1].type != "fence" or tokens[-1].map is None:
        return text
    start, end = tokens[-1].map
    last = text.split("\n")[start:end][-1].strip() if end - start > 1 else ""
    return text if _closes(last, tokens[-1].markup) else f"{text}\n{tokens[-1].markup}"
