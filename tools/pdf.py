"""The book on paper: ``python tools/pdf.py`` prints the built pages into one PDF, by Chromium.

All pages become one document with page numbers, a list of contents and bookmarks. Explorers are
printed as they stand. Code that a page folds is left out. Answers that a page folds come at the
end, under *Solutions*; in the edition for teachers (``TCCAM_EDITION``) they stay where they are.
"""

from __future__ import annotations

import copy
import html
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pikepdf
import yaml
from bs4 import BeautifulSoup, Tag
from editions import ROOT, edition, output, site

__all__ = ["NAME", "Page", "document", "pages", "printed", "write"]

NAME = "tccam-book.pdf"
FOOTER = (
    '<div style="width: 100%; font: 8px sans-serif; color: #55627a; text-align: center">'
    '<span class="pageNumber"></span></div>'
)
PRINT: Any = {
    "format": "A4",
    "print_background": True,
    "outline": True,
    "tagged": True,
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": FOOTER,
    "margin": {"top": "18mm", "bottom": "18mm", "left": "20mm", "right": "20mm"},
}
FOLDED = ".admonition.dropdown"
# Neither of them means anything on paper.
SCREEN = ".headerlink, button, .copybtn, details.hide, details.below-input, noscript, .sd-d-none"


@dataclass(frozen=True)
class Page:
    """A page of the book.

    Attributes:
        file: below the site, such as "notebooks/the-belt.html".
        title: as the page itself has it, numbered.
        part: the caption that it stands under in the table of contents.
        article: its content.
    """

    file: str
    title: str
    part: str
    article: Tag


def pages(built: Path) -> list[Page]:
    """The pages of a built edition, in the order of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [("", toc["root"])]
    files += [(part["caption"], page["file"]) for part in toc["parts"] for page in part["chapters"]]
    found = []
    for part, file in files:
        path = built / f"{file}.html"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            text = text[text.index("<article") : text.index("</article>")]
            article = BeautifulSoup(text, "html.parser").article
            heading = article.find("h1") if article else None
            if article is None or heading is None:
                raise ValueError(f"{path}: there is no article with a heading")
            for mark in heading.select(".headerlink"):
                mark.decompose()
            found.append(Page(f"{file}.html", heading.get_text().strip(), part, article))
    return found


def document(built: Path, name: str) -> str:
    """All pages as one HTML page for the top of the site.

    The list of contents has ``[page ANCHOR]`` where the number of a page belongs.

    Args:
        built: the site.
        name: of the edition.
    """
    found = pages(built)
    anchors = {page.file: f"page-{number}" for number, page in enumerate(found)}
    body, answers = "", []
    for page in found:
        anchor = anchors[page.file]
        article = page.article
        for element in article.select(SCREEN):
            element.decompose()
        _move_links(article, page.file, anchors)
        for number, folded in enumerate(article.select(FOLDED)):
            if name != "teacher":
                answers.append(_set_apart(folded, page, f"{anchor}-answer-{number}"))
        body += f'<article class="bd-article" id="{anchor}">{article.decode_contents()}</article>\n'
    last = "Answers" if name == "student" else "Solutions"  # to questions, to exercises too
    if answers:
        body += f'<article class="bd-article" id="solutions"><h1>{last}</h1>'
        body += "".join(answers) + "</article>"
    head = (built / found[0].file).read_text(encoding="utf-8").partition("</head>")[0]
    links = BeautifulSoup(head, "html.parser").select("link[rel=stylesheet]")
    styles = [urljoin(found[0].file, str(link["href"])) for link in links]
    sheets = "".join(f'<link rel="stylesheet" href="{style}">' for style in styles)
    contents = [(anchors[page.file], page.title, page.part) for page in found[1:]]
    if answers:
        contents.append(("solutions", last, "Answers"))
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>Temporal-consistent CAMs</title>{sheets}{_formulas(built, found)}</head>
<body class="paper">{_cover(name)}{_contents(contents)}{body}</body></html>"""


def _move_links(article: Tag, file: str, anchors: dict[str, str]) -> None:
    """Let anchors be unique in the whole document, links follow them, and pictures be found."""
    own = anchors[file]
    for element in article.select("[id]"):
        element["id"] = f"{own}-{element['id']}"
    for name in ("for", "aria-labelledby", "aria-describedby"):
        for element in article.select(f"[{name}]"):
            element[name] = " ".join(f"{own}-{anchor}" for anchor in str(element[name]).split())
    for element in article.select("[src]"):
        element["src"] = urljoin(file, str(element["src"]))
    for link in article.select("a[href]"):
        target = urlsplit(urljoin(f"http://book/{file}", str(link["href"])))
        if target.netloc != "book":
            continue
        page = anchors.get(unquote(target.path).lstrip("/"))
        if page is None:  # a file to download, or a page outside the book
            link.name = "span"
            del link["href"]
        else:
            link["href"] = f"#{page}-{unquote(target.fragment)}" if target.fragment else f"#{page}"


def _set_apart(folded: Tag, page: Page, anchor: str) -> str:
    """Take a folded answer out of its page; the result is what stands at the end of the book."""
    answer = copy.copy(folded)
    del answer["id"]
    answer["class"] = "answer"
    for element in folded.find_all(recursive=False):
        if "admonition-title" not in element.get("class", []):
            element.decompose()
    folded["class"] = "admonition question"
    folded["id"] = f"{anchor}-question"
    title = folded.select_one(".admonition-title")
    if title is not None:
        title.append(BeautifulSoup(f'<a href="#{anchor}"> (at the end)</a>', "html.parser"))
    chapter = page.title.partition(":")[0]
    return f'<div id="{anchor}"><p class="where">{html.escape(chapter)}</p>{answer.decode()}</div>'


