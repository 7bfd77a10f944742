"""The web page in a real browser: what people do with it, with and without a mouse, and that it asks nobody else for anything.

Pictures of it are put into the folder that ``COGWORK_PICTURES`` names, ``reports/pages`` without it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages_stage import FAILING, REFUND, WAITING, Served, serving

HOUSE = Path(__file__).parent.parent
AXE = HOUSE / "tests" / "peers" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = Path(os.environ.get("COGWORK_PICTURES") or HOUSE / "reports" / "pages")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 320, "height": 640}
SHOWN = {"width": 1180, "height": 820}
pytestmark = [pytest.mark.req("X3", "M10")]
if not os.environ.get("CI"):
    pytestmark.append(pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with its workflows, and executions of each kind."""
    with serving(tmp_path_factory.mktemp("pages")) as made:
        made.publish(REFUND, WAITING, FAILING)
        made.call(made.engine.run_workflow("failing"))
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=[*FLAGS])
        yield started
        started.close()


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, served: Served) -> Iterator[Open]:
    """Makes a page of somebody who has signed in; every request that it sends must stay on this machine, and no script fail."""
    asked: list[str] = []
    wrong: list[str] = []
    contexts: list[Any] = []

    def open_(role: str = "admin", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": SHOWN, **options})
        contexts.append(context)
        context.set_default_timeout(20_000)
        token = served.token(role)  # type: ignore[arg-type]
        host = served.address.removeprefix("http://")
        cookie = {"name": "cogwork_token", "value": token, "domain": host.split(":")[0], "path": "/"}
        context.add_cookies([{**cookie, "httpOnly": True, "sameSite": "Strict"}])
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text) if "Content Security Policy" in told.text else None)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not wrong
    own = (served.address + "/", "data:")
    assert asked and not [url for url in asked if not url.startswith(own)]


