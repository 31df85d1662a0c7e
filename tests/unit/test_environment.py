"""One environment, said in three files: pyproject.toml, requirements.lock and environment.yml."""

import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
WANTED = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *(t for extra in EXTRAS.values() for t in extra)]
]
LOCK_LINES = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()


def locked():
    """The versions of the lock that hold on this machine, by canonical name."""
    pins = [Requirement(line) for line in LOCK_LINES]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): Version(str(pin.specifier)[2:]) for pin in here}


def test_lock_is_exact_and_holds_no_address():
    for line in LOCK_LINES:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!]+( ; .+)?", line), line
    assert "//" not in "".join(LOCK_LINES)


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_lock_holds_what_the_project_asks_for(wanted):
    assert locked()[canonicalize_name(wanted.name)] in wanted.specifier


def test_environment_file_describes_the_same_environment():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])
    assert pip == "pip"
    constraint, editable = packages["pip"]
    assert constraint == "--constraint requirements.lock"
    extras = re.fullmatch(r"--editable \.\[([\w,]+)\]", editable)[1].split(",")
    assert "book" in extras
    assert set(extras) <= set(EXTRAS)


def test_lock_is_resolved_for_the_oldest_python():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"--universal --python-version {oldest} " in makefile


def test_what_is_installed_is_what_is_locked():
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("this is not the project's .venv: WHAT IS INSTALLED WAS NOT COMPARED")
    pins = locked()
    for found in distributions():
        name = canonicalize_name(found.metadata["Name"])
        if name == PROJECT["name"]:
            assert found.version == PROJECT["version"]
            continue
        # A local part names the build of torch: 2.13.0+cpu is 2.13.0.
        assert pins[name] == Version(Version(found.version).public), name


def test_version_is_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"{{{PROJECT['version']}}}" in (ROOT / "book/cite.md").read_text(encoding="utf-8")
