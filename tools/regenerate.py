"""Run chapters from top to bottom and keep what they show.

``python tools/regenerate.py``                  every chapter
``python tools/regenerate.py cam-basics``       these alone
``python tools/regenerate.py --jobs 2``         two at a time
``python tools/regenerate.py the-belt -p CLIP video.mp4 --output folder``
                                                with other parameters, into another folder

A chapter that fails stays as it was: the failing cell and its error are printed, the other chapters
still run, and the command fails in the end. A chapter that succeeds is normalised and replaced in
one step, and ``book/status.json`` gets its stamp: what it was made from (see ``stamps.py``).
Networks come from the run store. A chapter that runs alone, with a store that has none of today's
library, trains its own and is measured: its **Time and memory** line is brought up to date and
``book/status.json`` notes what it took on this machine.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import stamps
from filelock import FileLock
from normalise import Json, dumps, normalise, traces

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
STATUS = ROOT / "book" / "status.json"
CACHE = ROOT / ".cache"
KERNEL = "tccam"
DISTRIBUTIONS = ("tccam", "torch", "torchvision", "opencv-python", "numpy", "jupyter-book")
TIME_LINE = re.compile(r"^\*\*Time and memory\*\*.*$", re.MULTILINE)
TIME_TEXT = re.compile(r"about (?:(\d+) min ?)?(?:(\d+) s)?, ([\d.]+) GB")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Measured:
    """What one run of a chapter took.

    Attributes:
        seconds: wall-clock time, the start of the kernel included.
        peak_mib: the largest resident set of the kernel, in MiB.
    """

    seconds: float
    peak_mib: float


class ChapterError(Exception):
    """A chapter that cannot be kept; the message is for its author."""


def regenerate(
    name: str,
    parameters: dict[str, Any] | None = None,
    output: Path | None = None,
    cold: bool = True,
) -> Measured:
    """Run one chapter and replace it, or write it to the folder ``output`` when that is given.

    Args:
        name: the chapter's name, ``the-belt`` for ``notebooks/the-belt.ipynb``.
        parameters: values for the chapter's parameters; only together with ``output``.
        output: folder to write to; the committed chapter and the status then stay as they are.
        cold: whether the chapter trains everything itself, and its time is noted. It then needs
            the process's environment for itself.

    Raises:
        ChapterError: if there is no such chapter, a cell fails, or an output names this machine.
    """
    source = NOTEBOOKS / f"{name}.ipynb"
    if not source.is_file():
        raise ChapterError(f"there is no notebooks/{name}.ipynb")
    CACHE.mkdir(exist_ok=True)
    inputs = stamps.inputs(source, NOTEBOOKS.parent)  # as they are now: it may take minutes
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        ran = Path(folder) / source.name
        with _stores_of_their_own(Path(folder) / "runs") if cold else nullcontext():
            measured = _run_apart(source, ran, parameters or {})
        notebook = normalise(nbformat.read(ran, as_version=4), name)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        _replace(output / source.name, dumps(notebook))
        return measured
    found = [f"cell {index}: {sentence}" for index, sentence in traces(notebook)]
    if found:
        raise ChapterError("\n".join(["it shows what differs between machines:", *found]))
    if cold:
        _update_time_line(notebook, measured, datetime.date.today())
    _replace(source, dumps(notebook))
    stamp = {"date": str(datetime.date.today()), "outputs": stamps.outputs(notebook), **inputs}
    _note_status(name, {"stamp": stamp} | (_measurement(measured) if cold else {}))
    return measured


def time_line(measured: Measured, cores: int, date: datetime.date) -> str:
    """The line of the opening box.

    Example:
        >>> time_line(Measured(98.7, 871.0), 2, datetime.date(2026, 11, 22))
        '**Time and memory**: about 1 min 40 s, 0.9 GB (measured on 2 CPU cores, 2026-11-22)'
    """
    step = 5 if measured.seconds < 60 else 10
    minutes, seconds = divmod(max(step, round(measured.seconds / step) * step), 60)
    duration = " ".join([f"{minutes} min"] * (minutes > 0) + [f"{seconds} s"] * (seconds > 0))
    gigabytes = measured.peak_mib * 2**20 / 1e9
    return (
        f"**Time and memory**: about {duration}, {gigabytes:.1f} GB"
        f" (measured on {cores} CPU core{'s' * (cores > 1)}, {date})"
    )


def still_holds(line: str, measured: Measured) -> bool:
    """Whether an older time line is within 25 % of a new measurement, in time and in memory."""
    match = TIME_TEXT.search(line)
    if not match:
        return False
    seconds = 60 * int(match[1] or 0) + int(match[2] or 0)
    gigabytes = measured.peak_mib * 2**20 / 1e9
    return abs(measured.seconds - seconds) <= max(0.25 * seconds, 5) and abs(
        gigabytes - float(match[3])
    ) <= 0.25 * float(match[3])


def _update_time_line(notebook: Json, measured: Measured, date: datetime.date) -> None:
    """Bring the line in the opening box up to date, unless what stands there still holds."""
    for cell in notebook["cells"]:
        match = TIME_LINE.search(cell["source"]) if cell["cell_type"] == "markdown" else None
        if match and not still_holds(match[0], measured):
            line = time_line(measured, _cores(), date)
            cell["source"] = cell["source"].replace(match[0], line, 1)
        if match:
            return
    raise ChapterError("its opening box has no line that starts with **Time and memory**")


def _run_apart(source: Path, target: Path, parameters: dict[str, Any]) -> Measured:
    """Run in a process of its own, so that the peak memory is this chapter's alone.

    It is forked from a server that has imported papermill, which takes seconds, once for all.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["papermill"])
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            job = pool.submit(_execute, source, target, parameters, dict(os.environ))
            outcome = job.result()
        except BrokenProcessPool:
            raise ChapterError("its process was killed; was there enough memory?") from None
    if isinstance(outcome, str):
        raise ChapterError(outcome)
    return outcome


