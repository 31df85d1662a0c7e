"""What tests of the built book share: one server, one browser, one search for barriers."""

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import vendor  # noqa: E402
from browser import SITE, chromium, serve  # noqa: E402


@pytest.fixture(scope="session")
def address():
    """Where the built book is served."""
    if not (SITE / "index.html").is_file():
        pytest.fail("there is no built book: run make html first", pytrace=False)
    with serve() as found:
        yield found


@pytest.fixture(scope="session")
def browser():
    """The one browser: Playwright has no second one in the same process."""
    if shutil.which("chromium") is None:
        pytest.skip("there is no Chromium here: NOTHING WAS LOOKED AT IN A BROWSER")
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def axe_source():
    """The script that searches a page for barriers; empty where npm is not there."""
    try:
        vendor.fetch(vendor.AXE, vendor.TESTED)
    except vendor.FetchError:
        return ""
    return (vendor.TESTED / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def axe(axe_source):
    """The same, for tests of nothing else."""
    if not axe_source:
        pytest.skip("npm was not there: NOTHING WAS SEARCHED FOR BARRIERS")
    return axe_source
