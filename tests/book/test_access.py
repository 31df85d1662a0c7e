"""The book for everyone: barriers, words for pictures, cards, keyboard, search, motion."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from PIL import Image
from test_pages import barriers

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import set_repository  # noqa: E402
from browser import SITE, new_context, pages  # noqa: E402

EXTRA = ["search.html", "genindex.html", "py-modindex.html"]
every_page = pytest.mark.parametrize("page", pages() + EXTRA)
CHAPTER = "notebooks/puzzle-tiling.html"
MOVING = """() => [...document.querySelectorAll("*")]
  .filter((e) => [getComputedStyle(e).transitionDuration, getComputedStyle(e).animationDuration]
    .some((times) => times.split(",").some((time) => parseFloat(time) > 0)))
  .map((e) => e.tagName + "." + e.className)"""
BEFORE = """(e) => {
  const link = document.createElement("a");
  link.href = "#";
  e.before(link);
  link.focus();
}"""
FOCUSED = "() => document.activeElement.outerHTML.slice(0, 200)"


@pytest.fixture
def visit(browser):
    """Open a page; the window is closed in the end."""
    opened = []

    def look(url, width=1280, theme="light", motion="reduce"):
        context, _ = new_context(browser, width, theme, motion)
        if url.startswith("file:"):
            context.unroute("**/*")
            context.set_offline(True)
        opened.append(context)
        tab = context.new_page()
        tab.goto(url, wait_until="load")
        return tab

    yield look
    for context in opened:
        context.close()


def test_a_planted_barrier_is_found(visit, axe, tmp_path):
    page = tmp_path / "page.html"
    text = "<html lang='en'><title>a</title><main><h1>A</h1>{}</main></html>"
    page.write_text(text.format("<p style='color:#bbb'>faint</p><img src='a.png'>"))
    found = barriers(visit(page.as_uri()), axe)
    assert {(i, t.split(":")[0]) for i, t in found} >= {
        ("serious", "color-contrast"),
        ("critical", "image-alt"),
    }
    page.write_text(text.format("<p>dark</p>"))
    assert barriers(visit(page.as_uri()), axe) == []


class TestBuild:
    """A build of a tiny book, with the extensions of this one."""

    @pytest.fixture
    def build(self, tmp_path):
        def run(extensions, **files):
            conf = f"""
                import sys
                sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
                extensions = ["myst_parser", *{extensions!r}]
                myst_enable_extensions = ["colon_fence"]
                root_doc = "index"
                exclude_patterns = ["out"]
            """
            (tmp_path / "conf.py").write_text(textwrap.dedent(conf))
            for name, text in files.items():
                path = tmp_path / f"{name.replace('__', '/')}.md"
                path.parent.mkdir(exist_ok=True)
                path.write_text(textwrap.dedent(text))
            Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
            command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E"]
            ended = subprocess.run(
                [*command, str(tmp_path), str(tmp_path / "out")],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            return ended.returncode, ended.stderr, tmp_path / "out"

        return run

    @pytest.mark.parametrize(
        ("planted", "complaint"),
        [
            ("![](a.png)", "has no words: alt=''"),
            ("```{image} a.png\n```", "has no words"),
            ("```{image} a.png\n:alt: ../_images/0a1b.png\n```", "has no words"),
            ("```{image} a.png\n:alt: <Figure size 640x480 with 1 Axes>\n```", "has no words"),
            ('<img src="a.png" width="3">', "has no words"),
            ("<table><tr><td>1</td></tr></table>", "a table has no headers"),
            ("|  |  |\n|---|---|\n| 1 | 2 |", "a table has no headers"),
        ],
    )
    def test_fails_where_words_or_headers_are_missing(self, build, planted, complaint):
        code, errors, _ = build(["access"], index=f"# Title\n\n{planted}\n")
        assert code != 0
        assert complaint in errors

    def test_passes_where_they_are_there(self, build):
        good = "# Title\n\n![A black square](a.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        code, errors, out = build(["access"], index=good)
        assert (code, errors) == (0, "")
        page = BeautifulSoup((out / "index.html").read_text(), "html.parser")
        assert [th["scope"] for th in page.select("th")] == ["col", "col"]

    def test_links_the_first_occurrence_of_a_term(self, build):
        glossary = """
            # Glossary

            :::{glossary}
            tile
              One of the *equal* rectangles.

            control
              A run that differs in one thing.

            intersection over union
            IoU
              What two masks share.
            :::
        """
        chapter = """
            # A tile in a heading

            :::{admonition} Question
            :class: dropdown
            A tile in something folded.
            :::

            [A tile](https://example.org) that is a link, a `tile` in code, and to tile as a verb.

            Tiles come first here, tiles no more. You control it; the *control* is a term.

            Iou is no IoU, and an intersection over union was named already.

            :::{figure} /a.png
            :alt: A black square

            A tile in a caption
            :::
        """
        index = "# Book\n\n```{toctree}\nbook/glossary\nnotebooks/chapter\n```\n"
        code, errors, out = build(
            ["access", "terms"],
            index=index, book__glossary=glossary, notebooks__chapter=chapter,
        )  # fmt: skip
        assert (code, errors) == (0, "")
        page = BeautifulSoup((out / "notebooks" / "chapter.html").read_text(), "html.parser")
        links = page.select("a.term")
        assert [(a.text, a["href"]) for a in links] == [
            ("Tiles", "../book/glossary.html#term-tile"),
            ("control", "../book/glossary.html#term-control"),
            ("IoU", "../book/glossary.html#term-IoU"),
        ]
        cards = [page.find(id=a["aria-describedby"]) for a in links]
        assert [card["role"] for card in cards] == ["tooltip"] * 3
        assert cards[0].p.text == "tile"
        assert cards[0].em.text == "equal"
        assert cards[2].p.text == "IoU"


class TestCards:
    """Definitions on hover and on focus: WCAG 2.2, 1.4.13."""

    @pytest.fixture
    def tab(self, visit, address):
        return visit(f"{address}/{CHAPTER}")

    @staticmethod
    def card(tab, number=0):
        link = tab.locator("a.term").nth(number)
        return link, tab.locator(f"#{link.get_attribute('aria-describedby')}")

    def test_pointer_shows_it_and_may_rest_on_it(self, tab):
        link, card = self.card(tab)
        assert card.is_hidden()
        link.hover()
        card.wait_for(state="visible")
        assert len(card.text_content()) > 20
        card.hover()
        tab.wait_for_timeout(400)
        assert card.is_visible()
        tab.locator(".bd-article h1").hover()
        card.wait_for(state="hidden")

    def test_focus_shows_it_and_escape_hides_it(self, tab):
        link, card = self.card(tab)
        link.evaluate(
            "e => { const a = document.createElement('a'); a.href = '#'; e.before(a); a.focus(); }"
        )
        tab.keyboard.press("Tab")
        assert link.evaluate("e => e === document.activeElement")
        card.wait_for(state="visible")
        box = card.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900
        tab.keyboard.press("Escape")
        card.wait_for(state="hidden")
        assert link.evaluate("e => e === document.activeElement")

    def test_one_at_a_time(self, tab):
        _, first = self.card(tab, 0)
        second_link, second = self.card(tab, 1)
        tab.locator("a.term").first.focus()
        second_link.hover()
        second.wait_for(state="visible")
        assert first.is_hidden()

    def test_escape_hides_what_the_pointer_shows(self, tab):
        link, card = self.card(tab)
        link.hover()
        card.wait_for(state="visible")
        tab.keyboard.press("Escape")
        card.wait_for(state="hidden")

    def test_a_tap_follows_the_link(self, browser, address):
        context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
        tab = context.new_page()
        tab.goto(f"{address}/{CHAPTER}", wait_until="load")
        tab.locator("a.term").first.tap()
        tab.wait_for_url("**/book/glossary.html#term-*")
        context.close()

    @pytest.mark.parametrize("width", [390, 1280])
    def test_it_stays_inside_the_window(self, visit, address, width):
        tab = visit(f"{address}/{CHAPTER}", width)
        for number in range(tab.locator("a.term").count()):
            link, card = self.card(tab, number)
            link.scroll_into_view_if_needed()
            link.hover()
            card.wait_for(state="visible")
            box = card.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


class TestKeyboard:
    def test_first_tab_leads_past_the_navigation(self, visit, address):
        tab = visit(f"{address}/{CHAPTER}")
        tab.keyboard.press("Tab")
        assert "Skip to main content" in tab.evaluate(FOCUSED)
        assert tab.locator(".skip-link a").bounding_box()["y"] >= 0
        tab.keyboard.press("Enter")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.closest('#main-content') !== null")

    @pytest.mark.parametrize("what", ["summary", ".toggle-button"])
    def test_folded_things_open_with_a_key_and_have_names(self, visit, address, what):
        tab = visit(f"{address}/{CHAPTER}")
        found = tab.locator(f".bd-article {what}").first
        found.focus()
        assert found.evaluate("e => e === document.activeElement")
        shut = "e => (e.closest('details') ? !e.parentElement.open : e.ariaExpanded === 'false')"
        before = found.evaluate(shut)
        tab.keyboard.press("Enter")
        assert found.evaluate(shut) is not before
        if what == ".toggle-button":
            assert re.match(r"Show or hide: \w+ \w+", found.get_attribute("aria-label"))

    @pytest.mark.parametrize("disk", [False, True])
    def test_search_by_keys_alone_finds_a_method(self, visit, address, disk):
        base = SITE.as_uri() if disk else address
        tab = visit(f"{base}/{CHAPTER}")
        tab.keyboard.press("Control+k")
        tab.keyboard.type("Grad-CAM")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#search-results li a", timeout=20_000)
        found = [a.get_attribute("href") for a in tab.locator("#search-results li a").all()]
        assert any("notebooks/cam-basics.html" in href for href in found), found


def test_nothing_moves_for_those_who_asked_for_less_motion(visit, address):
    assert visit(f"{address}/book/index.html").evaluate(MOVING) == []
    assert visit(f"{address}/book/index.html", motion="no-preference").evaluate(MOVING) != []


@every_page
def test_page_can_be_shared(address, page):
    head = BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "html.parser").head
    said = {tag["property"]: tag["content"] for tag in head.select("meta[property^='og:']")}
    owner, name = set_repository.address().split("/")[-2:]
    base = f"https://{owner.lower()}.github.io/{name}/"
    assert said["og:url"] == base + page
    assert head.select_one("link[rel=canonical]")["href"] == base + page
    assert said["og:title"] in head.title.text
    assert len(said["og:description"]) > 20
    assert said["og:description"] == head.select_one("meta[name=description]")["content"]
    assert len(head.select("meta[name=description]")) == 1
    picture = SITE / said["og:image"].removeprefix(base)
    assert picture.stat().st_size < 150_000
    with Image.open(picture) as opened:
        assert opened.size == (int(said["og:image:width"]), int(said["og:image:height"]))
        assert opened.size == (1200, 630)
    assert (SITE / Path(page).parent / head.select_one("link[rel=icon]")["href"]).is_file()


def test_entrance_is_shared_as_the_first_page_is(address):
    entrance = (SITE / "index.html").read_text(encoding="utf-8")
    first = (SITE / "book" / "index.html").read_text(encoding="utf-8")
    for tag in ("og:title", "og:description", "og:image"):
        found = [re.search(f'<meta[^>]*{tag}"[^>]*>', page)[0] for page in (entrance, first)]
        assert found[0] == found[1]
    assert "url=book/index.html" in entrance
