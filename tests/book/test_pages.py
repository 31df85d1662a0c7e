"""The built pages, as a reader's browser sees them. `make html` builds them first."""

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import claims  # noqa: E402
import set_repository  # noqa: E402
from browser import SITE, new_context, pages  # noqa: E402

PAGES = pages()
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
VENDORED = (ROOT / "book" / "_static" / "vendor" / "mathjax").is_dir()
NETWORKS = ("https://cdn.jsdelivr.net/", "https://cdnjs.cloudflare.com/")
GRAVE = {"serious", "critical"}
every_page = pytest.mark.parametrize("page", PAGES)
every_window = pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
every_chapter = pytest.mark.parametrize("page", CHAPTERS)

# Text that is hard to read: the ratio of the WCAG below 4.5 (3 for large text).
FAINT = """
() => {
  const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const f = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = channels(getComputedStyle(e).backgroundColor);
      if (color.length && (color.length < 4 || color[3] > 0.99)) return color;
    }
    return [255, 255, 255];
  };
  const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const faint = [];
  for (const e of document.querySelectorAll(".bd-article *, .bd-sidebar-primary a, footer *")) {
    if (!own(e) || e.closest(".highlight, script, mjx-container, .jupyter-widgets, .animation")) {
      continue;
    }
    const style = getComputedStyle(e);
    if (!e.getClientRects().length || style.visibility === "hidden") continue;
    const [a, b] = [light(channels(style.color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(1)}: ${e.textContent.trim()}`);
  }
  return faint;
}
"""
# What is folded is opened first: a barrier may hide there.
OPEN = """() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const button of document.querySelectorAll(".toggle-button-hidden")) button.click();
}"""
UNLOADED = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).map((i) => i.src)"
WIDER = """
() => [...document.querySelectorAll(".bd-article *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.tagName + "." + e.className).slice(0, 5)
"""


@dataclass
class Visit:
    """What one page did in one window."""

    errors: list[str]
    failed: list[str]
    elsewhere: list[str]
    unloaded: list[str]
    formulas: int
    formulas_set: int
    widgets: int
    widgets_shown: int
    theme: str
    faint: list[str]
    scroll_width: int
    wider: list[str]
    barriers: list[str]


@pytest.fixture(scope="session")
def visit(browser, address, axe_source):
    """Visit a page once in each kind of window, and remember what it did."""
    seen: dict[tuple[str, int, str], Visit] = {}

    def look(page, width=1280, theme="light"):
        if (page, width, theme) not in seen:
            url = f"{address}/{page}"
            seen[page, width, theme] = _look(browser, axe_source, url, width, theme)
        return seen[page, width, theme]

    return look


def barriers(tab, axe):
    """What axe-core finds on a page: (impact, rule and elements)."""
    tab.evaluate(axe)
    found = tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        (finding["impact"], f"{finding['id']}: {[n['html'][:120] for n in finding['nodes'][:5]]}")
        for finding in found["violations"]
    ]


def _look(browser, axe, url, width, theme):
    context, elsewhere = new_context(browser, width, theme)
    tab = context.new_page()
    errors, failed = [], []
    tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "response",
        lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None,
    )
    tab.goto(url, wait_until="load")
    formulas = tab.locator(".bd-article .math").count()
    widgets = tab.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
    if formulas and VENDORED:
        tab.wait_for_selector("mjx-container", timeout=20_000, state="attached")
    if widgets and VENDORED:
        tab.wait_for_selector(".jupyter-widgets", timeout=20_000, state="attached")
    tab.wait_for_timeout(200)
    made = Visit(
        errors=[e for e in errors if "ERR_FAILED" not in e],  # those are in `elsewhere`
        failed=failed,
        elsewhere=elsewhere,
        unloaded=tab.evaluate(UNLOADED),
        formulas=formulas,
        formulas_set=tab.locator(".bd-article .math mjx-container").count(),
        widgets=widgets,
        widgets_shown=tab.locator(".jupyter-widgets").count(),
        theme=tab.evaluate("document.documentElement.dataset.theme"),
        faint=tab.evaluate(FAINT),
        scroll_width=tab.evaluate("document.documentElement.scrollWidth"),
        wider=tab.evaluate(WIDER),
        barriers=[],
    )
    if axe:
        tab.evaluate(OPEN)
        tab.wait_for_timeout(200)
        made.barriers = [text for impact, text in barriers(tab, axe) if impact in GRAVE]
    context.close()
    return made


@cache
def soup(page):
    return BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(page):
    return {element["id"] for element in soup(page).find_all(id=True)}


@every_page
def test_page_loads_without_an_error(visit, page):
    found = visit(page)
    assert found.errors == []
    assert found.failed == []
    assert found.unloaded == []


@every_page
def test_page_needs_nothing_from_elsewhere(visit, page):
    found = visit(page)
    if VENDORED:
        assert found.elsewhere == []
    else:
        assert [url for url in found.elsewhere if not url.startswith(NETWORKS)] == []


@every_page
def test_formulas_and_widgets_are_shown(visit, page):
    if not VENDORED:
        pytest.skip("npm was not there: FORMULAS AND WIDGETS COME FROM THE NETWORK, not tested")
    found = visit(page)
    assert found.formulas_set == found.formulas
    assert (found.widgets_shown > 0) == (found.widgets > 0)


