"""The book from a USB stick: copied to another folder, opened by file://, with the network off."""

import shutil
from urllib.parse import unquote, urlsplit

import pytest
from test_pages import CHAPTERS, PAGES, ROOT, UNLOADED, VENDORED  # it puts the tools on the path

assert ROOT
from browser import SITE, new_context  # noqa: E402

pytestmark = pytest.mark.skipif(
    not VENDORED, reason="npm was not there: THE BOOK NEEDS THE NETWORK, not tested"
)
DRAWN = "[...document.querySelectorAll('svg.svg-inline--fa path')].length"
UNDRAWN = "[...document.querySelectorAll('i[class*=fa-]')].map((e) => e.className)"
UNREADABLE = "[...document.fonts].filter((f) => f.status === 'error').map((f) => f.family)"


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """A copy of the book in a folder with a blank and an umlaut in its name."""
    if not (SITE / "index.html").is_file():
        pytest.fail("there is no built book: run make html first", pytrace=False)
    folder = tmp_path_factory.mktemp("usb") / "Bücher und Filme" / "the book"
    shutil.copytree(SITE, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def visit(browser, stick):
    """Open a page of the copy; in the end nothing has complained and nobody was asked."""
    opened = []

    def look(page, theme="light"):
        context, _ = new_context(browser, theme=theme)
        context.unroute("**/*")
        context.set_offline(True)
        tab = context.new_page()
        asked, errors = [], []
        tab.on("request", lambda r: asked.append(r.url))
        tab.on("requestfailed", lambda r: errors.append(f"{r.failure}: {r.url[:200]}"))
        tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        opened.append((context, asked, errors))
        tab.goto((stick / page).as_uri(), wait_until="load")
        return tab

    yield look
    for context, asked, errors in opened:
        context.close()
        assert errors == []
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        files = [unquote(urlsplit(url).path) for url in asked if url.startswith("file:")]
        assert [path for path in files if not path.startswith(stick.as_posix())] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole(visit, page):
    tab = visit(page)
    formulas = tab.locator(".bd-article .math").count()
    if formulas:
        tab.wait_for_selector("mjx-container", timeout=20_000, state="attached")
    assert tab.locator(".bd-article .math mjx-container").count() == formulas
    assert page not in CHAPTERS or tab.locator(".tccam-quiz form").count() > 0
    for place in tab.locator("[data-explorer]").all():
        place.locator(".tccam-explorer").wait_for(timeout=20_000, state="attached")
    tab.evaluate("document.fonts.ready")
    assert tab.evaluate(UNLOADED) == []
    assert tab.evaluate(UNREADABLE) == []
    assert tab.evaluate(DRAWN) > 0
    assert tab.evaluate(UNDRAWN) == []


def test_formulas_have_their_fonts(visit):
    tab = visit("notebooks/cam-basics.html")
    tab.wait_for_function(
        "[...document.fonts].some((f) => f.family.startsWith('MJX') && f.status === 'loaded')"
    )


def test_first_page_leads_to_a_chapter_and_on(visit):
    tab = visit("index.html")
    tab.wait_for_url("**/book/index.html")
    tab.locator(".bd-sidebar-primary a", has_text="The belt").click()
    tab.wait_for_url("**/notebooks/the-belt.html")
    tab.locator(".prev-next-area .right-next").click()
    tab.wait_for_url("**/notebooks/cam-basics.html")


def test_explorer_answers(visit):
    tab = visit("notebooks/cam-basics.html")
    explorer = tab.locator(".tccam-explorer").first
    explorer.scroll_into_view_if_needed()
    number = explorer.locator(".tx-number")
    before = number.text_content()
    explorer.get_by_role("slider", name="Threshold").press("Home")
    assert number.text_content() != before


def test_player_plays(visit):
    tab = visit("notebooks/the-belt.html")
    player = tab.locator(".tccam-player").first
    bar = player.get_by_label("Frame")
    before = bar.input_value()
    player.get_by_role("button").click()
    tab.wait_for_function(
        f"document.querySelector('.tccam-player input').value !== '{before}'", timeout=10_000
    )


def test_theme_switches_and_is_remembered(visit):
    tab = visit("book/index.html")
    seen = set()
    for _ in range(3):
        seen.add(tab.evaluate("document.documentElement.dataset.theme"))
        tab.locator(".theme-switch-button").first.click()
    assert seen == {"light", "dark"}


def test_dark_page_is_dark(visit):
    tab = visit("notebooks/the-belt.html", theme="dark")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    red, green, blue = tab.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )[:3]
    assert max(red, green, blue) < 80
