"""What the book needs beyond its packages: the API of every module, and the status table.

``{tccam-api}`` lists the library's modules floor by floor, so that a new one appears by itself;
``{tccam-status}`` shows ``book/status.json``, which ``make notebooks`` writes, and
``{tccam-benchmarks}`` shows ``results/benchmarks.json``, which ``make bench`` writes.
``{tccam-segmenting}`` what ``python -m benchmarks.segment`` keeps there.
``{tccam-claims}`` shows ``book/claims.yml`` beside the numbers that it is held against. What
``make html`` has fetched into ``book/_static/vendor`` replaces the addresses of content delivery
networks.
"""

from __future__ import annotations

import importlib
import itertools
import json
import pkgutil
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import claims  # noqa: E402
import stamps  # noqa: E402

VENDOR = ROOT / "book" / "_static" / "vendor"
STATUS = ROOT / "book" / "status.json"
BENCHMARKS = ROOT / "results" / "benchmarks.json"
MARKS = {
    "supported": "✓",
    "not supported": "✗",
    "depends": "±",
    "not testable": "–",
}


class Api(SphinxDirective):
    """A section for each module of the library, from the lowest floor to the highest."""

    def run(self) -> list[nodes.Node]:
        """Leave the documentation of each module to autodoc."""
        text = ""
        for name in modules():
            self.env.note_dependency(str(ROOT / Path(*name.split("."))) + ".py")
            # A package says what its modules are for; each thing is described where it is defined.
            members = "" if (ROOT / Path(*name.split("."))).is_dir() else "   :members:\n"
            text += f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{members}```\n\n"
        return _parsed(self, text)


class Status(SphinxDirective):
    """What the last run of each chapter took, where it ran, and whether it still holds.

    A chapter that is stale is a warning, in every build.
    """

    def run(self) -> list[nodes.Node]:
        """Two tables: chapters, and the machines and versions that they were measured on."""
        self.env.note_reread()  # it depends on most of the project
        status: dict[str, Any] = json.loads(STATUS.read_text()) if STATUS.is_file() else {}
        stale = stamps.stale()
        for line in stamps.lines(stale):
            logging.getLogger(__name__).warning(line, location=self.get_location())
        runs: dict[tuple[str, str], list[str]] = {}
        chapters = "| chapter | state | last run | time | peak memory | measured |\n"
        chapters += "|---|---|---|---|---|---|\n"
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            link, run = f"[](/notebooks/{path.name})", status.get(path.stem, {})
            took = "not measured | |"
            if "seconds" in run:
                minutes, seconds = divmod(round(run["seconds"]), 60)
                time = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
                took = f"{time} | {run['peak_mib'] * 2**20 / 1e9:.1f} GB | {run['date']}"
                machine, versions = run["machine"], run["versions"]
                where = f"{machine['cores']} cores, {machine['cpu']}, {machine['system']}"
                names = sorted(versions, key=lambda what: (what != "python", what))
                what = ", ".join(f"{name} {versions[name]}" for name in names)
                runs.setdefault((where, what), []).append(link)
            why = stale.get(path.stem)
            state = f"stale: {why}" if why else "fresh"
            ran = run.get("stamp", {}).get("date", "")
            row = f"| {link} | {state} | {ran} | {took} |\n"
            chapters += re.sub(r"(?<=\d)-(?=\d)", "\N{NON-BREAKING HYPHEN}", row)
        machines = "| chapters | machine | versions |\n|---|---|---|\n"
        for (where, what), links in runs.items():
            machines += f"| {', '.join(links)} | {where} | {what} |\n"
        return _parsed(self, f"{chapters}\n{machines if runs else ''}")


class Benchmarks(SphinxDirective):
    """What the library is fast at, as ratios that were measured in one run."""

    def run(self) -> list[nodes.Node]:
        """One table, and where and when it was measured."""
        self.env.note_dependency(str(BENCHMARKS))
        if not BENCHMARKS.is_file():
            return [nodes.paragraph(text="No benchmark has been recorded yet.")]
        found: dict[str, Any] = json.loads(BENCHMARKS.read_text())
        table = "| what | against | ours | other | ratio | goal |\n|---|---|---|---|---|---|\n"
        rates = "| what | frames a second |\n|---|---|\n"
        for row in found["rows"]:
            if "ratio" in row:
                table += (
                    f"| {row['what']} | {row['against']} | {row['ours_ms']:.1f} ms "
                    f"| {row['other_ms']:.1f} ms | {row['ratio']:.2f} | {row['goal']} |\n"
                )
            else:
                rates += f"| {row['what']} | {row['frames_per_second']:.0f} |\n"
        machine, versions = found["machine"], found["versions"]
        where = (
            f"Measured on {found['date']}: {machine['cores']} cores, {machine['cpu']}, "
            f"{machine['system']}, {machine['gpu'] or 'no GPU'}; "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
        )
        return _parsed(self, f"{table}\n{rates}\n{where}.")


class Segmenting(SphinxDirective):
    """What ``tccam segment`` takes for videos of several lengths."""

    def run(self) -> list[nodes.Node]:
        """One table, and where and when it was measured."""
        self.env.note_dependency(str(BENCHMARKS))
        found = json.loads(BENCHMARKS.read_text()).get("segment") if BENCHMARKS.is_file() else None
        if not found:
            return [nodes.paragraph(text="It has not been measured yet.")]
        table = "| video | frames | peak memory | frames a second |\n|---|---|---|---|\n"
        for row in found["rows"]:
            table += (
                f"| {row['minutes']:g} min | {row['frames']} | {row['peak_mib']:.0f} MiB "
                f"| {row['frames_per_second']:.1f} |\n"
            )
        machine = found["machine"]
        where = (
            f"Measured on {found['date']}: {machine['cores']} cores, {machine['cpu']}, "
            f"{machine['system']}, {machine['gpu'] or 'no GPU'}; "
            f"PyTorch {found['provenance']['torch']}"
        )
        return _parsed(self, f"{table}\n{where}.")


class Claims(SphinxDirective):
    """What the paper says, group by group, and the numbers that speak for it or against it.

    With the argument ``verdicts``: what the verdicts mean, and how many claims have each.
    """

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list of verdicts; or a section for each group, with a block for each claim."""
        for pattern in ("book/claims.yml", "notebooks/*.ipynb", "results/*.csv", "results/*.json"):
            for path in ROOT.glob(pattern):
                self.env.note_dependency(str(path))
        entries, findings = claims.check()
        text = ""
        if self.arguments:
            counts = Counter(entry.claim.verdict for entry in entries)
            for verdict, meaning in claims.VERDICTS.items():
                text += f"- {_badge(verdict)} {counts[verdict]} of {len(entries)}. {meaning}\n"
            return _parsed(self, text)
        for finding in findings:
            logging.getLogger(__name__).warning(str(finding), location=self.get_location())
        for name, group in claims.GROUPS.items():
            text += f"## {group.title}\n\n"
            text += "".join(_claim(entry) for entry in entries if entry.claim.group == name)
        return _parsed(self, text)


def _badge(verdict: str) -> str:
    """A verdict in colour, with its sign and its name."""
    return f"[{MARKS.get(verdict, '?')} {verdict}]{{.verdict .{verdict.replace(' ', '-')}}}"


def _claim(entry: claims.Entry) -> str:
    """A claim as a block: what it says, what was found, and what to make of it."""
    claim = entry.claim
    text = f":::{{div}} claim {claim.verdict.replace(' ', '-')}\n:name: claim-{claim.id}\n\n"
    text += f"{_badge(claim.verdict)} {claim.claim}\n\n"
    rows = {"Source": claim.source, "Depends on": claim.on, "Why": claim.why}
    rows["We found"] = _evidence(entry)
    rows["Note"] = claim.note
    text += "".join(f"{name}\n: {what}\n\n" for name, what in rows.items() if what)
    return f"{text}:::\n\n"


def _evidence(entry: claims.Entry) -> str:
    """The evidence, chapter by chapter and study by study."""

    def origin(pair: tuple[Any, claims.Measured]) -> str:
        evidence, measured = pair
        if isinstance(evidence, claims.Study):
            name = f"Study {{download}}`{evidence.study} </results/{evidence.study}.csv>`"
        else:
            name = f"[](/notebooks/{evidence.notebook}.ipynb)"
        if measured.seeds:
            name += f", {measured.seeds} seed{'s' * (measured.seeds > 1)}"
        return f"{name}, {measured.of}" if measured.of else name

    text = ""
    for where, pairs in itertools.groupby(entry.evidence, origin):
        text += f"\n\n  {where}\n\n" if text else f"{where}\n\n"
        for _, found in pairs:
            value, space, rest = found.value.partition(" ")
            line = f"{found.what}: **{value}**{space}{rest}"
            if found.claimed not in ("more than 0", "True"):
                line += f"; claimed: {found.claimed}"
            text += f"  - {'✓' if found.holds else '✗'} {line}\n"
    return text


def modules() -> list[str]:
    """The library's modules in the order of its floors, as pyproject.toml lists them.

    A package shows the modules that it re-exports from; the others are its own business.
    """
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contract["contracts"][0]["layers"]
    floors = [name.strip() for layer in reversed(layers) for name in layer.split(":")]
    found = []
    for module in pkgutil.iter_modules([str(ROOT / "tccam")], "tccam."):
        found.append(module.name)
        if module.ispkg:
            package = importlib.import_module(module.name)
            shown = {getattr(getattr(package, n), "__module__", "") for n in package.__all__}
            found += shown - {module.name, ""}
    return sorted(found, key=lambda name: (floors.index(name.split(".")[1]), name))


def use_vendored(app: Sphinx, config: Config) -> None:
    """Prefer local copies of the scripts that pages need, where `make html` could fetch them."""
    if (VENDOR / "mathjax").is_dir():
        config.mathjax_path = "vendor/mathjax/es5/tex-mml-chtml.js"
    if (VENDOR / "html-manager").is_dir() and (VENDOR / "requirejs").is_dir():
        config.nb_ipywidgets_js = {
            "vendor/requirejs/require.js": {},
            "widgets.js": {},
            "vendor/html-manager/dist/embed-amd.js": {},
        }


def without_thebe(app: Sphinx, _config: Config) -> None:
    """Leave out a script for live cells: no page uses it, and each page would define it twice."""
    for listener in list(app.events.listeners["env-before-read-docs"]):
        if listener.handler.__name__ == "init_thebe_core":
            app.disconnect(listener.id)


def hide_markers(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out of the pages what tells nbval to check a cell; the notebook file keeps it."""
    if docname.startswith("notebooks/"):
        source[0] = re.sub(r'"# NBVAL_\w+_OUTPUT\\n",', "", source[0])


def skip_tuple_fields(_app: Sphinx, _what: str, _name: str, found: object, *_: Any) -> bool | None:
    """Leave out what Python itself writes about a named tuple's fields; its class says more."""
    return True if str(found.__doc__).startswith("Alias for field number") else None


def keep_sentences(_app: Sphinx, what: str, *rest: Any) -> None:
    """Keep napoleon from reading the words before a colon as a property's type."""
    lines: list[str] = rest[-1]
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # it looks at the first line alone; this one is an empty comment


def _parsed(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """What a piece of the page's own Markdown becomes; it may hold headings."""
    section = nodes.section()
    lines = StringList(text.splitlines(), directive.get_source_info()[0])
    directive.state.nested_parse(lines, 0, section, match_titles=True)
    return list(section.children)


def set_minus(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Numbers that the prose quotes from cells get a minus where Python writes a hyphen."""
    for node in doctree.findall(nodes.inline):
        if "pasted-text" in node["classes"]:
            for text in list(node.findall(nodes.Text)):
                minus = re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)
                text.parent.replace(text, nodes.Text(minus))


def load_mathjax_for_quizzes(app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx looks for formulas in the text; those of a quiz are in the output of a cell."""
    if any('<span class="math">' in node.astext() for node in doctree.findall(nodes.raw)):
        app.env.get_domain("math").data["has_equations"][app.env.docname] = True


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("tccam-api", Api)
    app.add_directive("tccam-status", Status)
    app.add_directive("tccam-benchmarks", Benchmarks)
    app.add_directive("tccam-segmenting", Segmenting)
    app.add_directive("tccam-claims", Claims)
    app.connect("config-inited", use_vendored)
    app.connect("config-inited", without_thebe)
    app.connect("source-read", hide_markers)
    app.connect("doctree-read", load_mathjax_for_quizzes)
    app.connect("doctree-resolved", set_minus)
    app.connect("autodoc-skip-member", skip_tuple_fields)
    app.connect("autodoc-process-docstring", keep_sentences, priority=400)  # napoleon has 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
