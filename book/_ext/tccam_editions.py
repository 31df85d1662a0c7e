"""What differs between the editions of the book; ``tools/editions.py`` says what they are.

``{edition} self-study teacher`` keeps its content for these editions; the role ``{bundle}`` links
to the archive of the notebooks, which is written beside the pages. In the edition for students,
solutions are neither on the pages nor in the files behind the buttons, the pages for teachers are
left out, and no button leads to the public notebooks, which have solutions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError, SphinxError
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import bundle  # noqa: E402
import editions  # noqa: E402

TEACH = "book/teach/"


class Only(SphinxDirective):
    """Content of some editions, which are its arguments."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The content, or nothing."""
        wanted = self.arguments[0].split()
        if unknown := set(wanted) - set(editions.EDITIONS):
            raise self.error(f"no edition {', '.join(sorted(unknown))}")
        if self.config.tccam_edition not in wanted:
            return []
        place = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, place)
        return place.children


class Bundle(SphinxRole):
    """A link to the archive of the notebooks."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """One reference, from this page to the top of the site."""
        address = "../" * self.env.docname.count("/") + bundle.file_name(self.config.tccam_edition)
        return [nodes.reference("", self.text, refuri=address, internal=True)], []


def choose(_app: Sphinx, config: Config) -> None:
    """Set what the theme shows; the site map is there already."""
    name = config.tccam_edition
    if name == "self-study":
        return
    title = f"{config.html_title} · {'students' if name == 'student' else 'teachers'}"
    config.html_title = title
    config.html_theme_options["logo"] = {**config.html_theme_options["logo"], "text": title}
    if name == "student":
        config.html_theme_options["launch_buttons"] = {}
        config.html_theme_options["use_repository_button"] = False
        config.exclude_patterns = [*config.exclude_patterns, f"{TEACH}*"]
        pages = config.external_site_map
        for part in pages.root.subtrees:
            part.items = [item for item in part.items if not item.startswith(TEACH)]
        pages.root.subtrees = [part for part in pages.root.subtrees if part.items]
        for page in [page for page in pages if page.startswith(TEACH)]:
            del pages[page]


def edit_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take solutions out of what Sphinx reads, or unfold them."""
    if "{solution" not in source[0]:
        return
    try:
        source[0] = _edited(app.env.doc2path(docname), source[0], app.config.tccam_edition)
    except ValueError as error:
        raise SphinxError(f"{docname}: {error}") from error


def _edited(path: str, text: str, name: str) -> str:
    if path.endswith(".ipynb"):
        notebook = editions.edit_notebook(json.loads(text), name)
        return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
    return editions.edit(text, name)


def without_link(
    app: Sphinx, _env: BuildEnvironment, node: nodes.Element, words: nodes.TextElement
) -> nodes.TextElement | None:
    """The words of a link to a solution that is not in this edition."""
    if app.config.tccam_edition == "student" and node.get("reftarget") in editions.labels(
        Path(app.srcdir)
    ):
        return words
    return None


def add_files(app: Sphinx, error: Exception | None) -> None:
    """Write the archive of the notebooks, and the sources as the edition shows them."""
    if error or app.builder.name != "html":
        return
    name = app.config.tccam_edition
    bundle.write(Path(app.outdir) / bundle.file_name(name), name)
    if name == "student":
        for docname in app.env.found_docs:
            path = Path(app.env.doc2path(docname))
            text = path.read_text(encoding="utf-8")
            if "{solution" in text:
                copy = Path(app.outdir) / "_sources" / path.relative_to(app.srcdir)
                copy.write_text(_edited(path.name, text, name), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the edition, and what depends on it."""
    try:
        app.add_config_value("tccam_edition", editions.edition(), "env", str)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    app.add_directive("edition", Only)
    app.add_role("bundle", Bundle())
    app.connect("config-inited", choose, priority=950)  # the external table of contents has 900
    app.connect("source-read", edit_source)
    app.connect("missing-reference", without_link)
    app.connect("build-finished", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
