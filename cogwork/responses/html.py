"""Responses as HTML in which nothing can become active: escaped text and converted Markdown, sanitised as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from cogwork.responses.prose import convertible, parser, shown
from cogwork.responses.response import Action, Artifact, Part, Response
from cogwork.responses.said import artifact_said, headline, question_said, wants_more

if TYPE_CHECKING:
    from markdown_it.token import Token

_BLOCKS: Final = (
    "blockquote",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
)
TAGS: Final = frozenset(("a", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "s", "strong", *_BLOCKS))
"""The elements that there may be; the text of any other is kept, save that of scripts and styles."""
ATTRIBUTES: Final = {
    "a": {"href", "rel"},
    "ol": {"start"},
    "code": {"class"},
    "section": {"class"},
    "td": {"align"},
    "th": {"align"},
}
"""The attributes that there may be, by element."""
SCHEMES: Final = frozenset({"http", "https", "mailto"})
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The content security policy of a whole page; a server should send it as a header as well."""
_KINDS: Final = ("text", "markdown", "code", "data", "error", "question", "warnings", "artifacts", "actions")
_REL: Final = "noopener noreferrer nofollow"
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre{overflow-x:auto;padding:.75rem;border:1px solid}table{border-collapse:collapse}"
    "td,th{border:1px solid;padding:.25rem .5rem}pre,code{white-space:pre-wrap;overflow-wrap:anywhere}"
)


def page(response: Response) -> str:
    """The response as a whole page of HTML, without scripts, pictures or anything else that is fetched."""
    title = escape(shown(headline(response)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{fragment(response)}</main>\n</body>\n</html>\n"
    )


def fragment(response: Response) -> str:
    """What stands in the body of the page, to be put into another one; it has no ids, no names and only ``TAGS``."""
    return sanitised("".join(_sections(response)))


def sanitised(html: str) -> str:
    """Only ``TAGS`` with ``ATTRIBUTES``, links only to whole addresses of ``SCHEMES``, and no character that steers; a second time
    changes nothing."""
    import nh3

    cleaned = nh3.clean(
        shown(html),
        tags=set(TAGS),
        clean_content_tags={"script", "style"},
        attributes={tag: set(names - {"rel"}) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_attribute,
        url_schemes=set(SCHEMES),
        url_relative="deny",
        link_rel=_REL,
    )
    return shown(cleaned)


def _attribute(tag: str, name: str, value: str) -> str | None:
    """The attribute's value where it may stand; None takes the attribute away."""
    match tag, name:
        case "a", "href":
            return value
        case "a", "rel":
            return _REL
        case "ol", "start":
            return value if value.isascii() and value.isdecimal() and len(value) < 10 else None
        case "code", "class":
            word = value.removeprefix("language-")
            return (
                value if word != value and all(c.isalnum() or c in "+#._-" for c in word) and len(word) <= 40 else None
            )
        case "section", "class":
            return value if value in _KINDS else None
        case (("td" | "th"), "align"):
            return value if value in ("left", "right", "center") else None
    return None


def from_markdown(text: str) -> str:
    """Markdown as a fragment of sanitised HTML: pictures are links to them, HTML in it is text; what is too much to convert is
    shown as it stands."""
    text = shown(text)
    if not convertible(text):
        return _verbatim(text)
    tokens = parser().parse(text)
    for token in tokens:
        _tame(token)
    made: str = parser().renderer.render(tokens, parser().options, {})
    return sanitised(made)


def _tame(token: Token) -> None:
    """Pictures become links, and alignments the attribute that may stand."""
    style = token.attrs.pop("style", None)
    if isinstance(style, str) and style.startswith("text-align:"):
        token.attrs["align"] = style.removeprefix("text-align:")
    if token.children:
        token.children = [made for child in token.children for made in _without_picture(child)]


def _without_picture(token: Token) -> list[Token]:
    from markdown_it.token import Token

    if token.type != "image":
        return [token]
    attributes: dict[str, Any] = {"href": token.attrs.get("src", "")}
    opened, closed = Token("link_open", "a", 1, attrs=attributes), Token("link_close", "a", -1)
    return [opened, Token("text", "", 0, content=f"picture: {token.content}"), closed]


# -- what there is in it -------------------------------------------------------------------------------------------------


def _sections(response: Response) -> Iterator[str]:
    more = wants_more(response)
    if more:
        yield f"<h1>{escape(shown(headline(response)))}</h1>\n"
    for part in response.parts:
        yield f'<section class="{part.kind}">\n{_titled(part)}{_part(part)}{_cut(part)}</section>\n'
    if response.warnings:
        yield _listed("warnings", "Warnings", [escape(shown(warning)) for warning in response.warnings])
    if response.artifacts:
        yield _listed("artifacts", "Artifacts", [_artifact(each) for each in response.artifacts])
    if more and response.actions:
        yield _listed("actions", "What can be done next", [_action(each) for each in response.actions])


def _titled(part: Part) -> str:
    return f"<h2>{escape(shown(part.name))}</h2>\n" if part.name and part.kind != "question" else ""


def _part(part: Part) -> str:
    match part.kind:
        case "markdown":
            return from_markdown(str(part.content))
        case "text":
            return _verbatim(str(part.content))
        case "code":
            return _verbatim(str(part.content), part.language)
        case "question":
            return _question(part)
        case "error":
            told = part.content if isinstance(part.content, dict) else {}
            return f"<p><strong>{escape(shown(str(told.get('message'))))}</strong></p>\n{_json(told)}"
        case "data":
            return _json(part.content)


def _question(part: Part) -> str:
    title, ask, rest = question_said(part)
    told = f"<h2>{escape(shown(title))}</h2>\n<p>{escape(shown(ask))}</p>\n"
    return told + "".join(f"<p>{escape(name)}:</p>\n{_json(value)}" for name, value in rest.items())


def _json(value: Any) -> str:
    return _verbatim(json.dumps(value, ensure_ascii=False, indent=2), "json")


def _verbatim(text: str, language: str = "") -> str:
    """A text with its lines as they are; directly after ``<pre>`` the first line end would be lost."""
    word = f' class="language-{escape(language)}"' if language else ""
    return f"<pre><code{word}>{escape(shown(text))}</code></pre>\n"


def _cut(part: Part) -> str:
    return f"<p><em>{escape(shown(part.shortened.mark))}</em></p>\n" if part.shortened else ""


def _listed(kind: str, title: str, items: Sequence[str]) -> str:
    listed = "".join(f"<li>{item}</li>\n" for item in items)
    return f'<section class="{kind}">\n<h2>{title}</h2>\n<ul>\n{listed}</ul>\n</section>\n'


def _artifact(artifact: Artifact) -> str:
    return f"<code>{escape(shown(artifact.name))}</code>: {escape(shown(artifact_said(artifact)))}"


def _action(action: Action) -> str:
    call = f"{action.method} {action.path}"
    return (
        f"<strong>{escape(shown(action.label))}</strong>: {escape(shown(action.description))}<br>"
        f"<code>{escape(shown(action.command))}</code><br><code>{escape(shown(call))}</code>"
    )
