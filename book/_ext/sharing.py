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

import set_repository

CARD = "_static/card.jpg"
WORDS = "A conveyor belt with bottles, cartons and cans; what a sorter takes out glows"
SAYS = "description"
LONGEST = 200  # characters of a description


def site(repository: str) -> str:
    """Where GitHub Pages serves the book of a repository.

    Example:
        >>> site("https://github.com/Somebody/belts")
        'https://somebody.github.io/belts/'
    """
    owner, name = repository.rstrip("/").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def description(doctree: nodes.document) -> str:
    """What a page says of itself, the question that opens it, or its first paragraph."""
    given = [meta["content"] for meta in doctree.findall(nodes.meta) if meta.get("name") == SAYS]
    texts = {p: " ".join(p.astext().split()) for p in doctree.findall(nodes.paragraph)}
    asked = [text.partition(":")[2].strip() for text in texts.values() if text[:9] == "Question:"]
    told = [text for p, text in texts.items() if isinstance(p.parent, nodes.section)]
    text = next(iter([*given, *(q[:1].upper() + q[1:] for q in asked), *told]), "")
    if len(text) > LONGEST:  # shortened at a word
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
    base, book = app.config.html_baseurl, app.config.html_title
    title = html.unescape(re.sub(r"<[^>]+>", "", context.get("title") or book))
    words = (description(doctree) if doctree else "") or f"{title} of the book: {book}"
    context["metatags"] = context.get("metatags", "") + tags(
        title, words, f"{base}{name}.html", base, book
    )
    if f'name="{SAYS}"' not in context["metatags"]:
        context["metatags"] += f'\n<meta name="{SAYS}" content="{html.escape(words)}">'


def write_entrance(app: Sphinx, error: Exception | None) -> None:
    """The address of the whole book leads to its first page, and is shared as that page is."""
    if error or app.builder.name != "html":
        return
    first, base, book = app.config.root_doc, app.config.html_baseurl, app.config.html_title
    title = app.env.titles[first].astext()
    words = description(app.env.get_doctree(first))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Refresh" content="0; url={first}.html">
<title>{html.escape(title)}</title>
<link rel="canonical" href="{base}{first}.html">{tags(title, words, base, base, book)}
</head>
<body><main><h1><a href="{first}.html">{html.escape(title)}</a></h1></main></body>
</html>
"""
    (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the tags to every page."""
    app.connect("config-inited", set_base)
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_entrance, priority=400)  # before a bare one is written
    return {"parallel_read_safe": True, "parallel_write_safe": True}
