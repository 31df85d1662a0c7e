"""Fetch the scripts that pages load, so that the book is whole without a network.

``python tools/vendor.py`` puts MathJax (formulas), the widget scripts and reveal.js (slides) into
``book/_static/vendor``, from npm where npm exists. What is there already is left alone. Without npm
or a network it says so, and the pages load the same scripts from a content delivery network. What
tests alone need goes to ``.cache/vendor`` when they run: it is not served with the book.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AXE", "PACKAGES", "TESTED", "VENDOR", "FetchError", "Package", "fetch"]

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "book" / "_static" / "vendor"
TESTED = ROOT / ".cache" / "vendor"


@dataclass(frozen=True)
class Package:
    """One npm package, pinned.

    Attributes:
        name: npm's name, with the exact version.
        folder: where it goes, below :data:`VENDOR`.
        sha256: checksum of the archive.
        wanted: what is kept of it: files and folders.
    """

    name: str
    folder: str
    sha256: str
    wanted: tuple[str, ...]


PACKAGES = (
    Package(
        "mathjax@3.2.2",
        "mathjax",
        "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09",
        ("es5/tex-mml-chtml.js", "es5/input", "es5/output/chtml", "es5/ui", "es5/a11y", "es5/sre"),
    ),
    Package(
        "requirejs@2.3.8",
        "requirejs",
        "777158e89275e16bd51aec3ef714fbcb5dc45789e7078659933bc814916d7dec",
        ("require.js",),
    ),
    Package(
        "@jupyter-widgets/html-manager@1.0.15",
        "html-manager",
        "2b9d65cb7913e1c7d671757a10008b32c9c2448d4429513371e55c07d6107638",
        # The program and its icons; Chromium, Firefox and Safari all read woff2.
        (
            "dist/embed-amd.js",
            "dist/1551f4f60c37af51121f.woff2",
            "dist/7a3337626410ca2f4071.woff2",
            "dist/d878b0a6a1144760244f.woff2",
        ),
    ),
    Package(
        "reveal.js@5.2.1",
        "reveal.js",
        "359b575dd51bbda32f89b2fd4c7dc46ad7389a805572158916c29252f7a27333",
        (
            "dist/reveal.css",
            "dist/reveal.js",
            "dist/reset.css",
            "plugin/notes/notes.js",
            "LICENSE",
        ),
    ),
)
#: What looks for barriers on the built pages; tests alone load it.
AXE = Package(
    "axe-core@4.14.1",
    "axe-core",
    "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    ("axe.min.js",),
)


class FetchError(Exception):
    """A package that could not be had; the message says why."""


def fetch(package: Package, vendor: Path) -> bool:
    """Put one package into a folder below ``vendor``; False when it is there already.

    Raises:
        FetchError: if npm cannot get it, or the archive is not the one that is pinned.
    """
    target = vendor / package.folder
    stamp = target / "VERSION"
    if stamp.is_file() and stamp.read_text() == package.name:
        return False
    vendor.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=vendor) as name:
        folder = Path(name)
        archive = _pack(package, folder)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != package.sha256:
            raise FetchError(f"{package.name}: sha256 {found}, expected {package.sha256}")
        with tarfile.open(archive) as tar:
            kept = [
                member
                for member in tar.getmembers()
                if any(_below(member.name, f"package/{path}") for path in package.wanted)
            ]
            tar.extractall(folder, members=kept, filter="data")
        (folder / "package" / "VERSION").write_text(package.name)
        shutil.rmtree(target, ignore_errors=True)
        (folder / "package").rename(target)
    return True


def _pack(package: Package, folder: Path) -> Path:
    """Have npm download the archive; nothing of it is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("there is no npm")
    command = [npm, "pack", package.name, "--ignore-scripts", "--silent", "--fetch-retries=1"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise FetchError(f"npm could not get {package.name}; is there a network?") from None
    return next(folder.glob("*.tgz"))


def _below(name: str, path: str) -> bool:
    return name == path or name.startswith(path + "/")


def main() -> int:
    """Fetch what is missing. A book that needs the network is still a book: always 0."""
    for package in PACKAGES:
        try:
            if fetch(package, VENDOR):
                print(f"fetched {package.name}", file=sys.stderr)
        except FetchError as error:
            print(f"{error}: the pages load their scripts from the network", file=sys.stderr)
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
