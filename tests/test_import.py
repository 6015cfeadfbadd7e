"""Importing the package costs next to nothing."""

import subprocess
import sys

import pytest

import vap

HEAVY = ("torch", "diffusers", "transformers", "numpy", "av", "PIL", "pydantic")


@pytest.mark.parametrize("module", ["vap", "vap.media"])
def test_nothing_heavy_is_imported_before_it_is_used(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert done.stderr == ""


def test_every_public_name_resolves() -> None:
    assert set(vap.__all__) <= set(dir(vap))
    for name in vap.__all__:
        assert getattr(vap, name) is not None


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'load_model'.*load_pipeline"):
        vap.load_model  # noqa: B018 - the access is what is tested
