"""A store of finished runs: the same configuration and code are never trained twice."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import Tensor

from tccam.errors import TccamError
from tccam.files import write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["RunStore", "fingerprint", "machine", "provenance", "sources_hash"]

#: Where a run begins: its weights come from the first, its scores from the second.
_ROOTS = ("tccam.training", "tccam.inference")


@cache
def sources_hash() -> str:
    """SHA-256 of the library's sources that a run can depend on, 64 hexadecimal digits.

    These are the modules that training and inference import, and those that they import. It reads
    the code alone: comments, docstrings and layout outdate nothing.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(_imported(root, _ROOTS), key=lambda p: p.relative_to(root).as_posix()):
        place = path.relative_to(root).as_posix().encode()
        digest.update(place + b"\0" + _code(path.read_text("utf-8")))
    return digest.hexdigest()


def _imported(root: Path, names: Iterable[str]) -> set[Path]:
    """The files of these modules, and of all modules of the same package that they import."""
    found: set[Path] = set()
    waiting = list(names)
    packages = {name.partition(".")[0] for name in waiting}
    while waiting:
        parts = waiting.pop().split(".")
        if parts[0] not in packages:  # where it is installed, PyTorch lies beside it
            continue
        for depth in range(1, len(parts) + 1):  # a module's packages run before it
            module = root.joinpath(*parts[:depth])
            path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
            if path in found or not path.is_file():
                continue
            found.add(path)
            waiting += _imports(path.read_text("utf-8"))
    return found


@cache
def _imports(source: str) -> tuple[str, ...]:
    """What a module imports, by its full name: modules, and names in them."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


@cache
def _code(source: str) -> bytes:
    """A module's syntax tree without its docstrings; the same in every version of Python."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty texts to some
            node.values = [part for part in node.values if getattr(part, "value", None) != ""]
    return _written(tree).encode()


def _written(node: Any) -> str:
    """A syntax tree as text. Which empty fields ast.dump writes depends on the version."""
    if isinstance(node, list):
        return f"[{','.join(map(_written, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = [f"{k}={_written(v)}" for k, v in ast.iter_fields(node) if v is not None and v != []]
    return f"{type(node).__name__}({','.join(fields)})"


def fingerprint(config: DataclassInstance, **surroundings: Any) -> str:
    """The name of a run: 16 hexadecimal digits of a hash of all that it depends on.

    Args:
        config: of the run.
        surroundings: what else it depends on, such as the content of a file of weights; None for
            what does not matter to it.

    Returns:
        A hash of these, of the library's sources and of the versions of PyTorch and torchvision.

    Example:
        >>> from dataclasses import make_dataclass
        >>> config = make_dataclass("Config", [("steps", int, 1)])
        >>> [fingerprint(config(steps)) == fingerprint(config(2)) for steps in (1, 2)]
        [False, True]
    """
    facts = [asdict(config), sources_hash(), torch.__version__, version("torchvision")]
    facts.append({name: value for name, value in surroundings.items() if value is not None})
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def provenance() -> dict[str, Any]:
    """Where a result comes from: versions, machine and commit (None outside a checkout).

    Example:
        >>> provenance()["torch"] == torch.__version__
        True
    """
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "commit": _commit(),
        "sources": sources_hash(),
    }


def machine() -> dict[str, Any]:
    """What a time was measured on: kind of CPU, cores, GPU (None without), system.

    Example:
        >>> machine()["cores"] >= 1
        True
    """
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.is_file():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = named[0].split(":")[1].strip() if named else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "cores": os.cpu_count(), "gpu": gpu, "system": platform.system()}


def _commit() -> str | None:
    """The commit that these sources are from, "-dirty" when they have changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not somebody else's repository
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


class RunStore:
    """A folder with one subfolder a run, named by :func:`fingerprint`.

    A file appears under its name when it is complete, and not before: writing goes to a temporary
    name beside it. ``run.json`` is written last and marks a finished run.

    Args:
        root: the folder; by default the environment variable ``TCCAM_RUNS``, else
            ``~/.cache/tccam/runs``. It is created when something is written.

    Example:
        >>> RunStore("somewhere").root.name
        'somewhere'
    """

    def __init__(self, root: str | Path | None = None) -> None:
        chosen = root or os.environ.get("TCCAM_RUNS") or Path.home() / ".cache" / "tccam" / "runs"
        self.root = Path(chosen)

    def finished(self, key: str) -> dict[str, Any] | None:
        """The record of a finished run, or None."""
        return self._read(self.root / key / "run.json")

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise TccamError(f"{path}: not a readable run record ({error}); delete it") from error
        if not isinstance(record, dict):
            raise TccamError(f"{path}: expected a JSON object; delete it")
        return record

    def load(self, key: str, name: str) -> dict[str, Tensor] | None:
        """Tensors saved under ``name`` for a run, or None when there are none."""
        path = self.root / key / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            return dict(safetensors.torch.load_file(path))
        except (OSError, SafetensorError) as error:
            raise TccamError(f"{path}: not a readable safetensors file ({error})") from error

    def save(self, key: str, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Save tensors under ``name``, replacing what was there in one step."""
        copies = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        write_atomic(self.root / key / f"{name}.safetensors", safetensors.torch.save(copies))

    def finish(self, key: str, record: Mapping[str, Any]) -> None:
        """Mark a run as finished."""
        self.note(key, "run", record)

    def note(self, key: str, name: str, facts: Mapping[str, Any]) -> None:
        """Keep some facts beside a run."""
        text = json.dumps(facts, indent=1, default=str)
        write_atomic(self.root / key / f"{name}.json", text.encode())

    def noted(self, key: str, name: str) -> dict[str, Any] | None:
        """The facts kept beside a run, or None."""
        return self._read(self.root / key / f"{name}.json")

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a run for oneself; whoever comes meanwhile waits. A killed process holds nothing."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / key):
            yield

    def remove(self, key: str, name: str) -> None:
        """Forget the tensors saved under ``name``, and what a killed process left of them."""
        for path in (self.root / key).glob(f"*{name}.safetensors*"):
            path.unlink(missing_ok=True)
