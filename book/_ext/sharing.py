"""What a page says of itself where its address is shared: title, description, picture.

The public address follows from the repository's, which ``tools/set_repository.py`` changes.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

import set_repository  # noqa: E402

CARD = "_static/card.jpg"
WORDS = "A conveyor belt with bottles, cartons and cans; what a sorter takes out glows"
LONGEST = 200  # characters of a description


def site(repository: str) -> str:
    """Where GitHub Pages serves the book of a repository.

    Example:
        >>> site("https://github.com/Somebody/tccam")
        'https://somebody.github.io/tccam/'
    """
    owner, name = repository.rstrip("/").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def description(doctree: nodes.document) -> str:
    """The question that opens a chapter; else the first paragraph; shortened at a word."""
    texts = {p: " ".join(p.astext().split()) for p in doctree.findall(nodes.paragraph)}
    asked = [text.partition(":")[2].strip() for text in texts.values() if text[:9] == "Question:"]
    told = [text for p, text in texts.items() if isinstance(p.parent, nodes.section)]
    text = next(iter([*(q[:1].upper() + q[1:] for q in asked), *told]), "")
    if len(text) > LONGEST:
        text = text[:LONGEST].rsplit(" ", 1)[0].rstrip(".,:;") + " …"
    return text


def tags(title: str, words: str, address: str, base: str, book: str) -> str:
    """The meta tags of a page.

    Args:
        title: of the page.
        words: that describe it.
        address: of the page.
        base: of the book, with a slash at its end.
        book: the book's title.

    Example:
        >>> print(tags("Glossary", "What words mean", "https://a.b/g.html", "https://a.b/", "CAMs"))
        <BLANKLINE>
        <meta property="og:type" content="website">
        <meta property="og:site_name" content="CAMs">
        ...
    """
    image = base + CARD
    made = {
        "og:type": "website", "og:site_name": book, "og:title": title, "og:description": words,
        "og:url": address, "og:image": image, "og:image:width": "1200", "og:image:height": "630",
        "og:image:alt": WORDS,
    }  # fmt: skip
    lines = [f'<meta property="{k}" content="{html.escape(v)}">' for k, v in made.items()]
    lines.append('<meta name="twitter:card" content="summary_large_image">')
    for scheme, color in {"light": "#f4f6f9", "dark": "#10161f"}.items():
        media = f"(prefers-color-scheme: {scheme})"
        lines.append(f'<meta name="theme-color" media="{media}" content="{color}">')
    return "\n" + "\n".join(lines)


def set_base(_app: Sphinx, config: Config) -> None:
    """Where the built book is going to live."""
    config.html_baseurl = site(set_repository.address())


def add_tags(
    app: Sphinx, name: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Describe a page to those who are shown its address."""
    found = context.get("metatags", "")
    given = re.search(r'<meta content="([^"]*)" name="description"', found)
    words = html.unescape(given[1]) if given else description(doctree) if doctree else ""
    title = html.unescape(re.sub(r"<[^>]+>", "", context.get("title", "") or app.config.project))
    book, base = app.config.html_title or app.config.project, app.config.html_baseurl
    words = words or title
    if not given:
        found += f'\n<meta name="description" content="{html.escape(words)}">'
    context["metatags"] = found + tags(title, words, f"{base}{name}.html", base, book)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the tags to every page."""
    app.connect("config-inited", set_base)
    app.connect("html-page-context", add_tags)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
