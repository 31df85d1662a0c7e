"""Pages for everyone: mended markup, headers of tables, and words for every picture.

What the theme and docutils write is mended here where a screen reader stumbles over it. A picture
without words of a human, and a table without headers, are warnings, so that `make html` fails.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

#: What is written → what is meant.
MENDS = (
    # A summary says by itself what it opens.
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # Parameters on lines of their own are no list of definitions.
    (re.compile(r'(<span class="sig-paren">\(</span>\s*)<dl>(.*?)</dl>', re.DOTALL), None),
    # The role for an entry of a bibliography is deprecated, and none of a list's children.
    (re.compile(r'role="doc-biblioentry"'), 'role="listitem"'),
)
CELL = re.compile(r"<thead\b|</thead>|<th(?=[\s>])(?![^>]*\bscope=)")
FILE = re.compile(r"\S*\.(png|jpe?g|gif|svg|webp)$|^\S*[\\/]\S*$", re.IGNORECASE)
REPR = re.compile(r"<?(Figure size|Figure\(|Axes|matplotlib|PIL\.)")
VAGUE = {"image", "figure", "picture", "plot", "photo", "screenshot"}


def mend(body: str) -> str:
    """Mend the markup of one page's text.

    Example:
        >>> mend("<thead><tr><th>a</th></tr></thead><tr><th>b</th></tr>")
        '<thead><tr><th scope="col">a</th></tr></thead><tr><th scope="row">b</th></tr>'
    """
    for pattern, new in MENDS:
        body = pattern.sub(_lines if new is None else new, body)
    return _scopes(body)


def _lines(match: re.Match[str]) -> str:
    inner = match[2].replace("<dd>", "<div>").replace("</dd>", "</div>")
    return f'{match[1]}<div class="sig-lines">{inner}</div>'


def _scopes(body: str) -> str:
    """Say of each header cell what it heads: its column in a table's head, else its row."""
    head = False

    def cell(match: re.Match[str]) -> str:
        nonlocal head
        if match[0] != "<th":
            head = match[0] == "<thead"
            return match[0]
        return f'<th scope="{"col" if head else "row"}"'

    # Scripts hold markup that belongs to nobody yet.
    parts = re.split(r"(<script\b.*?</script>)", body, flags=re.DOTALL)
    return "".join(p if p.startswith("<script") else CELL.sub(cell, p) for p in parts)


class Barriers(HTMLParser):
    """Collects what is missing on one page: words of pictures, headers of tables."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._headers: list[list[str]] = []  # of the tables that are open
        self._in_header = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at pictures; open tables and their header cells."""
        given = dict(attrs)
        if tag == "img" or given.get("role") == "img":
            words = (given.get("alt") or given.get("aria-label") or "").strip()
            if not human(words):
                what = (given.get("src") or given.get("id") or tag)[:80]
                self.found.append(f"picture {what} has no words: alt={words!r}")
        elif tag == "table":
            self._headers.append([])
        elif tag == "th" and self._headers:
            self._in_header = True
            if given.get("scope") not in {"col", "row", "colgroup", "rowgroup"}:
                self.found.append("a header of a table does not say what it heads: scope")

    def handle_data(self, data: str) -> None:
        """Remember what headers say."""
        if self._in_header and data.strip():
            self._headers[-1].append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        """Close tables and header cells."""
        if tag == "th":
            self._in_header = False
        elif tag == "table" and self._headers and not self._headers.pop():
            self.found.append("a table has no headers")


def human(words: str) -> bool:
    """Whether a picture's words were written for people: no file name, no object's repr.

    Example:
        >>> human("A belt with two bottles"), human("../_images/a1b2.png"), human("")
        (True, False, False)
    """
    if len(words) <= 3 or words.lower() in VAGUE:
        return False
    return not FILE.search(words) and not REPR.match(words)


def barriers(body: str) -> list[str]:
    """What is missing on a page, a line each.

    Example:
        >>> barriers('<img src="a.png" alt="A belt"><img src="b.png">')
        ["picture b.png has no words: alt=''"]
    """
    reader = Barriers()
    reader.feed(body)
    return reader.found


def check(
    _app: Sphinx, name: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Mend the text of a page, and warn of what only its author can mend."""
    if doctree is None or "body" not in context:
        return
    context["body"] = mend(context["body"])
    for line in barriers(context["body"]):
        logging.getLogger(__name__).warning(line, location=name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every page when it is written."""
    app.connect("html-page-context", check, priority=900)  # after all who add to the text
    return {"parallel_read_safe": True, "parallel_write_safe": True}
