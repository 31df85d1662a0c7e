"""Terms of the glossary in the chapters: a link at the first occurrence, with the definition.

``book/glossary.md`` is the one source. The definitions of a chapter's terms travel with its page,
so that ``book.js`` can show them as cards without a network; screen readers read them as
descriptions of the links.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
#: Words of everyday speech: they are terms only where the prose sets them off, as in *control*.
EVERYDAY = {
    "after", "arm", "before", "control", "cue", "detach", "gain", "interval", "phase", "ramp",
    "reach", "swap", "validity", "window",
}  # fmt: skip
#: Where no term is linked.
CLOSED = (
    nodes.Titular, nodes.reference, nodes.literal, nodes.literal_block,
    nodes.caption, nodes.legend, nodes.math, nodes.math_block, nodes.table, nodes.raw, nodes.target,
    nodes.footnote, nodes.citation, nodes.comment, addnodes.desc,
)  # fmt: skip
#: Classes of what is no prose, or is folded: the first occurrence is one that readers see.
SHUT = {"cell", "dropdown", "opening", "output", "pasted-text", "solution", "toggle"}


@dataclass(frozen=True)
class Entry:
    """One definition: its terms, the anchor of each, and its paragraphs."""

    terms: dict[str, str]
    definition: nodes.Element


def entries(glossary: nodes.document) -> list[Entry]:
    """The definitions of the glossary's page."""
    found = []
    for item in glossary.findall(nodes.definition_list_item):
        terms = {term.astext(): term["ids"][0] for term in item.findall(nodes.term)}
        found.append(Entry(terms, next(item.findall(nodes.definition))))
    return found


def pattern(term: str) -> str:
    """A regular expression of a term: capitals and plurals count, an acronym keeps its letters.

    Example:
        >>> bool(re.fullmatch(pattern("class activation map"), "Class activation maps"))
        True
        >>> bool(re.fullmatch(pattern("RAFT"), "raft"))
        False
    """
    words = r"[\s-]".join(re.escape(word) for word in re.split(r"[\s-]", term))
    plural = words[:-1] + "(?:y|ies)" if re.search("[^aeiou]y$", term) else words + "(?:s|es)?"
    return plural if re.search("[A-Z].*[A-Z]", term) else f"(?i:{plural})"


def link(doctree: nodes.document, found: list[Entry], uri: str) -> None:
    """Link the first occurrence of each definition's terms in a chapter's prose.

    Args:
        doctree: the chapter, changed in place.
        found: the definitions, see :func:`entries`.
        uri: of the glossary's page, as the chapter sees it.
    """
    owners = {term: entry for entry in found for term in entry.terms}
    # After "to" stands a verb: to seed, to tile.
    longest = sorted(owners, key=len, reverse=True)
    words = "|".join(f"({pattern(term)})" for term in longest)
    search = re.compile(rf"(?<![\w-])(?<!\bto )(?:{words})(?![\w-])")
    seen: set[int] = set()
    for text in list(doctree.findall(nodes.Text)):
        if not _open(text):
            continue
        pieces: list[nodes.Node] = []
        end = 0
        for match in search.finditer(str(text)):
            term = longest[(match.lastindex or 1) - 1]
            entry = owners[term]
            if id(entry) in seen or (term in EVERYDAY and not _set_off(text)):
                continue
            seen.add(id(entry))
            target = f"{uri}#{entry.terms[term]}"
            pieces += [
                nodes.Text(str(text)[end : match.start()]),
                nodes.reference("", match[0], internal=True, refuri=target, classes=["term"]),
            ]
            end = match.end()
        if pieces:
            pieces.append(nodes.Text(str(text)[end:]))
            text.parent.replace(text, pieces)


def _open(text: nodes.Text) -> bool:
    """Whether a piece of text is prose: in a paragraph, and in nothing that is closed to links."""
    prose, node = False, text.parent
    while node is not None:
        if isinstance(node, CLOSED) or SHUT & set(node.get("classes", ())):
            return False
        prose |= isinstance(node, nodes.paragraph)
        node = node.parent
    return prose


def _set_off(text: nodes.Text) -> bool:
    """Whether the text is nothing but a word in italics or bold."""
    return isinstance(text.parent, nodes.emphasis | nodes.strong) and len(text.split()) == 1


def card(app: Sphinx, entry: Entry, anchor: str) -> str:
    """The definition of a term as a card, hidden until it is asked for."""
    definition = entry.definition.deepcopy()
    for node in list(definition.findall(addnodes.pending_xref)):
        # A card has no links of its own, and no place for references.
        words = [] if node.get("refdomain") == "cite" else [nodes.Text(node.astext())]
        node.parent.replace(node, words)
    text = "".join(
        app.builder.render_partial(paragraph)["fragment"] for paragraph in definition.children
    )
    text = re.sub(r"\s+([.,])", r"\1", text)
    name = next(term for term, other in entry.terms.items() if other == anchor)
    return (
        f'<div class="term-card" id="card-{anchor}" role="tooltip" hidden>'
        f"<p><strong>{html.escape(name)}</strong></p>{text}</div>"
    )


def note(app: Sphinx, docname: str, _source: list[str]) -> None:
    """A chapter is built again when the glossary changes."""
    if docname.startswith("notebooks/"):
        app.env.note_dependency(app.env.doc2path(GLOSSARY))


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link the terms of a chapter."""
    if app.builder.format != "html" or not docname.startswith("notebooks/"):
        return
    if GLOSSARY not in app.env.found_docs:  # a book of some pages
        return
    found = entries(app.env.get_doctree(GLOSSARY))
    if found:
        link(doctree, found, app.builder.get_relative_uri(docname, GLOSSARY))


def add_cards(
    app: Sphinx, _name: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the definitions at the end of the text, and tie each link to its own."""
    used = [
        node["refuri"].partition("#")[2]
        for node in (doctree.findall(nodes.reference) if doctree else ())
        if "term" in node["classes"]
    ]
    if not used or "body" not in context:
        return
    owners = {
        anchor: entry
        for entry in entries(app.env.get_doctree(GLOSSARY))
        for anchor in entry.terms.values()
    }
    cards = "".join(card(app, owners[anchor], anchor) for anchor in used)
    body = re.sub(
        r'<a class="term (reference internal" href="[^"#]*#([\w-]+)")',
        r'<a aria-describedby="card-\2" class="term \1',
        context["body"],
    )
    context["body"] = f'{body}<div class="term-cards">{cards}</div>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Link terms when a chapter is written."""
    app.connect("source-read", note)
    app.connect("doctree-resolved", resolve, priority=700)
    app.connect("html-page-context", add_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