@every_window
@every_page
def test_text_can_be_read_in_both_themes(visit, page, width, theme):
    found = visit(page, width, theme)
    assert found.theme == theme
    assert found.faint == []


@pytest.mark.parametrize("page", [PAGES[0], CHAPTERS[0]])
def test_what_a_phone_hides_can_be_read_in_the_dark(visit, page):
    found = visit(page, 1280, "dark")  # both lists beside the text: the same on every page
    assert found.faint == []
    assert found.barriers == []


@every_page
def test_phone_shows_the_page_without_scrolling_sideways(visit, page):
    found = visit(page, 390, "dark")
    assert found.scroll_width <= 390, found.wider


@every_window
@pytest.mark.parametrize("page", [*PAGES, "search.html", "genindex.html", "py-modindex.html"])
def test_page_has_no_grave_barrier(visit, axe, page, width, theme):
    assert visit(page, width, theme).barriers == []


@every_page
def test_pictures_have_words(address, page):
    nameless = [str(i) for i in soup(page).find_all("img") if not i.get("alt", "").strip()]
    assert nameless == []


@every_page
def test_links_lead_somewhere(address, page):
    broken = []
    for link in soup(page).find_all("a", href=True):
        target = urlsplit(urljoin(f"http://book/{page}", link["href"]))
        if urlsplit(link["href"]).scheme:
            continue
        path = SITE / unquote(target.path).lstrip("/")
        if not path.is_file():
            broken.append(link["href"])
        elif target.fragment and path.suffix == ".html":
            there = anchors(path.relative_to(SITE).as_posix())
            if unquote(target.fragment) not in there:
                broken.append(link["href"])
    assert broken == []


@every_chapter
def test_chapter_opens_in_colab_and_binder_and_can_be_downloaded(address, page):
    links = [link["href"] for link in soup(page).find_all("a", href=True)]
    colab = [urlsplit(u).path for u in links if u.startswith("https://colab.research.google.com/")]
    binder = [urlsplit(u) for u in links if u.startswith("https://mybinder.org/v2/gh/")]
    files = [urljoin(f"/{page}", u) for u in links if u.endswith(".ipynb") and "://" not in u]
    notebook = page.removesuffix(".html") + ".ipynb"
    assert [re.sub(r"^/github/[^/]+/[^/]+/blob/main/", "", path) for path in colab] == [notebook]
    (urlpath,) = parse_qs(binder[0].query)["urlpath"]
    assert urlpath.endswith(f"/tree/{notebook}")
    assert len(binder) == 1
    assert (ROOT / notebook).is_file()
    assert f"/_sources/{notebook}" in files


@every_page
def test_links_to_the_repository_name_ours_and_files_that_are_there(address, page):
    ours = set_repository.address().removeprefix("https://github.com/")
    button = r"https://(?:colab\.research\.google\.com/github|mybinder\.org/v2/gh)/"
    for link in soup(page).find_all("a", href=True):
        if re.match(button, link["href"]):
            assert re.match(rf"{button}{ours}/(blob/)?main[/?]", link["href"]), link["href"]
        found = re.search(rf"/{ours}/.*?(?:blob|tree|raw)/(?:main/)?([^?#]+)", link["href"])
        if found:
            assert (ROOT / unquote(found[1])).exists(), link["href"]


def test_quoted_numbers_have_a_minus(address):
    quoted = [span.get_text() for page in PAGES for span in soup(page).select(".pasted-text")]
    assert any("−" in text for text in quoted)
    assert not [text for text in quoted if re.search(r"(?<![\w.])-[\d.]", text)]


def test_every_claim_stands_on_its_page_with_its_verdict(address):
    entries, _ = claims.check()
    blocks = soup("book/claims.html").select(".claim")
    assert [block["id"] for block in blocks] == [f"claim-{entry.claim.id}" for entry in entries]
    for block, entry in zip(blocks, entries, strict=True):
        assert block.select_one(".verdict").text.endswith(entry.claim.verdict)
        marks = [item.text.strip()[0] for item in block.select("dd li")]
        assert marks == ["✓" if found.holds else "✗" for _, found in entry.evidence]


def test_search_finds_a_method(browser, address):
    context, _ = new_context(browser)
    tab = context.new_page()
    tab.goto(f"{address}/search.html?q=Grad-CAM", wait_until="load")
    tab.wait_for_selector("#search-results li a", timeout=20_000)
    found = [a.get_attribute("href") for a in tab.locator("#search-results li a").all()]
    context.close()
    assert any("notebooks/cam-basics.html" in href for href in found), found


def test_button_switches_the_theme(browser, address):
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{address}/book/index.html", wait_until="load")
    seen = set()
    for _ in range(3):
        seen.add(tab.evaluate("document.documentElement.dataset.theme"))
        tab.locator(".theme-switch-button").first.click()
    context.close()
    assert seen == {"light", "dark"}


@pytest.mark.parametrize(
    ("motion", "picture"), [("reduce", "hero-still.webp"), ("no-preference", "hero.webp")]
)
def test_landing_page_moves_only_for_those_who_like_it(browser, address, motion, picture):
    context, _ = new_context(browser, motion=motion)
    tab = context.new_page()
    tab.goto(f"{address}/book/index.html", wait_until="load")
    source = tab.evaluate("document.querySelector('.hero img').currentSrc")
    context.close()
    assert source.endswith(f"/{picture}")
