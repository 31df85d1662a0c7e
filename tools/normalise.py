"""The committed form of a chapter: what two identical runs must agree on, and nothing else.

A notebook that has just run carries traces of the run: timings, the kernel's exact version, random
ids, the machine's folders. :func:`normalise` takes them out, so that a second run on the same
machine gives the same bytes. What it cannot take out without lying (a path or a memory address in
an output) it leaves for :func:`traces` to name, because the chapter has to stop printing it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

__all__ = ["PROGRESS", "dumps", "normalise", "outputs_of", "traces"]

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGETS = "application/vnd.jupyter.widget-state+json"
VALID_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
HEX_ID = re.compile(r"[0-9a-f]{32}")
PLAYER_ID = re.compile(r"\banim([0-9a-f]{32})\b")  # what matplotlib's to_jshtml calls its players
PROGRESS = re.compile(r"\d%\|[^|\n]*\|")  # what tqdm draws
BASE64 = re.compile(r"base64,[A-Za-z0-9+/=\\\n]+")


def normalise(notebook: Json, name: str) -> Json:
    """The notebook as it is committed; ``notebook`` itself is not touched.

    Args:
        notebook: nbformat 4 as a dictionary, with sources joined into strings.
        name: the chapter's name, from which made-up ids are derived.
    """
    made = copy.deepcopy(notebook)
    made["nbformat"], made["nbformat_minor"] = 4, 5
    made["metadata"] = {
        **{k: v for k, v in made["metadata"].items() if k == "widgets"},
        "kernelspec": dict(KERNELSPEC),
        "language_info": dict(LANGUAGE),
    }
    seen: set[str] = set()
    count = 0
    for index, cell in enumerate(made["cells"]):
        cell["id"] = _cell_id(cell, index, seen)
        for key in ("papermill", "execution", "ExecuteTime", "collapsed"):
            cell["metadata"].pop(key, None)
        if not cell["metadata"].get("tags", True):
            del cell["metadata"]["tags"]
        if cell["cell_type"] != "code":
            continue
        ran = bool(cell["source"].strip())
        count += ran
        cell["execution_count"] = count if ran else None
        cell["outputs"] = _outputs(cell["outputs"], cell["execution_count"])
    ids = _random_ids(made)
    if WIDGETS in made["metadata"].get("widgets", {}):
        state = made["metadata"]["widgets"][WIDGETS]["state"]
        made["metadata"]["widgets"][WIDGETS]["state"] = {i: state[i] for i in ids if i in state}
        if not ids:
            del made["metadata"]["widgets"]
    stable = {i: hashlib.md5(f"{name} {n}".encode()).hexdigest() for n, i in enumerate(ids)}
    text = HEX_ID.sub(lambda match: stable.get(match[0], match[0]), dumps(made))
    return dict(nbformat.reads(text, as_version=4))


def dumps(notebook: Json) -> str:
    """The bytes of the file, as text: Jupyter's own layout and one newline at the end."""
    return str(nbformat.writes(nbformat.from_dict(notebook), version=4)).rstrip("\n") + "\n"


def outputs_of(cell: Json) -> Iterator[tuple[str, str]]:
    """Each output of a cell as (mime type, text); streams are ``stdout`` and ``stderr``."""
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            yield output["name"], output["text"]
        elif output["output_type"] == "error":
            yield "error", "\n".join([output["ename"], output["evalue"], *output["traceback"]])
        else:
            for mime, data in output["data"].items():
                yield mime, data if isinstance(data, str) else json.dumps(data, sort_keys=True)


def traces(notebook: Json) -> Iterator[tuple[int, str]]:
    """What ties a notebook to this machine or run: (cell index, sentence); −1 is the metadata."""
    places = [(-1, "widgets", str(notebook["metadata"].get("widgets", "")))]
    for index, cell in enumerate(notebook["cells"]):
        places.append((index, "source", cell["source"]))
        places += [
            (index, mime, text)
            for mime, text in outputs_of(cell)
            if not mime.startswith("image/") or mime == "image/svg+xml"
        ]
    for index, what, text in places:
        if match := _paths().search(BASE64.sub("", text)):
            yield index, f"{what}: a path of this machine: {match[0]}"
        if what != "source" and (match := re.search(r"\bat 0x[0-9a-fA-F]{6,}", text)):
            yield index, f"{what}: a memory address, another one in every run: {match[0]}"


def _paths() -> re.Pattern[str]:
    """Absolute paths of this machine, and of anybody's home or temporary folder."""
    own = {ROOT, Path.home(), Path(tempfile.gettempdir())} - {Path("/")}
    anybody = [r"/home/\w", r"/Users/\w", r"/tmp/\w", r"/private/var/", r"[A-Za-z]:\\+Users\\"]
    starts = [re.escape(str(path)) + r"(?![\w-])" for path in sorted(own)]
    return re.compile(rf"(?<![\w.:])(?:{'|'.join(starts + anybody)})[\w./-]*")


def _cell_id(cell: Json, index: int, seen: set[str]) -> str:
    """The cell's own id when it is valid and new, else one derived from its place and source."""
    found = str(cell.get("id", ""))
    if not VALID_ID.fullmatch(found) or found in seen:
        found = hashlib.sha256(f"{index}\n{cell['source']}".encode()).hexdigest()[:8]
    seen.add(found)
    return found


def _outputs(outputs: list[Json], count: int | None) -> list[Json]:
    """Outputs without stderr and progress bars; what was printed in pieces is one again."""
    kept: list[Json] = []
    for output in outputs:
        if output["output_type"] == "stream" and output["name"] == "stderr":
            continue
        if PROGRESS.search(output.get("data", {}).get("text/plain", "")):
            continue
        if output["output_type"] == "execute_result":
            output["execution_count"] = count
        if "text/html" in output.get("data", {}):  # it shows the same, and needs no kernel
            output["data"].pop(WIDGET, None)
        if output["output_type"] == "stream" and kept and kept[-1]["output_type"] == "stream":
            kept[-1]["text"] += output["text"]
        else:
            kept.append(output)
    return kept


def _random_ids(notebook: Json) -> list[str]:
    """Ids drawn at random for players and for the widgets that are shown, in a fixed order."""
    state: Json = notebook["metadata"].get("widgets", {}).get(WIDGETS, {}).get("state", {})
    found: list[str] = []

    def visit(text: str) -> None:
        for name in HEX_ID.findall(text):
            if name in state and name not in found:
                found.append(name)
                visit(str(state[name]))

    for cell in notebook["cells"]:
        for _, text in outputs_of(cell):
            found += [name for name in PLAYER_ID.findall(text) if name not in found]
            visit(text)
    # No output leads to the links between widgets, but they lead to widgets that are shown.
    known = {name: str(index) for index, name in enumerate(found)}

    def content(name: str) -> str:
        return HEX_ID.sub(lambda match: known.get(match[0], ""), str(state[name]))

    for name in sorted(state, key=content):
        if known.keys() & HEX_ID.findall(str(state[name])):
            visit(name)
    return found