def picture(page: Any, name: str) -> None:
    """Keep a picture of the page for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def started(page: Any, served: Served, order: str = "A-17") -> str:
    """An execution of ``refund``, started by its form; its id."""
    page.goto(f"{served.address}/workflows/refund/start")
    page.get_by_label("order").fill(order)
    page.get_by_role("button", name="Start version 1").click()
    page.wait_for_url("**/executions/*")
    return str(page.url.rpartition("/")[2].partition("?")[0])


def test_who_has_the_link_of_the_server_is_signed_in_and_can_sign_out(browser: Any, served: Served) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served.address}/executions")
    assert page.get_by_label("Your token").is_visible(), "who has not signed in is asked to"
    page.get_by_label("Your token").fill("no-such-token")
    page.get_by_role("button", name="Sign in").click()
    assert "not valid" in page.get_by_role("alert").inner_text()
    page.goto(f"{served.address}/sign-in?code={served.code()}")
    page.get_by_role("heading", name="Overview").wait_for()
    (cookie,) = context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("cogwork_token", True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Your token").wait_for()
    assert context.cookies() == []
    context.close()


def test_a_workflow_is_started_watched_answered_wrongly_and_rightly_and_seen_to_complete(
    opened: Open, served: Served
) -> None:
    page = opened()
    started(page, served)
    page.get_by_role("heading", name="It asks you").wait_for()
    assert page.locator(".ask p.ask").inner_text() == "Refund 120 € to Ann?"
    assert page.locator(".graph a.s-waiting").get_attribute("aria-label") == "ask human, waiting"
    picture(page, "question")
    page.get_by_label("approve").check()
    page.get_by_label("Amount in euros").fill("900")
    page.get_by_label(re.compile("note")).fill("Sorry!")
    page.get_by_label("city").fill("Bonn")
    page.get_by_label(re.compile("zip")).fill("531")
    page.get_by_label(re.compile("lines")).fill("3\nfour")
    page.get_by_role("button", name="Answer").click()
    page.get_by_role("alert").wait_for()
    amount = page.get_by_label("Amount in euros")
    assert amount.get_attribute("aria-invalid") == "true" and amount.input_value() == "900"
    told = page.locator(f"[id='{str(amount.get_attribute('aria-describedby')).split()[-1]}']").inner_text()
    assert "500" in told, "what is wrong stands at the field"
    assert page.locator(".fault").count() == 3
    assert page.get_by_label("approve").is_checked() and page.get_by_label("city").input_value() == "Bonn"
    assert page.get_by_label(re.compile("lines")).input_value() == "3\nfour"
    picture(page, "wrong-answer")
    amount.fill("99.5")
    page.get_by_label(re.compile("zip")).fill("53111")
    page.get_by_label(re.compile("lines")).fill("3\n4")
    page.get_by_label("mail").check()
    page.get_by_role("button", name="Answer").click()
    page.locator(".big .s-completed").wait_for()
    page.locator(".graph .s-done[aria-label^='pay ']").wait_for()
    assert '"paid": 99.5' in page.locator("#live-result").inner_text()
    assert "2 attempts" in page.locator(".waterfall").text_content()
    assert page.locator("#told").inner_text() == "Execution is completed"
    page.locator(".graph a[aria-label^='pay ']").click()
    page.locator("#step-name").wait_for()
    step = page.locator("#step").inner_text()
    assert "The bank does not answer" in step and '"amount": 99.5' in step and "retried" in step
    page.locator(".graph a[aria-label^='manager ']").click()
    page.locator("#step-name", has_text="manager").wait_for()
    assert "not chosen by large" in page.locator("#step").inner_text()
    picture(page, "completed")


def test_a_page_shows_without_being_loaded_anew_that_work_goes_on_and_ends(opened: Open, served: Served) -> None:
    page = opened()
    served.shop.door.clear()
    page.goto(f"{served.address}/workflows/long_job/start")
    page.get_by_role("button", name="Start version 1").click()
    page.locator(".graph a.s-running").wait_for()
    page.evaluate("window.mark = 'not loaded anew'")
    picture(page, "running")
    served.shop.door.set()
    page.locator(".big .s-completed").wait_for()
    assert page.locator(".graph a.s-done").count() == 3
    assert page.locator("main").get_attribute("data-over") == "true", "the stream has ended"
    assert page.evaluate("window.mark") == "not loaded anew"


def test_an_execution_is_paused_resumed_cancelled_run_again_and_forked(opened: Open, served: Served) -> None:
    page = opened()
    served.shop.door.clear()
    page.goto(f"{served.address}/workflows/long_job/start")
    page.get_by_role("button", name="Start version 1").click()
    page.locator(".graph a.s-running").wait_for()
    page.get_by_role("button", name="Pause").click()
    page.locator(".big .s-paused").wait_for()
    assert "on request" in page.locator(".big").inner_text()
    page.get_by_role("button", name="Resume").click()
    page.locator(".graph a.s-running").wait_for()
    page.locator("summary", has_text="Cancel…").click()
    page.get_by_label("Why").fill("wrong input")
    page.get_by_role("button", name="Cancel the execution").click()
    page.locator(".big .s-cancelled").wait_for()
    assert "wrong input" in page.locator("#live-error").inner_text()
    served.shop.door.set()
    page.get_by_role("button", name="Run again").click()
    page.locator(".big .s-completed").wait_for()
    first = page.url
    page.locator(".graph a[aria-label^='wait ']").click()
    page.get_by_role("button", name="Fork before wait").click()
    page.wait_for_function("first => location.href.split('?')[0] !== first.split('?')[0]", arg=first)
    page.locator(".big .s-completed").wait_for()
    assert first.rpartition("/")[2].partition("?")[0] in page.locator("#live-head").inner_text()
    drawn = page.locator(".waterfall").text_content()
    assert "first" not in drawn and "wait" in drawn, "what had ended was taken over, the rest was done anew"


def test_all_of_it_can_be_done_with_the_keyboard_alone(opened: Open, served: Served) -> None:
    page = opened()
    page.goto(f"{served.address}/workflows/refund")

    def focused(name: str) -> None:
        """Tab until that has the focus."""
        for _ in range(120):
            page.keyboard.press("Tab")
            said = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || ''"
            if name in page.evaluate(f"({said}) + ' ' + (document.activeElement.labels?.[0]?.innerText ?? '')"):
                ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                inside = page.evaluate("Boolean(document.activeElement.closest('svg'))")
                assert ring != "none" or inside, f"nobody sees that {name} has the focus"
                return
        raise AssertionError(f"the keyboard does not come to {name}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    focused("Start")
    assert page.evaluate("Boolean(document.activeElement.closest('main'))"), "the sections are skipped"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Start version 1").wait_for()
    focused("order")
    page.keyboard.type("B-4")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="It asks you").wait_for()
    focused("approve")
    page.keyboard.press("Space")
    focused("Amount in euros")
    page.keyboard.type("12")
    focused("note")
    page.keyboard.type("paid")
    page.keyboard.press("Enter")
    page.locator(".big .s-completed").wait_for()
    focused("found tool, done")
    page.keyboard.press("Space")
    page.locator("#step-name", has_text="found").wait_for()
    assert page.evaluate("document.activeElement.id") == "step-name"
    focused("Close")
    page.keyboard.press("Enter")
    page.locator("#step-name").wait_for(state="detached")


def test_what_a_viewer_may_not_do_is_not_offered(opened: Open, served: Served) -> None:
    execution = started(opened(), served)
    page = opened("viewer")
    page.goto(f"{served.address}/executions/{execution}?step=found")
    page.get_by_role("heading", name="It asks somebody who may answer").wait_for()
    assert page.locator("main button").count() == 0
    page.goto(f"{served.address}/workflows/refund")
    assert page.get_by_role("link", name="Start").count() == 0


PLACES = (
    "/",
    "/workflows",
    "/workflows/refund?step=ask",
    "/workflows/refund/start",
    "/workflows/refund/edit",
    "/executions",
    "/executions/{asking}?step=found",
    "/executions/{failed}",
    "/schedules",
    "/agents",
    "/sessions",
    "/tools?q=order",
    "/nothing-here",
)


COLOURED = ("overview", "refund-step-ask", "start", "asking", "failed", "tools")
"""The pages that have among them all that has a colour."""


@pytest.fixture(scope="module")
def asking(served: Served) -> str:
    """An execution that asks."""
    handle = served.call(served.engine.execute_workflow("refund", {"order": "C-3"}))
    served.call(handle.wait(30))
    return str(handle.id)


def places(served: Served, asking: str) -> Iterator[tuple[str, str]]:
    """Every page with a name for its picture."""
    failed = served.call(served.engine.list_executions(status="failed"))["executions"][0]["execution_id"]
    for place in PLACES:
        yield re.sub(r"\W+", "-", place).strip("-") or "overview", place.format(asking=asking, failed=failed)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_free_of_faults_that_keep_people_out(
    opened: Open, served: Served, asking: str, scheme: str
) -> None:
    if not AXE.is_file() and not os.environ.get("CI"):
        pytest.skip("the node packages of tests/peers are not installed")
    page = opened(color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    for name, place in places(served, asking):
        if scheme == "dark" and not any(each in name for each in COLOURED):
            continue
        page.goto(served.address + place)
        page.add_script_tag(path=str(AXE))
        # In the dark only the colours are others.
        rules = "runOnly: ['color-contrast']" if scheme == "dark" else "resultTypes: ['violations']"
        told = page.evaluate(f"axe.run(document, {{{rules}}})")
        for each in told["violations"]:
            nodes = [node["target"] for node in each["nodes"][:3]]
            found.setdefault(place, []).append(f"{each['impact']}: {each['id']}: {each['help']} {nodes}")
        picture(page, f"{scheme}-{name}")
    assert found == {}


def test_on_a_narrow_phone_no_page_is_wider_than_the_screen(opened: Open, served: Served, asking: str) -> None:
    page = opened(viewport=PHONE, has_touch=True)
    for name, place in places(served, asking):
        page.goto(served.address + place)
        wide = page.evaluate("document.documentElement.scrollWidth")
        picture(page, f"phone-{name}")
        assert wide <= PHONE["width"], place


def test_pages_work_without_scripts(opened: Open, served: Served) -> None:
    page = opened(java_script_enabled=False)
    execution = started(page, served)
    served.call(served.engine.parts.dispatch.wait(execution, 30))
    page.goto(f"{served.address}/executions/{execution}")
    page.get_by_label("reject").check()
    page.get_by_label("Amount in euros").fill("0")
    page.get_by_label(re.compile("note")).fill("Not this time")
    page.get_by_role("button", name="Answer").click()
    served.call(served.engine.parts.dispatch.wait(execution, 30))
    page.reload()
    page.locator(".big .s-completed").wait_for()
    page.locator(".graph a[aria-label^='found ']").click()
    page.locator("#step-name", has_text="found").wait_for()


def test_while_a_workflow_is_written_its_picture_and_its_faults_follow(opened: Open, served: Served) -> None:
    page = opened("author")
    page.goto(f"{served.address}/workflows/new")
    text = page.get_by_role("textbox", name="The workflow")
    page.locator("[data-verdict]", has_text="Nothing is wrong").wait_for()
    written = text.input_value()
    text.fill(written.replace("{{ greeting.text }}", "{{ greting.text }}").replace("my_workflow", "designed"))
    page.locator(".problems", has_text="greting").wait_for()
    picture(page, "designing")
    page.locator("[data-line]").first.click()
    chosen = page.evaluate("(at => at.value.slice(at.selectionStart, at.selectionEnd))(document.activeElement)")
    assert "greting" in chosen
    text.fill(written.replace("my_workflow", "designed"))
    page.locator("[data-verdict]", has_text="Nothing is wrong").wait_for()
    page.locator(".graph a[aria-label^='sure ']").click()
    assert page.evaluate("document.activeElement.id") == "text", "a box leads to its line"
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("heading", name="designed").wait_for()


def test_what_somebody_is_filling_in_stays_while_the_page_follows_what_happens(opened: Open, served: Served) -> None:
    page = opened()
    served.shop.door.clear()
    page.goto(f"{served.address}/workflows/long_job/start")
    page.get_by_role("button", name="Start version 1").click()
    page.locator(".graph a.s-running").wait_for()
    execution = page.url.rpartition("/")[2].partition("?")[0]
    page.locator("summary", has_text="Cancel…").click()
    page.get_by_label("Why").fill("typed already")
    served.call(served.engine.pause_execution(execution))
    page.locator(".graph a.s-running").wait_for(state="detached")
    assert page.get_by_label("Why").input_value() == "typed already"
    assert page.locator(".big .s-running").is_visible(), "the part with the field waits"
    page.get_by_role("button", name="Cancel the execution").focus()
    page.locator(".big .s-paused").wait_for()
    assert page.get_by_label("Why").input_value() == "typed already"
    assert page.evaluate("document.activeElement.textContent") == "Cancel the execution"
    served.shop.door.set()


def test_mounted_into_another_application_the_page_works_below_its_prefix(browser: Any, tmp_path: Path) -> None:
    with serving(tmp_path, prefix="/cogwork", worker=False) as served:  # this process has a worker already
        served.publish(WAITING)
        page = browser.new_page()
        refused: list[str] = []
        page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{served.address}/sign-in?code={served.code()}&next=/cogwork/workflows/long_job/start")
        page.get_by_role("button", name="Start version 1").click()
        page.locator(".big .s-pending").wait_for()
        page.locator("main[data-following]").wait_for()
        page.locator(".graph a").first.click()
        page.locator("#step-name").wait_for()
        served.call(served.engine.cancel_execution(page.url.rpartition("/")[2].partition("?")[0]))
        page.locator(".big .s-cancelled").wait_for()
        assert page.url.startswith(f"{served.address}/executions/") and refused == []
        page.context.close()