def _execute(
    source: Path, target: Path, parameters: dict[str, Any], environment: dict[str, str]
) -> Measured | str:
    """Run a notebook under papermill; a failure comes back as text for the chapter's author."""
    os.environ.clear()  # a server's child has the server's
    os.environ.update(environment)
    import papermill  # noqa: PLC0415 - slow to import, and only the child needs it

    if parameters and (unknown := parameters.keys() - papermill.inspect_notebook(source)):
        return f"it has no parameter {', '.join(sorted(unknown))}"
    started = time.perf_counter()
    try:
        notebook = papermill.execute_notebook(
            source,
            None,  # it would write the whole notebook before and after each cell
            parameters,
            kernel_name=KERNEL,
            language="python",
            cwd=source.parent,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of TCP on localhost
        )
        nbformat.write(notebook, target)
    except papermill.PapermillExecutionError as error:
        trace = ANSI.sub("", "\n".join(error.traceback))
        return f"cell {error.cell_index} fails:\n\n{_indent(error.source)}\n\n{trace}"
    except Exception as error:  # a dead kernel has many names
        return f"{type(error).__name__}: {error}"
    # The kernel is a child of this process: the largest one that has ended is it.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return Measured(time.perf_counter() - started, peak / 2**20)


def _measurement(measured: Measured) -> Json:
    """What a run took, where and with what."""
    return {
        "date": str(datetime.date.today()),
        "seconds": round(measured.seconds, 1),
        "peak_mib": round(measured.peak_mib),
        "machine": {"cores": _cores(), "cpu": _cpu(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            **{d: importlib.metadata.version(d) for d in DISTRIBUTIONS},
        },
    }


def _note_status(name: str, facts: Json) -> None:
    """Bring what ``book/status.json`` says of a chapter up to date; others may do so as well."""
    with FileLock(CACHE / "status.lock"):
        chapters = {p.stem for p in NOTEBOOKS.glob("*.ipynb")}
        status = {key: value for key, value in _status().items() if key in chapters}
        status[name] = status.get(name, {}) | facts
        _replace(STATUS, json.dumps(status, indent=1, sort_keys=True) + "\n")


def _status() -> Json:
    """What is known of the last run of each chapter."""
    return json.loads(STATUS.read_text()) if STATUS.is_file() else {}


@contextmanager
def _stores_of_their_own(folder: Path) -> Iterator[None]:
    """Empty stores of runs and flows inside the block; what is in them then goes outside."""
    outside = {name: Path(os.environ[name]) for name in ("TCCAM_RUNS", "TCCAM_FLOWS")}
    os.environ.update({name: str(folder / name) for name in outside})
    try:
        yield
    finally:
        os.environ.update({name: str(path) for name, path in outside.items()})
        for name, path in outside.items():
            path.mkdir(parents=True, exist_ok=True)
            for made in (folder / name).glob("*"):
                there = path / made.name
                if made.is_file() or not (there / "run.json").exists():
                    shutil.rmtree(there, ignore_errors=True)
                    shutil.move(made, there)


def _store_is_cold() -> bool:
    """Whether the run store has no run that the present library trained."""
    from tccam.store import sources_hash  # noqa: PLC0415 - PyTorch is slow, no child needs it

    records = Path(os.environ["TCCAM_RUNS"]).glob("*/run.json")
    return not any(f'"sources": "{sources_hash()}"' in record.read_text() for record in records)


def _cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu() -> str:
    """The kind of CPU, as the system calls it."""
    info = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return match[1] if match else platform.processor() or platform.machine()


def _replace(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _value(text: str) -> Any:
    """A parameter's value: a Python literal where it is one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


@contextmanager
def _inside_the_checkout() -> Iterator[None]:
    """Keep what kernels write inside the checkout, as the Makefile does."""
    places = {
        "JUPYTER_CONFIG_DIR": CACHE / "jupyter" / "config",
        "JUPYTER_DATA_DIR": CACHE / "jupyter" / "data",
        "JUPYTER_RUNTIME_DIR": CACHE / "jupyter" / "runtime",
        "IPYTHONDIR": CACHE / "ipython",
        "MPLCONFIGDIR": CACHE / "matplotlib",
        "TCCAM_RUNS": CACHE / "runs",
        "TCCAM_FLOWS": CACHE / "flows",
    }
    before = dict(os.environ)
    os.environ.update({k: str(v) for k, v in places.items() if k not in os.environ})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _regenerate_all(
    names: Sequence[str], parameters: dict[str, Any], output: Path | None, jobs: int
) -> list[str]:
    """Run chapters, ``jobs`` at a time, and say how each went; the names of those that failed."""
    alone = jobs == 1
    status = _status()
    if not alone:  # the longest first: none is left over in the end
        names = sorted(names, key=lambda n: -status.get(n, {}).get("seconds", math.inf))
    cold = alone and _store_is_cold()

    def run(name: str) -> Measured:
        print(f"{name} ...", file=sys.stderr, flush=True)
        return regenerate(name, parameters, output, cold)

    failed = []
    pool = ThreadPoolExecutor(jobs)
    try:
        chapters = {pool.submit(run, name): name for name in dict.fromkeys(names)}
        for done in as_completed(chapters):
            name = chapters[done]
            try:
                took = done.result()
            except ChapterError as error:
                failed.append(name)
                print(f"{name} failed, and stays as it was:\n{error}", file=sys.stderr)
            else:
                print(f"{name}: {took.seconds:.0f} s, {took.peak_mib:.0f} MiB", file=sys.stderr)
    finally:
        pool.shutdown(cancel_futures=True)  # what runs ends, what waits does not begin
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 when a chapter failed."""
    parser = argparse.ArgumentParser(description="Run chapters and keep what they show.")
    parser.add_argument("names", nargs="*", help="chapters; all when none is named")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="value for a chapter's parameter",
    )
    parser.add_argument("--output", type=Path, help="folder to write to, instead of notebooks/")
    parser.add_argument("--jobs", type=int, default=1, help="chapters at a time (default: 1)")
    options = parser.parse_args(arguments)
    if options.parameter and options.output is None:
        parser.error("-p needs --output: a committed chapter shows its defaults")
    parameters = {name: _value(text) for name, text in options.parameter}
    if options.jobs < 1:
        parser.error(f"--jobs: expected at least 1, got {options.jobs}")
    names = [Path(name).stem for name in options.names]
    names = names or sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))
    with _inside_the_checkout():
        failed = _regenerate_all(names, parameters, options.output, min(options.jobs, len(names)))
    if failed:
        print(f"{len(failed)} of {len(names)} failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
