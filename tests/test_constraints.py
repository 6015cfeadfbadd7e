"""constraints.txt has the exact version of everything that any extra installs."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {plain(name): found.partition(" ")[0] for name, found in pairs}


def needed():
    """All requirements of all extras, and of these, as far as they are installed here."""
    extras = PROJECT["optional-dependencies"].values()
    left = [Requirement(text) for group in (PROJECT["dependencies"], *extras) for text in group]
    found = {}
    while left:
        requirement = left.pop()
        name, wanted = plain(requirement.name), frozenset(requirement.extras)
        if wanted <= found.get(name, frozenset()) and name in found:
            continue
        found[name] = found.get(name, frozenset()) | wanted
        try:
            deeper = requires(name) or ()
        except PackageNotFoundError:
            continue
        for each in map(Requirement, deeper):
            chosen = ["", *wanted]
            if each.marker is None or any(each.marker.evaluate({"extra": one}) for one in chosen):
                left.append(each)
    return found.keys()


def test_constraints_cover_every_extra():
    assert sorted({*needed()} - locked().keys() - {"setuptools", "pip"}) == []


def test_constraints_are_what_the_tests_run_with():
    different = {}
    for name, wanted in locked().items():
        try:
            here = version(name)
        except PackageNotFoundError:
            continue
        if here.partition("+")[0] != wanted.partition("+")[0]:
            different[name] = (here, wanted)
    assert different == {}