def _formulas(built: Path, found: list[Page]) -> str:
    """MathJax, as a page with formulas loads it."""
    for page in found:
        text = (built / page.file).read_text(encoding="utf-8")
        config = re.search(r"<script>window\.MathJax = .*?</script>", text)
        script = re.search(r'<script[^>]*src="([^"]*tex-mml-chtml\.js[^"]*)"', text)
        if config and script:
            return f'{config[0]}<script defer src="{urljoin(page.file, script[1])}"></script>'
    return ""


def _cover(name: str) -> str:
    kind = {"student": "Without solutions", "teacher": "With solutions, for teachers"}.get(name, "")
    return f"""<section class="cover"><p class="title">Temporal-consistent CAMs</p>
<img src="_static/hero-still.webp" alt="A conveyor belt; a warm glow on what is taken out">
<p>An executable book on weakly supervised video segmentation</p><p>{kind}</p>
<p class="small">Text and figures: CC BY 4.0. Code: Apache-2.0.</p></section>"""


def _contents(entries: list[tuple[str, str, str]]) -> str:
    text, last = "", ""
    for anchor, title, part in entries:
        if part != last:
            text += f'<p class="part">{html.escape(part)}</p>'
            last = part
        words = f"<span>{html.escape(title)}</span><span>[page {anchor}]</span>"
        text += f'<p><a href="#{anchor}">{words}</a></p>'
    return f'<nav class="pages"><h1>Contents</h1>{text}</nav>'


def write(path: Path, name: str) -> int:
    """Print an edition; the result is the number of pages.

    Raises:
        RuntimeError: if there is no Chromium, or no built edition.
    """
    from browser import chromium, new_context, serve  # noqa: PLC0415 - it needs playwright

    built = site(name)
    if shutil.which("chromium") is None:
        raise RuntimeError("there is no Chromium here, and it is what prints the PDF")
    if not (built / "index.html").is_file():
        raise RuntimeError(f"there is no built book: run make html EDITION={name} first")
    with serve(built) as address, chromium() as browser:
        context, _ = new_context(browser)
        return printed(context, address, document(built, name), path)


def printed(context: Any, address: str, text: str, path: Path) -> int:
    """Print a document; the result is the number of pages.

    Args:
        context: a window of Chromium.
        address: of the site that the document belongs to.
        text: see :func:`document`.
        path: of the PDF.
    """
    numbers: dict[str, int] = {}

    def answer(route: Any) -> None:
        shown = re.sub(r"\[page ([\w-]+)\]", lambda m: str(numbers.get(m[1], "")), text)
        route.fulfill(body=shown, content_type="text/html; charset=utf-8")

    path.parent.mkdir(parents=True, exist_ok=True)
    context.route("**/print.html", answer)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / NAME
        for _ in range(2):  # the second time, the list of contents knows the numbers
            tab = context.new_page()
            tab.set_default_timeout(600_000)
            tab.goto(f"{address}/print.html", wait_until="load")
            tab.evaluate("window.MathJax ? MathJax.startup.promise.then(() => 0) : 0")
            tab.evaluate("Promise.all([...document.images].map((i) => i.decode().catch(() => 0)))")
            tab.pdf(path=draft, **PRINT)
            tab.close()
            with pikepdf.open(draft) as book:
                numbers |= _numbers(book)
        with pikepdf.open(draft) as book:
            _mend_outline(book, text)
            book.docinfo["/Title"] = "Temporal-consistent CAMs"
            book.docinfo["/Author"] = "The tccam contributors"
            book.Root.PageMode = pikepdf.Name.UseOutlines
            # Chromium leaves the structure as it is, which is a third of the file.
            book.save(path, object_stream_mode=pikepdf.ObjectStreamMode.generate)
            return len(book.pages)


def _numbers(book: Any) -> dict[str, int]:
    """The page, from 1, of every anchor that a link leads to."""
    places = {page.objgen: number for number, page in enumerate(book.pages, 1)}
    return {
        anchor.lstrip("/"): places[place[0].objgen]
        for anchor, place in book.Root.get("/Dests", {}).items()
    }


def _mend_outline(book: Any, text: str) -> None:
    """Mend titles: Chromium loses spaces where a heading is broken, and says some words twice."""
    headings = re.findall(r"<h\d[^>]*>(.*?)</h\d>", text, re.DOTALL)
    titles = [" ".join(html.unescape(re.sub(r"<[^>]*>", "", h)).split()) for h in headings]
    known = {title.replace(" ", ""): title for title in titles}

    def mend(items: Any) -> None:
        for item in items:
            bare = "".join(item.title.split())
            once = bare[: len(bare) // 2]
            item.title = known.get(once if bare == 2 * once else bare, item.title)
            mend(item.children)

    with book.open_outline() as outline:
        mend(outline.root)


def main() -> int:
    """Print the edition."""
    name = edition()
    path = output(name) / "_build" / NAME
    try:
        count = write(path, name)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path.relative_to(ROOT)}: {count} pages, {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
